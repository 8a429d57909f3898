//! One call of the DFS that goes wrong, chosen by its number: for tests that try every one.

use std::collections::BTreeSet;

use aquifer::io::values::{IoDone, IoRequest};
use aquifer::types::{Error, ObjectName, Result};

use crate::sim::driver::{Event, Sim};

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
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It fails, and does nothing.
    NotApplied,
    /// It is done, and fails all the same. A read brings a part of its bytes; a load and a read of
    /// a job pass the part off as the whole.
    ReplyLost,
    /// It fails, and is done when nobody thinks of it any more (see `Sim::late_calls_arrive`).
    /// What only reads is answered late.
    Late,
}

/// All fates.
pub const FATES: [Fate; 3] = [Fate::NotApplied, Fate::ReplyLost, Fate::Late];

impl Call {
    /// True if this can become of it, and is not the same as another fate.
    #[must_use]
    pub fn may_meet(self, fate: Fate) -> bool {
        match self {
            Self::Put | Self::Create | Self::Seal | Self::Load | Self::Read | Self::JobRead => true,
            Self::Append => fate != Fate::Late,
            Self::Delete | Self::Open => fate != Fate::ReplyLost,
        }
    }
}

/// A change of the DFS that was accepted and not made yet.
#[derive(Debug)]
pub(super) enum LateCall {
    Put(ObjectName, Vec<u8>),
    Delete(ObjectName),
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
    pub(super) late: Vec<LateCall>,
}

impl Strike {
    /// Counts a call, and says what becomes of it if it is the one.
    pub(super) fn take(&mut self, call: Call, name: Option<&ObjectName>) -> Option<Fate> {
        let number = self.calls.len();
        self.calls.push(call);
        let (_, fate) = self.at.filter(|(at, _)| *at == number)?;
        self.struck = Some(call);
        self.orphans.extend(name);
        Some(fate)
    }

    /// Holds a change back.
    pub(super) fn hold(&mut self, call: LateCall) {
        self.late.push(call);
    }
}

impl Sim {
    /// What was held back is done now: the process that asked for it may be long dead.
    pub fn late_calls_arrive(&mut self) {
        for call in std::mem::take(&mut self.strike.late) {
            match call {
                LateCall::Put(name, bytes) => self.dfs.put(name, bytes),
                LateCall::Delete(name) => self.dfs.delete(&name),
            }
        }
    }

    pub(super) fn struck(&self, call: Call) -> Error {
        self.injected(&format!("{call:?} was struck"))
    }

    /// Lets a request of the shard meet its fate. `None`: it is not the one.
    pub(super) fn strike_io(&mut self, request: IoRequest) -> Option<IoRequest> {
        let (call, name) = match &request {
            IoRequest::Put { name, .. } => (Call::Put, Some(name)),
            IoRequest::Create { name, .. } => (Call::Create, Some(name)),
            IoRequest::Load { .. } => (Call::Load, None),
            IoRequest::Read { .. } => (Call::Read, None),
            IoRequest::Delete { name } => (Call::Delete, Some(name)),
            _ => return Some(request),
        };
        let Some(fate) = self.strike.take(call, name) else { return Some(request) };
        let (error, of_store) = (self.struck(call), self.faults.is_store);
        match request {
            IoRequest::Put { token, name, bytes } | IoRequest::Create { token, name, bytes } => {
                match fate {
                    Fate::NotApplied => {}
                    Fate::ReplyLost => self.dfs.put(name, bytes),
                    Fate::Late => self.strike.hold(LateCall::Put(name, bytes)),
                }
                self.later(Event::Io(IoDone::Put { token, result: Err(error) }, None));
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
                self.answer_to_read(
                    fate,
                    Event::Io(IoDone::Load { token, result, of_store }, None),
                );
            }
            IoRequest::Read { token, object, offset, mut buf, .. } => {
                let bytes = self.dfs.start_read(object).expect("an object that is open");
                let part = match fate {
                    Fate::NotApplied => 0,
                    Fate::ReplyLost => buf.bytes().len() / 2,
                    Fate::Late => buf.bytes().len(),
                };
                buf.bytes_mut()[..part].copy_from_slice(&bytes[offset as usize..][..part]);
                let result = if fate == Fate::Late { Ok(()) } else { Err(error) };
                let done = IoDone::Read { token, buf, result, of_store };
                self.answer_to_read(fate, Event::Io(done, Some(object)));
            }
            IoRequest::Delete { name } => {
                if fate == Fate::Late {
                    self.strike.hold(LateCall::Delete(name));
                }
            }
            _ => unreachable!("not a call"),
        }
        None
    }

    /// Answers what only reads.
    pub(super) fn answer_to_read(&mut self, fate: Fate, event: Event) {
        if fate == Fate::Late { self.much_later(event) } else { self.later(event) }
    }
}
