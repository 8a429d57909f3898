//! Calls of the DFS, of the cache on the SSD and of compactors that go wrong: one that is chosen by
//! its number, for tests that try every one, or those that the mix of a seed draws.

use std::collections::BTreeSet;

use aquifer::io::values::{IoDone, IoRequest, ObjectSlot};
use aquifer::mem::pool::Buf;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectKind, ObjectName, Result};

use crate::sim::dfs::LateCall;
use crate::sim::driver::{Event, SSD, Sim};
use crate::sim::faults::Fault;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// The shard puts an object.
    Put,
    /// The shard puts a root, unless its name is taken.
    Create,
    /// The shard loads an object.
    Load,
    /// The shard reads of an object that is open.
    Read,
    /// The shard deletes an object. Nobody is told how that ends.
    Delete,
    /// A job reads.
    JobRead,
    /// A job appends to an object.
    Append,
    /// A job seals an object.
    Seal,
    /// A job opens an object for the shard.
    Open,
    /// The shard reads of its cache on the SSD.
    SsdRead,
    /// The shard, or a job, writes to it.
    SsdWrite,
    /// A job asks for a compactor.
    Errand,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It fails, and does nothing.
    NotApplied,
    /// It is done, and fails all the same. A read brings a part of its bytes; a load, a read of
    /// a job and one of the cache pass the part off as the whole.
    ReplyLost,
    /// It fails after a long time, and is done when nobody thinks of it any more (see
    /// `Sim::late_calls_arrive`). What only reads, and what the cache is asked for, is answered
    /// late; a compactor goes on.
    Late,
}

/// All fates.
pub const FATES: [Fate; 3] = [Fate::NotApplied, Fate::ReplyLost, Fate::Late];

impl Call {
    /// True if this can become of it, and is not the same as another fate.
    #[must_use]
    pub fn may_meet(self, fate: Fate) -> bool {
        match self {
            Self::Append => fate != Fate::Late,
            Self::Delete | Self::Open => fate != Fate::ReplyLost,
            _ => true,
        }
    }

    fn only_reads(self) -> bool {
        matches!(self, Self::Load | Self::Read | Self::JobRead | Self::Open)
    }

    // What the mix of a seed may have become of it; the rest of its faults are drawn where it is
    // done.
    fn drawn(self) -> &'static [(Fault, Fate)] {
        match self {
            Self::Put => &[
                (Fault::PutError, Fate::NotApplied),
                (Fault::PutLostReply, Fate::ReplyLost),
                (Fault::PutLate, Fate::Late),
            ],
            Self::Create => &[
                (Fault::CreateLate, Fate::Late),
                (Fault::PutError, Fate::NotApplied),
                (Fault::PutLostReply, Fate::ReplyLost),
            ],
            Self::Load => {
                &[(Fault::LoadError, Fate::NotApplied), (Fault::LoadShort, Fate::ReplyLost)]
            }
            Self::Delete => {
                &[(Fault::DeleteLost, Fate::NotApplied), (Fault::DeleteLate, Fate::Late)]
            }
            Self::Seal => &[
                (Fault::SealError, Fate::NotApplied),
                (Fault::SealLostReply, Fate::ReplyLost),
                (Fault::SealLate, Fate::Late),
            ],
            Self::Open => &[(Fault::ReopenError, Fate::NotApplied)],
            Self::SsdRead | Self::SsdWrite => &[(Fault::SsdError, Fate::NotApplied)],
            Self::Errand => {
                &[(Fault::ErrandRefused, Fate::NotApplied), (Fault::ErrandLate, Fate::Late)]
            }
            Self::Read | Self::JobRead | Self::Append => &[],
        }
    }
}

