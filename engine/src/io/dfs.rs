//! The DFS of a store: immutable objects, put whole, read by ranges, deleted. Names are relative
//! to the root, so a root that was moved is opened under its new url.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::io::budget::Budget;
use crate::io::entropy;
use crate::io::faults::Faults;
use crate::io::folder::Folder;
use crate::io::host::credentials::Access;
use crate::io::memory::Memory;
use crate::io::objects::{OpenObject, Source};
use crate::io::read_op;
use crate::io::remote::Remote;
use crate::io::requests::{Operation, RequestCounts, Requests};
use crate::io::retry::{Missing, Patience};
use crate::io::stored::{DraftFile, Listed};
use crate::io::url::{self, Place};
use crate::types::{Error, ObjectName, Result};

/// A DFS root. Cheap to clone; any thread may use it. Its operations block the caller, except
/// for reads through a ring.
#[derive(Clone, Debug)]
pub struct Dfs {
    shared: Arc<Shared>,
    patience: Patience,
}

#[derive(Debug)]
struct Shared {
    root: Root,
    faults: Option<Arc<Faults>>,
    counters: Counters,
    // It was found to.
    decides_races: Mutex<bool>,
}

/// Where the objects are.
#[derive(Debug)]
pub(crate) enum Root {
    Folder(Arc<Folder>),
    Memory(Arc<Memory>),
    Remote(Remote),
}

#[derive(Debug, Default)]
struct Counters {
    puts: AtomicU64,
    put_bytes: AtomicU64,
    gets: AtomicU64,
    get_bytes: AtomicU64,
    deletes: AtomicU64,
    retries: AtomicU64,
    requests: Arc<RequestCounts>,
}

/// What a DFS was asked for since it was opened, ring reads apart (the ring counts those).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DfsCounters {
    /// Objects written.
    pub puts: u64,
    /// Bytes of them.
    pub put_bytes: u64,
    /// Loads of whole objects and range reads of jobs.
    pub gets: u64,
    /// Bytes of them.
    pub get_bytes: u64,
    /// Objects deleted.
    pub deletes: u64,
    /// Operations tried again after they failed for the moment.
    pub retries: u64,
    /// Operations, of shards too, that waited to be tried again because too much else failed.
    pub retries_held: u64,
    /// Reads by the thread of stores that were asked for once more because they took long.
    pub hedges: u64,
    /// Of these, those that were answered first.
    pub hedges_won: u64,
    /// The requests that all this took.
    pub requests: Requests,
}

impl Dfs {
    /// Opens the root that `url` names (module `url`); a folder that does not exist is made.
    ///
    /// # Errors
    /// `Invalid` for a url that is not understood, or a place that takes no objects.
    pub fn open(url: &str) -> Result<Self> {
        Self::open_as(url, &Access::Environment)
    }

    /// Opens the root that `url` names as whoever `access` says, which only stores ask for.
    ///
    /// # Errors
    /// As `open`; `Invalid` for credentials that the store cannot take, or that nobody asks for.
    pub fn open_as(url: &str, access: &Access) -> Result<Self> {
        let parsed = url::parse(url)?;
        if !matches!(access, Access::Environment) && !parsed.place.asks_who() {
            let url = url.split('?').next().unwrap_or_default();
            return Err(Error::invalid(format!(
                "DFS url {url}: nobody there asks for credentials; leave out those that the host \
                 gives, and the name of a source of them"
            )));
        }
        let seed = parsed.seed.map_or_else(entropy::seed, Ok)?;
        let faults = Faults::new(parsed.latency, parsed.fail, seed);
        let counters = Counters::default();
        let root = match parsed.place {
            Place::Folder(path) => Root::Folder(Arc::new(Folder::open(path)?)),
            Place::Memory(name) => Root::Memory(Memory::named(name)),
            Place::Remote(place) => Root::Remote(Remote::open(&place, access, &counters.requests)?),
        };
        let faults = (!faults.is_none()).then(|| Arc::new(faults));
        let decides_races = Mutex::default();
        let shared = Arc::new(Shared { root, faults, counters, decides_races });
        Ok(Self { shared, patience: Patience::DEFAULT })
    }

