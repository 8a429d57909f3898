//! A root in a store that is reached by HTTP, by opendal as the client of its protocol.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use opendal::{Buffer, Metadata};
use tokio::sync::Semaphore;

use crate::io::budget::Budget;
use crate::io::host::credentials::Access;
use crate::io::remote::clients::{Client, Clients};
use crate::io::remote::error::Failed;
use crate::io::remote::hedge::Hedge;
use crate::io::remote::place::{RemotePlace, Scheme};
use crate::io::remote::transport::{PARTS_FOLDER, Traffic};
use crate::io::requests::RequestCounts;
use crate::io::stored::{self, DraftFile, Listed, check_size};
use crate::limits::{REMOTE_READS_MAX, REMOTE_TARGET_ABFS_S, REMOTE_TARGET_S};
use crate::types::{ObjectName, Result};

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    clients: Clients,
    pub(super) label: String,
    // It has folders, and they must be there before what is in them.
    pub(super) folders: bool,
    /// Urls that it signs are valid so long, seconds.
    pub(super) urls_s: u64,
    pub(super) hedge: Hedge,
    // Of reads that are under way.
    places: Semaphore,
}

impl Store {
    pub(super) fn open(
        place: &RemotePlace,
        access: &Access,
        counts: &Arc<RequestCounts>,
        budget: &Arc<Budget>,
    ) -> Result<Self> {
        let traffic = Traffic::new(counts.clone(), budget.clone());
        let clients = Clients::new(place, access, traffic)?;
        let (label, folders) = (place.label(), place.scheme == Scheme::WebHdfs);
        let azure = place.scheme == Scheme::Abfs;
        let urls_s = if azure { REMOTE_TARGET_ABFS_S } else { REMOTE_TARGET_S };
        let (hedge, places) = (Hedge::default(), Semaphore::new(REMOTE_READS_MAX));
        Ok(Self { clients, label, folders, urls_s, hedge, places })
    }

    /// The host is asked for credentials no more; see `Remote::close`.
    pub(super) fn close(&self, patience: Duration) -> Result<()> {
        self.clients.close(patience)
    }

    pub(super) fn failed(&self, operation: &'static str, path: &impl ToString) -> Failed<'_> {
        Failed { operation, label: &self.label, path: path.to_string() }
    }

    /// Who speaks to it at the moment.
    pub(super) async fn client(&self) -> Result<Arc<Client>> {
        self.clients.client().await
    }

    /// Writes a whole object that is no larger than a part.
    pub(super) async fn put(&self, name: ObjectName, bytes: Bytes) -> Result<()> {
        let put = self.client().await?.operator.write(&name.to_string(), Buffer::from(bytes)).await;
        put.map(drop).map_err(|e| self.failed("put", &name).error(&e))
    }

    /// Writes a whole object unless there is one of its name: false if there was.
    pub(super) async fn create(&self, name: ObjectName, bytes: Bytes) -> Result<bool> {
        use opendal::ErrorKind as Kind;
        let path = name.to_string();
        let client = self.client().await?;
        let created = client.operator.write_with(&path, Buffer::from(bytes));
        match created.if_not_exists(true).await {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.kind(), Kind::ConditionNotMatch | Kind::AlreadyExists) => {
                Ok(false)
            }
            Err(e) => Err(self.failed("create", &name).error(&e)),
        }
    }

