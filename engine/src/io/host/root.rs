//! A root in a host's file system: what a store is asked for, as calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::io::host::calls::Calls;
use crate::io::host::{End, Entry, FILE_SYSTEMS, FileSystem, Piece, SignedUrl};
use crate::io::remote::plain;
use crate::io::requests::{Operation, RequestCounts};
use crate::io::stored::{self, Listed, check_size};
use crate::limits::{HOST_CALLS_MAX, HOST_LISTED_MAX, REMOTE_PART_BYTES};
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

type Fs = dyn FileSystem;

/// See the module. Dropped, no call begins any more.
pub(crate) struct Host {
    calls: Calls<Fs>,
    // From a slash to a slash.
    path: String,
    pub(crate) label: String,
    counts: Arc<RequestCounts>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// An object that is being written.
pub(crate) struct Upload {
    name: ObjectName,
    path: String,
    word: usize,
    // Bytes that were taken.
    bytes: u64,
    // Something is to be given up if it is not the last.
    begun: bool,
}

impl Upload {
    fn put(&mut self, file_system: &Fs, bytes: &[u8], end: End, only_new: bool) -> Result<bool> {
        let Self { path, word, bytes: offset, begun, .. } = self;
        *begun = end == End::More;
        let piece = Piece { path, offset: *offset, bytes, end, only_new, word };
        let put = file_system.put(piece);
        *offset += bytes.len() as u64;
        if put.is_err() && end != End::GivenUp {
            *begun = true;
            self.give_up(file_system);
        }
        put
    }

    fn give_up(&mut self, file_system: &Fs) {
        if self.begun {
            let _unheard = self.put(file_system, &[], End::GivenUp, false);
        }
    }
}

impl Host {
    /// The root at `path` of the file system that the host lent as `name`.
    pub(crate) fn open(
        name: &str,
        path: &str,
        label: String,
        counts: &Arc<RequestCounts>,
    ) -> Result<Self> {
        let lent = FILE_SYSTEMS.find(name);
        let lent = lent.map_err(|e| Error::new(e.kind, format!("DFS url {label}: {}", e.text)))?;
        let (calls, path) = (Calls::new(lent, HOST_CALLS_MAX), path.to_owned());
        Ok(Self { calls, path, label, counts: counts.clone() })
    }

    /// No call begins any more; waits for those that run for `patience` at most.
    pub(crate) fn close(&self, patience: Duration) -> Result<()> {
        self.calls.close(patience)
    }

    fn path_of(&self, name: &ObjectName) -> String {
        format!("{}{name}", self.path)
    }

    // Names the operation in what a call fails with.
    fn failed(&self, operation: &str, of: &dyn fmt::Display) -> impl Fn(Error) -> Error + use<> {
        let what = format!("{operation} of {}{of}", self.label);
        move |error| Error::new(error.kind, format!("{what}: {}", plain(&error.text)))
    }

    async fn ask<T: Send + 'static>(
        &self,
        operation: &str,
        of: &(dyn fmt::Display + Sync),
        call: impl FnOnce(&Fs) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let asked = self.calls.call(call, |_, _| ()).await;
        asked.flatten().map_err(self.failed(operation, of))
    }

    /// Writes a whole object, a large one in pieces.
    pub(crate) async fn put(&self, name: ObjectName, bytes: Bytes) -> Result<()> {
        if bytes.len() <= REMOTE_PART_BYTES {
            return self.piece(self.upload(&name), bytes, End::Last, false).await.map(drop);
        }
        let mut upload = self.upload(&name);
        for at in (0..bytes.len()).step_by(REMOTE_PART_BYTES) {
            let piece = bytes.slice(at..bytes.len().min(at + REMOTE_PART_BYTES));
            upload = self.write(upload, piece).await?;
        }
        self.seal(upload).await
    }

    /// Writes a whole object unless there is one of its name: false if there was.
    pub(crate) async fn create(&self, name: ObjectName, bytes: Bytes) -> Result<bool> {
        Ok(self.piece(self.upload(&name), bytes, End::Last, true).await?.is_some())
    }

    /// Starts to write an object.
    pub(crate) fn upload(&self, name: &ObjectName) -> Upload {
        Upload { name: *name, path: self.path_of(name), word: 0, bytes: 0, begun: false }
    }

    /// Adds a piece. What failed was given up.
    pub(crate) async fn write(&self, upload: Upload, bytes: Bytes) -> Result<Upload> {
        let taken = self.piece(upload, bytes, End::More, false).await?;
        taken.ok_or_else(|| Error::invalid("the host's file system knows an object that is new"))
    }

    /// Gives an object up, as far as the host does.
    pub(crate) async fn give_up(&self, upload: Upload) {
        let mut upload = upload;
        let _left = self.calls.call(move |fs: &Fs| upload.give_up(fs), |_, ()| ()).await;
    }

    /// Ends an object, and looks whether it is there.
    pub(crate) async fn seal(&self, upload: Upload) -> Result<()> {
        let (name, bytes) = (upload.name, upload.bytes);
        self.piece(upload, Bytes::new(), End::Last, false).await?;
        let there = self.size(name).await?;
        if there == bytes {
            return Ok(());
        }
        let text = format!("it has {there} bytes of the {bytes} that were written");
        Err(self.failed("put", &name)(Error::new(ErrorKind::Io, text)))
    }

