//! A DFS that is reached by HTTP or lent by the host. Everything but the reads of shards goes
//! through here: one thread for all stores of the process does it, or waits for the threads that
//! call the host; and whoever asked waits for it in its own way, as a task or blocking.
//!
//! Nothing is tried again here but the parts of an object that is being written: who asked decides
//! that. Puts may be repeated, for a name never stands for other bytes.

mod clients;
mod error;
mod hedge;
mod open;
mod operation;
pub mod place;
mod store;
mod target;
mod thread;
mod transport;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opendal::Buffer;

pub(crate) use error::plain;
pub(crate) use writer::RemoteWriter;

use crate::io::budget::Budget;
use crate::io::host::Host;
use crate::io::host::credentials::Access;
use crate::io::remote::place::{RemotePlace, Scheme};
use crate::io::remote::store::Store;
use crate::io::remote::target::Endpoints;
use crate::io::requests::RequestCounts;
use crate::io::stored::{DraftFile, Listed};
use crate::limits::REMOTE_PART_BYTES;
use crate::types::{ObjectName, Result};

/// A root in a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Arc<Client>,
    budget: Arc<Budget>,
    endpoints: Arc<Endpoints>,
}

#[cfg(test)]
pub(crate) use thread::wait as waited;

#[derive(Debug)]
enum Client {
    Store(Box<Store>),
    Host(Host),
}

impl Remote {
    /// The root at `place`, whose requests are counted. Asks the store nothing.
    ///
    /// # Errors
    /// `Invalid` for what the store's client refuses, such as a bucket without a region, and for a
    /// file system that the host did not lend; `Io` if the thread cannot be started.
    pub(crate) fn open(
        place: &RemotePlace,
        access: &Access,
        counts: &Arc<RequestCounts>,
    ) -> Result<Self> {
        let budget = Arc::new(Budget::new());
        let client = match place.scheme {
            Scheme::Host => {
                Client::Host(Host::open(&place.bucket, &place.root, place.label(), counts)?)
            }
            _ => Client::Store(Box::new(Store::open(place, access, counts, &budget)?)),
        };
        thread::start()?;
        let endpoints = Arc::new(Endpoints::new(place.plaintext));
        Ok(Self { client: Arc::new(client), budget, endpoints })
    }

    /// A host is not called any more; waits for calls that run for `patience` at most.
    ///
    /// # Errors
    /// `Io` if some have not returned.
    pub(crate) fn close(&self, patience: Duration) -> Result<()> {
        match &*self.client {
            Client::Store(store) => store.close(patience),
            Client::Host(host) => host.close(patience),
        }
    }

    /// It is a file system of the host.
    pub(crate) fn is_host(&self) -> bool {
        matches!(*self.client, Client::Host(_))
    }

    /// What may be tried again.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Reads that take long are asked for once more from now on, but for those of a host.
    pub(crate) fn set_hedge(&self) {
        if let Client::Store(store) = &*self.client {
            store.hedge.turn_on();
        }
    }

    /// Reads that were asked for once more, and of these, those that were answered first.
    pub(crate) fn hedges(&self) -> (u64, u64) {
        match &*self.client {
            Client::Store(store) => store.hedge.counters(),
            Client::Host(_) => (0, 0),
        }
    }

    /// Waits for an operation, blocking the caller.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        thread::wait(operation)
    }

    /// Waits for an operation, as a task of any executor.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        thread::run(operation).await
    }

    /// Starts an operation and does not wait for it.
    pub(crate) fn spawn(&self, operation: impl Future<Output = ()> + Send + 'static) {
        thread::spawn(operation);
    }

    /// Writes a whole object, a large one in parts.
    pub(crate) fn put(
        &self,
        name: ObjectName,
        bytes: Bytes,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(store) if bytes.len() > REMOTE_PART_BYTES => {
                    writer::put(store, name, bytes).await
                }
                Client::Store(store) => store.put(name, bytes).await,
                Client::Host(host) => host.put(name, bytes).await,
            }
        }
    }

    /// Writes a whole object unless there is one of its name: false if there was.
    pub(crate) fn create(
        &self,
        name: ObjectName,
        bytes: Bytes,
    ) -> impl Future<Output = Result<bool>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(store) => store.create(name, bytes).await,
                Client::Host(host) => host.create(name, bytes).await,
            }
        }
    }

    /// The objects of a store's number.
    pub(crate) fn list(
        &self,
        store: u64,
    ) -> impl Future<Output = Result<Vec<Listed>>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(client) => client.list(store).await,
                Client::Host(host) => host.list(store).await,
            }
        }
    }

    /// Files that are parts of objects, of all stores, where they are shown.
    pub(crate) fn drafts(&self) -> impl Future<Output = Result<Vec<DraftFile>>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(store) => store.drafts().await,
                Client::Host(_) => Ok(Vec::new()),
            }
        }
    }

    /// Deletes such a file, by its path below the root.
    pub(crate) fn delete_draft(
        &self,
        path: String,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(store) => store.delete_draft(&path).await,
                Client::Host(_) => Ok(()),
            }
        }
    }

    /// Reads a whole object of at most `bytes_max`.
    pub(crate) fn load(
        &self,
        name: ObjectName,
        bytes_max: u64,
    ) -> impl Future<Output = Result<Vec<u8>>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(store) => store.load(name, bytes_max).await,
                Client::Host(host) => host.load(name, bytes_max).await,
            }
        }
    }

    /// Bytes of an object.
    pub(crate) fn size(
        &self,
        name: ObjectName,
    ) -> impl Future<Output = Result<u64>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(store) => store.size(name).await,
                Client::Host(host) => host.size(name).await,
            }
        }
    }

    /// Headers by which a store tells content from other content; a host has none.
    pub(crate) fn content_headers(
        &self,
        name: ObjectName,
    ) -> impl Future<Output = Result<Vec<&'static str>>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(store) => store.content_headers(name).await,
                Client::Host(_) => Ok(Vec::new()),
            }
        }
    }

    /// Deletes an object; one that does not exist is as good as deleted.
    pub(crate) fn delete(
        &self,
        name: ObjectName,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(store) => store.delete(name).await,
                Client::Host(host) => host.delete(name).await,
            }
        }
    }

    /// Reads `len` bytes at `offset`.
    pub(crate) fn read(
        &self,
        name: ObjectName,
        offset: u64,
        len: usize,
    ) -> impl Future<Output = Result<Buffer>> + Send + 'static {
        let client = self.client.clone();
        async move {
            match &*client {
                Client::Store(store) => store.read(name, offset, len).await,
                Client::Host(host) => host.read(name, offset, len).await.map(Buffer::from),
            }
        }
    }

    /// Starts to write an object front to back.
    pub(crate) fn writer(&self, name: ObjectName) -> RemoteWriter {
        RemoteWriter::start(self.client.clone(), name)
    }
}