// By which an object may be put twice.
fn twice(name: &ObjectName) -> Fault {
    match name.kind {
        ObjectKind::Sst => Fault::SealTwice,
        ObjectKind::Root => Fault::CreateTwice,
        ObjectKind::Manifest => Fault::PutTwice,
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Strike {
    /// The call to strike, counted from zero, and how.
    pub at: Option<(usize, Fate)>,
    /// What was struck.
    pub struck: Option<Call>,
    /// All calls so far.
    pub calls: Vec<Call>,
    /// Objects that may stay behind without an owner: what was struck, what jobs sealed that failed
    /// later, and what a dead process was about to delete.
    pub orphans: BTreeSet<ObjectName>,
}

impl Strike {
    // Counts a call, and says what becomes of it if it is the one.
    fn take(&mut self, call: Call, name: Option<&ObjectName>) -> Option<Fate> {
        let number = self.calls.len();
        self.calls.push(call);
        let (_, fate) = self.at.filter(|(at, _)| *at == number)?;
        self.struck = Some(call);
        if !call.only_reads() {
            self.orphans.extend(name);
        }
        Some(fate)
    }
}

impl Sim {
    /// What a call meets, and what is said of it; nothing if all is well.
    pub(super) fn fate(&mut self, call: Call, name: Option<&ObjectName>) -> Option<(Fate, Error)> {
        if let Some(fate) = self.strike.take(call, name) {
            return Some((fate, self.injected(&format!("{call:?} was struck"))));
        }
        if let Some(name) = name {
            if let Some(error) = self.refusal(call) {
                return Some((Fate::NotApplied, error));
            }
            if call.only_reads() && self.hides(name) {
                let patient = self.rng.chance(5000);
                let fate = if patient { Fate::Late } else { Fate::NotApplied };
                return Some((fate, Error::missing(format!("injected: {name} is not shown yet"))));
            }
        }
        let (fault, fate) = *call.drawn().iter().find(|(fault, _)| self.meets(*fault))?;
        Some((fate, self.injected(&format!("{call:?} met {fault:?}"))))
    }

    // True if an object is not shown yet that was put not long ago.
    fn hides(&self, name: &ObjectName) -> bool {
        let until = self.hidden.get(name).copied().unwrap_or_default();
        self.faults[Fault::Hidden] > 0 && self.now < until
    }

    // What the DFS says that refuses everything for a while, or what needs room.
    fn refusal(&self, call: Call) -> Option<Error> {
        let (fault, _) = self.refuses.filter(|&(_, until)| self.now < until)?;
        let needs_room = !call.only_reads() && call != Call::Delete;
        match fault {
            _ if self.faults[fault] == 0 => None,
            Fault::NoSpace if needs_room => {
                Some(Error::new(ErrorKind::NoSpace, "injected: the DFS is full"))
            }
            Fault::NoSpace => None,
            _ => Some(self.injected("403, the credentials have ended")),
        }
    }

    /// At a turn: the DFS may begin to refuse.
    pub(super) fn may_refuse(&mut self) {
        for fault in [Fault::Denied, Fault::NoSpace] {
            if self.meets(fault) {
                let lasts = self.rng.below(20 * self.faults.latency_max as usize) as u64;
                self.refuses = Some((fault, self.now + 1 + lasts));
            }
        }
    }

    /// An object is put, or sealed: now and perhaps once more.
    pub(super) fn apply(&mut self, name: ObjectName, bytes: Vec<u8>) {
        if self.meets(twice(&name)) {
            self.dfs.float(LateCall::Again(name, bytes.clone()));
        }
        if self.meets(Fault::Hidden) {
            let lasts = self.rng.below(100 * self.faults.latency_max as usize) as u64;
            self.hidden.insert(name, self.now + 1 + lasts);
        }
        self.dfs.put(name, bytes);
    }

    /// Likewise, of a call that meets its fate.
    pub(super) fn apply_as(&mut self, fate: Fate, name: ObjectName, bytes: Vec<u8>) {
        match fate {
            Fate::NotApplied => {}
            Fate::ReplyLost => self.apply(name, bytes),
            Fate::Late => self.dfs.float(LateCall::Put(name, bytes)),
        }
    }

    /// What was held back is done now: the process that asked for it may be long dead.
    pub fn late_calls_arrive(&mut self) {
        while self.dfs.float_ashore(&mut self.rng) {}
    }

    /// Lets a request of the shard meet its fate. `None`: it has met one.
    pub(super) fn strike_io(&mut self, request: IoRequest) -> Option<IoRequest> {
        let (call, name) = match &request {
            IoRequest::Put { name, .. } => (Call::Put, Some(*name)),
            IoRequest::Create { name, .. } => (Call::Create, Some(*name)),
            IoRequest::Load { name, .. } => (Call::Load, Some(*name)),
            IoRequest::Read { object: SSD, .. } => (Call::SsdRead, None),
            IoRequest::Read { object, .. } => (Call::Read, self.dfs.name_of(*object)),
            IoRequest::Write { .. } => (Call::SsdWrite, None),
            IoRequest::Delete { name } => (Call::Delete, Some(*name)),
            _ => return Some(request),
        };
        let Some((fate, error)) = self.fate(call, name.as_ref()) else { return Some(request) };
        let of_store = self.faults.is_store;
        let event = match request {
            IoRequest::Put { token, name, bytes } | IoRequest::Create { token, name, bytes } => {
                self.apply_as(fate, name, bytes);
                Event::Io(IoDone::Put { token, result: Err(error) }, None)
            }
            IoRequest::Load { token, name, bytes_max, .. } => {
                let result = match fate {
                    Fate::NotApplied => Err(error),
                    _ => self.dfs.needed(&name, "a load").map(|bytes| bytes.to_vec()),
                };
                let result: Result<Vec<u8>> = result.map(|mut bytes| {
                    let part = if fate == Fate::ReplyLost { bytes.len() / 2 } else { bytes.len() };
                    bytes.truncate(part.min(bytes_max as usize));
                    bytes
                });
                Event::Io(IoDone::Load { token, result, of_store }, None)
            }
            IoRequest::Read { token, object: SSD, offset, mut buf, .. } => {
                let result = self.read_ssd_as((fate, error), offset, &mut buf);
                Event::Io(IoDone::Read { token, buf, result, of_store: false }, None)
            }
            IoRequest::Read { token, object, offset, mut buf, .. } => {
                let result = self.read_as((fate, error), object, offset, &mut buf);
                Event::Io(IoDone::Read { token, buf, result, of_store }, Some(object))
            }
            IoRequest::Write { token, offset, buf, .. } => {
                let result = self.write_ssd_as((fate, error), offset, buf.bytes());
                Event::Io(IoDone::Write { token, buf, result }, None)
            }
            IoRequest::Delete { name } => {
                if fate == Fate::Late {
                    self.dfs.float(LateCall::Delete(name));
                }
                return None;
            }
            _ => unreachable!("not a call"),
        };
        self.answer(Some(fate), event);
        None
    }

    fn read_as(
        &mut self,
        (fate, error): (Fate, Error),
        object: ObjectSlot,
        offset: u64,
        buf: &mut Buf,
    ) -> Result<()> {
        let bytes = self.dfs.start_read(object)?;
        let part = match fate {
            Fate::NotApplied => return Err(error),
            Fate::ReplyLost => buf.bytes().len() / 2,
            Fate::Late => buf.bytes().len(),
        };
        let from = bytes.get(offset as usize..).and_then(|rest| rest.get(..part));
        let from = from.ok_or_else(|| Error::corrupt("an object ends early"))?;
        buf.bytes_mut()[..part].copy_from_slice(from);
        if fate == Fate::Late { Ok(()) } else { Err(error) }
    }

    fn read_ssd_as(
        &mut self,
        (fate, error): (Fate, Error),
        offset: u64,
        buf: &mut Buf,
    ) -> Result<()> {
        if fate == Fate::NotApplied {
            return Err(error);
        }
        self.read_ssd(offset, buf.bytes_mut())?;
        if fate == Fate::ReplyLost {
            let half = buf.bytes().len() / 2;
            buf.bytes_mut()[half..].fill(0xa5);
        }
        Ok(())
    }

    /// What becomes of a write to the cache: its answer.
    pub(super) fn write_ssd_as(
        &mut self,
        (fate, error): (Fate, Error),
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64> {
        match fate {
            Fate::NotApplied => Err(error),
            Fate::ReplyLost => self.write_ssd(offset, bytes).and(Err(error)),
            Fate::Late => self.write_ssd(offset, bytes),
        }
    }

    /// Answers what was done, or met its fate.
    pub(super) fn answer(&mut self, fate: Option<Fate>, event: Event) {
        if fate == Some(Fate::Late) { self.much_later(event) } else { self.later(event) }
    }
}