    // None if the object was to be new and is there.
    async fn piece(
        &self,
        mut upload: Upload,
        bytes: Bytes,
        end: End,
        only_new: bool,
    ) -> Result<Option<Upload>> {
        let whole = end == End::Last && upload.bytes == 0;
        let operation = if whole { Operation::Put } else { Operation::Part };
        self.counts.count(operation, bytes.len() as u64);
        let failed = self.failed("put", &upload.name);
        let put = move |fs: &Fs| {
            let put = upload.put(fs, &bytes, end, only_new);
            (put, upload)
        };
        let called = self.calls.call(put, |fs, (_, mut upload)| upload.give_up(fs)).await;
        match called {
            Ok((Ok(true), upload)) => Ok(Some(upload)),
            Ok((Ok(false), _)) if only_new => Ok(None),
            Ok((Ok(false), _)) => {
                Err(failed(Error::invalid("it answered that the object is there already")))
            }
            Ok((Err(error), _)) | Err(error) => Err(failed(error)),
        }
    }

    /// The objects of a store's number.
    pub(crate) async fn list(&self, store: u64) -> Result<Vec<Listed>> {
        self.counts.count(Operation::List, 0);
        let folder = ObjectName::folder_of(store);
        let (root, prefix) = (self.path.clone(), format!("{}{folder}", self.path));
        self.ask("list", &folder, move |fs| {
            let mut found = Ok(Vec::new());
            fs.list(&prefix, &mut |entry| {
                if let Ok(all) = &mut found
                    && let Err(error) = take_listed(all, &root, &prefix, &entry)
                {
                    found = Err(error);
                }
                found.is_ok()
            })?;
            found
        })
        .await
    }

    /// Reads a whole object of at most `bytes_max`.
    pub(crate) async fn load(&self, name: ObjectName, bytes_max: u64) -> Result<Vec<u8>> {
        let bytes = self.size(name).await?;
        check_size(&name, bytes, bytes_max)?;
        let mut whole = Vec::new();
        while (whole.len() as u64) < bytes {
            let at = whole.len() as u64;
            let piece = (bytes - at).min(REMOTE_PART_BYTES as u64) as usize;
            whole.extend_from_slice(&self.read(name, at, piece).await?);
        }
        Ok(whole)
    }

    /// Bytes of an object.
    pub(crate) async fn size(&self, name: ObjectName) -> Result<u64> {
        self.counts.count(Operation::Head, 0);
        let path = self.path_of(&name);
        self.ask("size", &name, move |fs| fs.size(&path)).await
    }

    /// Deletes an object; one that does not exist is as good as deleted.
    pub(crate) async fn delete(&self, name: ObjectName) -> Result<()> {
        self.counts.count(Operation::Delete, 0);
        let path = self.path_of(&name);
        let deleted = self.ask("delete", &name, move |fs| fs.delete(&path)).await;
        match deleted {
            Err(error) if error.kind == ErrorKind::MissingObject => Ok(()),
            deleted => deleted,
        }
    }

    /// Where an object is got without calls; `None` if the host does not say. Not checked.
    pub(crate) async fn url(&self, name: ObjectName) -> Result<Option<SignedUrl>> {
        let path = self.path_of(&name);
        self.ask("url", &name, move |fs| fs.url(&path)).await
    }

    /// Reads `len` bytes at `offset`.
    pub(crate) async fn read(&self, name: ObjectName, offset: u64, len: usize) -> Result<Bytes> {
        let path = self.path_of(&name);
        let read = self.ask("read", &name, move |fs| fill(fs, &path, offset, len)).await;
        let brought = read.as_ref().map_or(0, |read| read.len() as u64);
        self.counts.count(Operation::Get, brought);
        let read = read?;
        match read.len() == len {
            true => Ok(read),
            false => Err(stored::past_end(name, offset + read.len() as u64)),
        }
    }
}

// Reads until all is there or the object ends.
fn fill(fs: &Fs, path: &str, offset: u64, len: usize) -> Result<Bytes> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        let rest = &mut bytes[filled..];
        let room = rest.len();
        match fs.read(path, offset + filled as u64, rest)? {
            0 => break,
            more if more > room => {
                return Err(Error::invalid(format!(
                    "it answered with {more} bytes where {room} were asked for"
                )));
            }
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}

fn take_listed(all: &mut Vec<Listed>, root: &str, prefix: &str, entry: &Entry<'_>) -> Result<()> {
    if !entry.path.starts_with(prefix) {
        // Quoted, and not all of it: it may be anything.
        let path: String = entry.path.chars().take(200).collect();
        return Err(Error::invalid(format!("it names {path:?}, which is not below {prefix}")));
    }
    if all.len() == HOST_LISTED_MAX {
        let text = format!("it names more than {HOST_LISTED_MAX} objects");
        return Err(Error::new(ErrorKind::TooLarge, text));
    }
    // What is no object is somebody else's.
    let name = entry.path[root.len()..].parse().ok();
    let (bytes, modified_s) = (entry.bytes, entry.modified_s);
    all.extend(name.map(|name| Listed { name, bytes, modified_s }));
    Ok(())
}