    /// Writes a whole object; when this returns it is durable and visible. Repeating a put that
    /// took effect is success.
    ///
    /// # Errors
    /// `Invalid` if the name holds other bytes; else the file system's refusal. The object may
    /// then exist or not; a repetition settles it.
    pub fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.suffer("put")?;
        self.put_now(name, bytes)
    }

    /// Writes a whole object unless there is one of its name: false if there was. When several do
    /// so at once, a DFS should let one of them; whether it does is for a probe to find out.
    ///
    /// # Errors
    /// `Unsupported` if it cannot be asked for; else as `put`, and then the object may exist.
    pub fn create(&self, name: &ObjectName, bytes: &[u8]) -> Result<bool> {
        self.suffer("create")?;
        self.create_now(name, bytes)
    }

    /// `create` without injected faults.
    pub(crate) fn create_now(&self, name: &ObjectName, bytes: &[u8]) -> Result<bool> {
        let created = match &self.shared.root {
            Root::Memory(memory) => memory.create(name, bytes),
            Root::Folder(folder) => folder.create(name, bytes)?,
            Root::Remote(remote) => remote.wait(remote.create(*name, bytes.to_vec().into()))?,
        };
        if created {
            self.count_put(bytes.len() as u64);
        }
        Ok(created)
    }

    /// The objects of a store's number, in no order.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn list(&self, store: u64) -> Result<Vec<Listed>> {
        self.suffer("list")?;
        self.count(Operation::List, 0);
        match &self.shared.root {
            Root::Memory(memory) => Ok(memory.list(store)),
            Root::Folder(folder) => folder.list(store),
            Root::Remote(remote) => remote.wait(remote.list(store)),
        }
    }

    /// The files of a store's number that are no objects yet, in no order; none where a DFS shows
    /// none. HDFS has those of all stores in one folder, and shows them all.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn drafts(&self, store: u64) -> Result<Vec<DraftFile>> {
        match &self.shared.root {
            Root::Folder(folder) => folder.drafts(store),
            Root::Memory(_) => Ok(Vec::new()),
            Root::Remote(remote) => remote.wait(remote.drafts()),
        }
    }

    /// Deletes a file that `drafts` named. Who still writes it fails, and writes another.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn delete_draft(&self, draft: &DraftFile) -> Result<()> {
        match &self.shared.root {
            Root::Folder(folder) => folder.delete_draft(draft),
            Root::Memory(_) => Ok(()),
            Root::Remote(remote) => remote.wait(remote.delete_draft(draft.path.clone())),
        }
    }

    /// Removes the folders of an object as far as they are empty, where they are things of their
    /// own. For objects of trials: who writes in a folder relies on it.
    pub fn prune(&self, name: &ObjectName) {
        if let Root::Folder(folder) = &self.shared.root {
            folder.prune(name);
        }
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// `MissingObject`; `TooLarge` beyond `bytes_max`; else the file system's refusal.
    pub fn load(&self, name: &ObjectName, bytes_max: u64) -> Result<Vec<u8>> {
        self.suffer("load")?;
        self.load_now(name, bytes_max)
    }

    /// Deletes an object; one that does not exist is as good as deleted.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn delete(&self, name: &ObjectName) -> Result<()> {
        self.suffer("delete")?;
        self.delete_now(name)
    }

    /// Bytes of an object.
    ///
    /// # Errors
    /// `MissingObject`; else the file system's refusal.
    pub fn size(&self, name: &ObjectName) -> Result<u64> {
        self.suffer("stat")?;
        self.count(Operation::Head, 0);
        match &self.shared.root {
            Root::Memory(memory) => Ok(memory.find(name)?.len() as u64),
            Root::Folder(folder) => folder.size(name),
            Root::Remote(remote) => remote.wait(remote.size(*name)),
        }
    }

    /// Headers by which a store that is reached by HTTP tells what an object has from other
    /// content, in its answer to a HEAD: of `ETag`, which need be no checksum, and `Content-MD5`.
    /// Other roots have none.
    ///
    /// # Errors
    /// As of `size`.
    pub fn content_headers(&self, name: &ObjectName) -> Result<Vec<&'static str>> {
        self.suffer("stat")?;
        self.count(Operation::Head, 0);
        self.remote().map_or(Ok(Vec::new()), |remote| remote.wait(remote.content_headers(*name)))
    }

    /// Reads `len` bytes at `offset` of an object.
    ///
    /// # Errors
    /// `MissingObject`; `Corrupt` if it ends before; else the file system's refusal.
    pub fn read(&self, name: &ObjectName, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.suffer("read")?;
        let mut out = vec![0; len];
        match &self.shared.root {
            Root::Memory(memory) => read_op::copy(*name, &memory.find(name)?, offset, &mut out)?,
            Root::Folder(folder) => folder.read(name, offset, &mut out)?,
            Root::Remote(remote) => {
                read_op::fill(&mut out, remote.wait(remote.read(*name, offset, len))?);
            }
        }
        self.count_get(len as u64);
        Ok(out)
    }

    /// Opens an object of `bytes` for the reads of a shard. A file system is asked whether it is
    /// there and how long it is; a server only when it is read.
    ///
    /// # Errors
    /// `MissingObject`; else the file system's refusal.
    pub fn open_object(&self, name: &ObjectName, bytes: u64) -> Result<OpenObject> {
        self.suffer("open")?;
        self.open_now(name, bytes)
    }

    /// Ends the use of what the host lends, a file system or credentials: it is called no more.
    /// Waits for calls that run, for `patience` at most.
    ///
    /// # Errors
    /// `Io` if some have not returned.
    pub fn close(&self, patience: Duration) -> Result<()> {
        self.remote().map_or(Ok(()), |remote| remote.close(patience))
    }

    /// Operations so far.
    #[must_use]
    pub fn counters(&self) -> DfsCounters {
        let c = &self.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (hedges, hedges_won) = self.remote().map_or((0, 0), Remote::hedges);
        DfsCounters {
            puts: get(&c.puts),
            put_bytes: get(&c.put_bytes),
            gets: get(&c.gets),
            get_bytes: get(&c.get_bytes),
            deletes: get(&c.deletes),
            retries: get(&c.retries),
            retries_held: self.budget().map_or(0, Budget::held),
            hedges,
            hedges_won,
            requests: c.requests.read(),
        }
    }

    /// What the url injects, for callers that must not block.
    pub(crate) fn faults(&self) -> Option<&Arc<Faults>> {
        self.shared.faults.as_ref()
    }

    fn suffer(&self, operation: &str) -> Result<()> {
        let Some(faults) = &self.shared.faults else { return Ok(()) };
        // These operations block anyway: this is the latency of a DFS, as far as it is simulated.
        std::thread::sleep(Duration::from_nanos(faults.latency()));
        faults.draw(operation)
    }

    // Counts a request of a DFS that is no store; those of stores are counted as they are sent.
    fn count(&self, operation: Operation, bytes: u64) {
        if self.remote().is_none() {
            self.shared.counters.requests.count(operation, bytes);
        }
    }

    pub(crate) fn count_get(&self, bytes: u64) {
        self.count(Operation::Get, bytes);
        self.shared.counters.gets.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.get_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_put(&self, bytes: u64) {
        self.count(Operation::Put, bytes);
        self.shared.counters.puts.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.put_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_retry(&self) {
        self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_delete(&self) {
        self.count(Operation::Delete, 0);
        self.shared.counters.deletes.fetch_add(1, Ordering::Relaxed);
    }

    /// The same root, for who tries again for so long what fails for the moment.
    pub(crate) fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// For how long its jobs and shards try again.
    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    /// Whether it was found to decide races (module `trials`).
    pub(crate) fn known_to_decide_races(&self) -> &Mutex<bool> {
        &self.shared.decides_races
    }

    /// What bounds the retries, if it is a store.
    pub(crate) fn budget(&self) -> Option<&Budget> {
        self.remote().map(Remote::budget)
    }

    /// Reads that take long are asked for once more from now on, if it is a store.
    pub(crate) fn set_hedge(&self) {
        if let Some(remote) = self.remote() {
            remote.set_hedge();
        }
    }

    fn remote(&self) -> Option<&Remote> {
        match &self.shared.root {
            Root::Folder(_) | Root::Memory(_) => None,
            Root::Remote(remote) => Some(remote),
        }
    }

    /// What it means that an object is missing which something names: a file system and memory
    /// know what they have.
    pub(crate) fn missing(&self) -> Missing {
        match &self.shared.root {
            Root::Folder(_) | Root::Memory(_) => Missing::Stays,
            Root::Remote(_) => Missing::MayAppear,
        }
    }

    /// As of an open object: true if a network is between it and here, or is simulated.
    pub(crate) fn is_store(&self) -> bool {
        self.remote().is_some() || self.shared.faults.is_some()
    }

    /// Where the objects are.
    pub(crate) fn root(&self) -> &Root {
        &self.shared.root
    }

    /// `put` without injected faults.
    pub(crate) fn put_now(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        match &self.shared.root {
            Root::Memory(memory) => memory.put(name, bytes.to_vec())?,
            Root::Folder(folder) => folder.put(name, bytes)?,
            Root::Remote(remote) => remote.wait(remote.put(*name, bytes.to_vec().into()))?,
        }
        self.count_put(bytes.len() as u64);
        Ok(())
    }

    /// `load` without injected faults.
    pub(crate) fn load_now(&self, name: &ObjectName, bytes_max: u64) -> Result<Vec<u8>> {
        let bytes = match &self.shared.root {
            Root::Memory(memory) => memory.load(name, bytes_max)?,
            Root::Folder(folder) => folder.load(name, bytes_max)?,
            Root::Remote(remote) => remote.wait(remote.load(*name, bytes_max))?,
        };
        self.count_get(bytes.len() as u64);
        Ok(bytes)
    }

    /// `delete` without injected faults.
    pub(crate) fn delete_now(&self, name: &ObjectName) -> Result<()> {
        match &self.shared.root {
            Root::Memory(memory) => memory.delete(name),
            Root::Folder(folder) => folder.delete(name)?,
            Root::Remote(remote) => remote.wait(remote.delete(*name))?,
        }
        self.count_delete();
        Ok(())
    }

    /// `open_object` without injected faults.
    pub(crate) fn open_now(&self, name: &ObjectName, bytes: u64) -> Result<OpenObject> {
        let source = match &self.shared.root {
            Root::Memory(memory) => Source::Memory(memory.find(name)?),
            Root::Folder(folder) => folder.open_object(name)?,
            Root::Remote(remote) => Source::Remote { remote: remote.clone(), bytes },
        };
        Ok(OpenObject { name: *name, source, faults: self.shared.faults.clone() })
    }
}

#[cfg(test)]
#[path = "dfs_tests.rs"]
mod tests;
