//! Objects that are open for reading, and a driver's table of them.

use std::fs::File;
use std::sync::Arc;

use crate::io::budget::Budget;
use crate::io::faults::Faults;
use crate::io::http::target::Target;
use crate::io::remote::Remote;
use crate::io::retry::Missing;
use crate::io::values::ObjectSlot;
use crate::limits::OBJECTS_OPEN_MAX;
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// An object that a DFS opened for reading. Any thread may open it and hand it to a shard, whose
/// driver owns it from then on; dropping it closes it.
#[derive(Debug)]
pub struct OpenObject {
    pub(crate) name: ObjectName,
    pub(crate) source: Source,
    pub(crate) faults: Option<Arc<Faults>>,
}

impl OpenObject {
    /// The object `name` of `bytes` that is got at `target`.
    #[must_use]
    pub fn of_target(name: ObjectName, target: Arc<Target>, bytes: u64) -> Self {
        Self { name, source: Source::Http { target, bytes }, faults: None }
    }

    /// The object's name.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        self.name
    }
}

/// Where an open object's bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A descriptor, with `O_DIRECT` where the file system takes it.
    File {
        /// The descriptor.
        file: Arc<File>,
        /// Its size at open; objects never change theirs.
        bytes: u64,
    },
    /// A file of a cache, which is written too, and whose reads are tried once.
    Cache {
        /// The descriptor.
        file: Arc<File>,
        /// What it may have.
        bytes: u64,
    },
    /// The bytes themselves, of a DFS in memory.
    Memory(Arc<Vec<u8>>),
    /// An object of a store that is reached by HTTP.
    Remote {
        /// The store.
        remote: Remote,
        /// Its size, as whoever wrote it says.
        bytes: u64,
    },
    /// An object that plain GETs bring.
    Http {
        /// Where.
        target: Arc<Target>,
        /// Its size, as whoever wrote it says.
        bytes: u64,
    },
}

/// How a driver reads an object.
#[derive(Debug)]
pub(crate) enum Route {
    /// A file registered with the ring; the kernel's table keeps it open.
    Registered,
    /// A descriptor, for the ring or the threads that read.
    Descriptor(Arc<File>),
    /// The same, of a cache.
    Cache(Arc<File>),
    /// A copy from memory.
    Memory(Arc<Vec<u8>>),
    /// The thread that talks to stores.
    Remote {
        /// The store.
        remote: Remote,
        /// The shard can send GETs, and was not told where.
        wants_target: bool,
    },
    /// GETs of ranges; the thread that talks to stores brings what they do not.
    Http(Arc<Target>, Option<Remote>),
}

impl Route {
    /// The object is the host's, which may read it by itself where its url does not serve: that
    /// happens from now on, and true says so.
    pub(crate) fn leave_url_of_host(&mut self) -> bool {
        match self {
            Self::Remote { remote, .. } => remote.is_host(),
            Self::Http(_, Some(remote)) if remote.is_host() => {
                *self = Self::Remote { remote: remote.clone(), wants_target: false };
                true
            }
            _ => false,
        }
    }

    /// What it means that the object is missing.
    pub(crate) fn missing(&self) -> Missing {
        match self {
            Self::Remote { .. } | Self::Http(_, Some(_)) => Missing::MayAppear,
            Self::Registered
            | Self::Descriptor(_)
            | Self::Cache(_)
            | Self::Memory(_)
            | Self::Http(_, None) => Missing::Stays,
        }
    }

    /// What bounds the retries at its store.
    pub(crate) fn budget(&self) -> Option<&Budget> {
        match self {
            Self::Remote { remote, .. } | Self::Http(_, Some(remote)) => Some(remote.budget()),
            _ => None,
        }
    }
}

/// An open object of a driver.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: ObjectName,
    pub(crate) route: Route,
    pub(crate) bytes: u64,
    pub(crate) faults: Option<Arc<Faults>>,
    // Reads queued or being carried out: a closed object goes when the last of them ended, so that
    // no queued read finds a stranger behind its descriptor.
    pub(crate) reads: u32,
    closing: bool,
}

impl Entry {
    /// True if a network is between it and here, or is simulated: a url that injects something is
    /// that of a store.
    pub(crate) fn is_of_store(&self) -> bool {
        matches!(self.route, Route::Remote { .. } | Route::Http(..)) || self.faults.is_some()
    }
}

#[derive(Debug, Default)]
struct Cell {
    uses: u32,
    entry: Option<Entry>,
}

/// The open objects of a driver by index; a slot number carries the index and how often the index
/// was used.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    cells: Vec<Cell>,
    free: Vec<u32>,
}

const INDEX_BITS: u32 = OBJECTS_OPEN_MAX.trailing_zeros();
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const USES_MASK: u32 = u32::MAX >> INDEX_BITS;

impl Objects {
    /// The index the next object will get.
    pub(crate) fn next_index(&self) -> u32 {
        let fresh = || u32::try_from(self.cells.len()).expect("bounded by insert");
        self.free.last().copied().unwrap_or_else(fresh)
    }

    /// Adds an object at `next_index`.
    pub(crate) fn insert(
        &mut self,
        name: ObjectName,
        route: Route,
        bytes: u64,
        faults: Option<Arc<Faults>>,
    ) -> ObjectSlot {
        let index = self.next_index();
        if self.free.pop().is_none() {
            assert!(self.cells.len() < OBJECTS_OPEN_MAX, "a shard opened 2^20 objects at once");
            self.cells.push(Cell::default());
        }
        let cell = &mut self.cells[index as usize];
        cell.entry = Some(Entry { name, route, bytes, faults, reads: 0, closing: false });
        ObjectSlot(index | cell.uses << INDEX_BITS)
    }

    /// The object that `slot` names.
    pub(crate) fn get_mut(&mut self, slot: ObjectSlot) -> Result<&mut Entry> {
        self.cells
            .get_mut(index(slot) as usize)
            .filter(|cell| cell.uses == slot.0 >> INDEX_BITS)
            .and_then(|cell| cell.entry.as_mut())
            .filter(|entry| !entry.closing)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    format!(
                        "object slot {:#x} is not open: it was closed before this call",
                        slot.0
                    ),
                )
            })
    }

    /// The object of an operation that counts among its reads.
    pub(crate) fn of_read(&mut self, slot: ObjectSlot) -> &mut Entry {
        let cell = &mut self.cells[index(slot) as usize];
        cell.entry.as_mut().expect("an object outlives its reads")
    }

    /// Closes an object. Its route, once no read uses it.
    pub(crate) fn close(&mut self, slot: ObjectSlot) -> Option<Route> {
        let entry = self.get_mut(slot).ok()?;
        entry.closing = true;
        self.reap(slot)
    }

    /// A read ended. The route of the object, if it was closed and this was its last read.
    pub(crate) fn release(&mut self, slot: ObjectSlot) -> Option<Route> {
        let entry = self.of_read(slot);
        entry.reads -= 1;
        if entry.closing { self.reap(slot) } else { None }
    }

    fn reap(&mut self, slot: ObjectSlot) -> Option<Route> {
        let cell = &mut self.cells[index(slot) as usize];
        if cell.entry.as_ref().is_none_or(|entry| entry.reads > 0) {
            return None;
        }
        cell.uses = (cell.uses + 1) & USES_MASK;
        self.free.push(index(slot));
        cell.entry.take().map(|entry| entry.route)
    }
}

/// The index of a slot in the ring's tables.
pub(crate) fn index(slot: ObjectSlot) -> u32 {
    slot.0 & INDEX_MASK
}