    /// The objects of a store's number.
    pub(super) async fn list(&self, store: u64) -> Result<Vec<Listed>> {
        let found = self.entries(&ObjectName::folder_of(store)).await?;
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

    /// Files that are parts of objects, of all stores, where they are files.
    pub(super) async fn drafts(&self) -> Result<Vec<DraftFile>> {
        if !self.folders {
            return Ok(Vec::new());
        }
        let found = self.entries(&format!("{PARTS_FOLDER}/")).await?;
        let draft = |entry: opendal::Entry| {
            let (path, found) = (entry.path().to_owned(), entry.metadata());
            let modified_s = found.last_modified()?.into_inner().as_second();
            let bytes = found.content_length();
            found.is_file().then_some(DraftFile { path, bytes, modified_s })
        };
        Ok(found.into_iter().filter_map(draft).collect())
    }

    /// Deletes such a file.
    pub(super) async fn delete_draft(&self, path: &str) -> Result<()> {
        let deleted = self.client().await?.operator.delete(path).await;
        deleted.map_err(|e| self.failed("delete", &path).error(&e))
    }

    /// All that lies in a folder, which need not be there.
    async fn entries(&self, folder: &str) -> Result<Vec<opendal::Entry>> {
        match self.client().await?.operator.list_with(folder).recursive(true).await {
            // Elsewhere it is the bucket that is not there.
            Err(e) if self.folders && e.kind() == opendal::ErrorKind::NotFound => Ok(Vec::new()),
            found => found.map_err(|e| self.failed("list", &folder).error(&e)),
        }
    }

    /// Reads a whole object of at most `bytes_max`.
    pub(super) async fn load(&self, name: ObjectName, bytes_max: u64) -> Result<Vec<u8>> {
        let failed = |e| self.failed("load", &name).error(&e);
        let reader =
            self.client().await?.operator.reader(&name.to_string()).await.map_err(failed)?;
        let mut stream = reader.into_stream(..).await.map_err(failed)?;
        let mut whole = Vec::new();
        while let Some(piece) = stream.try_next().await.map_err(failed)? {
            check_size(&name, whole.len() as u64 + piece.len() as u64, bytes_max)?;
            piece.for_each(|part| whole.extend_from_slice(&part));
        }
        Ok(whole)
    }

    /// Bytes of an object.
    pub(super) async fn size(&self, name: ObjectName) -> Result<u64> {
        Ok(self.stat(name).await?.content_length())
    }

    /// Headers by which it tells content from other content.
    pub(super) async fn content_headers(&self, name: ObjectName) -> Result<Vec<&'static str>> {
        let found = self.stat(name).await?;
        let headers = [("ETag", found.etag()), ("Content-MD5", found.content_md5())];
        Ok(headers.iter().filter(|(_, value)| value.is_some()).map(|(header, _)| *header).collect())
    }

    async fn stat(&self, name: ObjectName) -> Result<Metadata> {
        let found = self.client().await?.operator.stat(&name.to_string()).await;
        found.map_err(|e| self.failed("stat", &name).error(&e))
    }

    /// Deletes an object; one that does not exist is as good as deleted.
    pub(super) async fn delete(&self, name: ObjectName) -> Result<()> {
        let deleted = self.client().await?.operator.delete(&name.to_string()).await;
        deleted.map_err(|e| self.failed("delete", &name).error(&e))
    }

    /// Reads `len` bytes at `offset`, when there is a place for it.
    pub(super) async fn read(&self, name: ObjectName, offset: u64, len: usize) -> Result<Buffer> {
        let _place = self.places.acquire().await.expect("it is never closed");
        self.hedge.read(|| self.read_now(name, offset, len)).await
    }

    async fn read_now(&self, name: ObjectName, offset: u64, len: usize) -> Result<Buffer> {
        let range = offset..offset + len as u64;
        let read = self.client().await?.operator.read_with(&name.to_string()).range(range).await;
        let bytes = match read {
            Err(e) if e.kind() == opendal::ErrorKind::RangeNotSatisfied => {
                return Err(stored::past_end(name, offset));
            }
            read => read.map_err(|e| self.failed("read", &name).error(&e))?,
        };
        match bytes.len() {
            read if read < len => Err(stored::past_end(name, offset + read as u64)),
            read if read > len => Err(self
                .failed("read", &name)
                .answered(format!("with {read} bytes where {len} were asked for"))),
            _ => Ok(bytes),
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
