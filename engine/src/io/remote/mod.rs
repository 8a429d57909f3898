//! A DFS that is reached by HTTP. Everything but the reads of shards goes through here: one thread
//! for all stores of the process does it, and whoever asked waits for it in its own way, as a task
//! or blocking.
//!
//! Nothing is tried again here but the parts of an object that is being written: who asked decides
//! that. Puts may be repeated, for a name never stands for other bytes.

mod error;
mod open;
mod operation;
pub mod place;
mod target;
mod thread;
mod transport;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use opendal::{Buffer, Operator};

pub(crate) use writer::RemoteWriter;

use crate::io::dfs::{Listed, check_size};
use crate::io::read_op;
use crate::io::remote::error::Failed;
use crate::io::remote::place::{RemotePlace, Scheme};
use crate::io::remote::target::Endpoints;
use crate::io::requests::RequestCounts;
use crate::limits::REMOTE_PART_BYTES;
use crate::types::{Error, ObjectName, Result};

/// A root in a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Remote {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    operator: Operator,
    // Tries failed parts again.
    patient: Operator,
    label: String,
    endpoints: Endpoints,
    // It has folders, and they must be there before what is in them.
    folders: bool,
}

impl Remote {
    /// The root at `place`, whose requests are counted. Asks the store nothing.
    ///
    /// # Errors
    /// `Invalid` for what the store's client refuses, such as a bucket without a region; `Io` if
    /// the thread cannot be started.
    pub(crate) fn open(place: &RemotePlace, counts: &Arc<RequestCounts>) -> Result<Self> {
        thread::start()?;
        let (operator, patient) = open::operators(place, counts)?;
        let (label, folders) = (place.label(), place.scheme == Scheme::WebHdfs);
        let endpoints = Endpoints::new();
        Ok(Self { shared: Arc::new(Shared { operator, patient, label, endpoints, folders }) })
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

    fn failed(&self, operation: &'static str, name: &ObjectName) -> Failed<'_> {
        Failed { operation, label: &self.shared.label, name: *name }
    }

    /// Writes a whole object, a large one in parts.
    pub(crate) fn put(
        &self,
        name: ObjectName,
        bytes: Bytes,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let this = self.clone();
        async move {
            if bytes.len() > REMOTE_PART_BYTES {
                return writer::put(&this, name, bytes).await;
            }
            let put = this.shared.operator.write(&name.to_string(), Buffer::from(bytes)).await;
            put.map(drop).map_err(|e| this.failed("put", &name).error(&e))
        }
    }

    /// Writes a whole object unless there is one of its name: false if there was.
    pub(crate) fn create(
        &self,
        name: ObjectName,
        bytes: Bytes,
    ) -> impl Future<Output = Result<bool>> + Send + 'static {
        use opendal::ErrorKind as Kind;
        let this = self.clone();
        async move {
            let path = name.to_string();
            let created = this.shared.operator.write_with(&path, Buffer::from(bytes));
            match created.if_not_exists(true).await {
                Ok(_) => Ok(true),
                Err(e) if matches!(e.kind(), Kind::ConditionNotMatch | Kind::AlreadyExists) => {
                    Ok(false)
                }
                Err(e) => Err(this.failed("create", &name).error(&e)),
            }
        }
    }

    /// The objects of a store's number.
    pub(crate) fn list(
        &self,
        store: u64,
    ) -> impl Future<Output = Result<Vec<Listed>>> + Send + 'static {
        let this = self.clone();
        async move {
            let folder = ObjectName::folder_of(store);
            let failed = |e: opendal::Error| {
                let (kind, remedy) = error::class(e.kind());
                let cause = error::plain(e.message());
                let label = &this.shared.label;
                Error::new(kind, format!("listing {label}{folder}: {cause}{remedy}"))
            };
            let found = this.shared.operator.list_with(&folder).recursive(true).await;
            let found = match found {
                Err(e) if e.kind() == opendal::ErrorKind::NotFound => Vec::new(),
                found => found.map_err(failed)?,
            };
            let listed = |entry: opendal::Entry| {
                let metadata = entry.metadata();
                let modified = metadata.last_modified();
                Some(Listed {
                    // What is no object is somebody else's.
                    name: entry.path().parse().ok()?,
                    bytes: metadata.content_length(),
                    modified_s: modified.map(|time| time.into_inner().as_second()),
                })
            };
            Ok(found.into_iter().filter_map(listed).collect())
        }
    }

    /// Reads a whole object of at most `bytes_max`.
    pub(crate) fn load(
        &self,
        name: ObjectName,
        bytes_max: u64,
    ) -> impl Future<Output = Result<Vec<u8>>> + Send + 'static {
        let this = self.clone();
        async move {
            let failed = |e| this.failed("load", &name).error(&e);
            let reader = this.shared.operator.reader(&name.to_string()).await.map_err(failed)?;
            let mut stream = reader.into_stream(..).await.map_err(failed)?;
            let mut whole = Vec::new();
            while let Some(piece) = stream.try_next().await.map_err(failed)? {
                check_size(&name, whole.len() as u64 + piece.len() as u64, bytes_max)?;
                piece.for_each(|part| whole.extend_from_slice(&part));
            }
            Ok(whole)
        }
    }

    /// Bytes of an object.
    pub(crate) fn size(
        &self,
        name: ObjectName,
    ) -> impl Future<Output = Result<u64>> + Send + 'static {
        let this = self.clone();
        async move {
            let found = this.shared.operator.stat(&name.to_string()).await;
            let found = found.map_err(|e| this.failed("stat", &name).error(&e))?;
            Ok(found.content_length())
        }
    }

    /// Deletes an object; one that does not exist is as good as deleted.
    pub(crate) fn delete(
        &self,
        name: ObjectName,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let this = self.clone();
        async move {
            let deleted = this.shared.operator.delete(&name.to_string()).await;
            deleted.map_err(|e| this.failed("delete", &name).error(&e))
        }
    }

    /// Reads `len` bytes at `offset`.
    pub(crate) fn read(
        &self,
        name: ObjectName,
        offset: u64,
        len: usize,
    ) -> impl Future<Output = Result<Buffer>> + Send + 'static {
        let this = self.clone();
        async move {
            let range = offset..offset + len as u64;
            let read = this.shared.operator.read_with(&name.to_string()).range(range).await;
            let bytes = match read {
                Err(e) if e.kind() == opendal::ErrorKind::RangeNotSatisfied => {
                    return Err(read_op::past_end(name, offset));
                }
                read => read.map_err(|e| this.failed("read", &name).error(&e))?,
            };
            match bytes.len() {
                read if read < len => Err(read_op::past_end(name, offset + read as u64)),
                read if read > len => Err(this
                    .failed("read", &name)
                    .answered(format!("with {read} bytes where {len} were asked for"))),
                _ => Ok(bytes),
            }
        }
    }

    /// Starts to write an object front to back.
    pub(crate) fn writer(&self, name: ObjectName) -> RemoteWriter {
        RemoteWriter::start(self.clone(), name)
    }
}
