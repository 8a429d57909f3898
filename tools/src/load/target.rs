//! The engine under test, as the load generator sees it: batches go in, completions come out by
//! tag.

use std::time::Duration;

use anyhow::Result;
use aquifer::state::Entries;

/// What one operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// Read the value of a key.
    Get,
    /// Write a value blindly.
    Put,
    /// Read at most so many entries of a map, from the one with this key on. Only where the data
    /// set lies in maps.
    Scan(u32),
    /// Read a value, change it by [`Dataset::next_value`](super::Dataset::next_value), write it
    /// back. The change is the engine's to call: the load generator never sees the value.
    Rmw,
}

impl OpKind {
    /// Whether it changes anything.
    pub fn writes(self) -> bool {
        matches!(self, Self::Put | Self::Rmw)
    }
}

/// One operation, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct Op<'a> {
    /// What to do.
    pub kind: OpKind,
    /// Comes back with the completion.
    pub tag: u64,
    /// The key.
    pub key: &'a [u8],
    /// The value to put; empty for the other kinds.
    pub value: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: OpKind,
    tag: u64,
    key_start: u32,
    value_start: u32,
    end: u32,
}

/// Operations with their bytes in one buffer, made once and filled again and again.
#[derive(Debug)]
pub struct OpBatch {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    used_bytes: u32,
}

impl OpBatch {
    /// Room for `ops` operations of at most `op_bytes` of key and value each.
    pub fn new(ops: usize, op_bytes: usize) -> Self {
        Self { entries: Vec::with_capacity(ops), bytes: vec![0; ops * op_bytes], used_bytes: 0 }
    }

    /// Forgets the operations and keeps the room.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.used_bytes = 0;
    }

    /// Adds an operation; the caller writes its key and value into what is returned.
    ///
    /// # Panics
    /// If the batch has no room left.
    #[inline]
    pub fn push(
        &mut self,
        kind: OpKind,
        tag: u64,
        key_bytes: u32,
        value_bytes: u32,
    ) -> (&mut [u8], &mut [u8]) {
        let key_start = self.used_bytes;
        let value_start = key_start + key_bytes;
        let end = value_start + value_bytes;
        self.used_bytes = end;
        self.entries.push(Entry { kind, tag, key_start, value_start, end });
        let room = &mut self.bytes[key_start as usize..end as usize];
        room.split_at_mut(key_bytes as usize)
    }

    /// The operations from the `start`-th on.
    pub fn ops_from(&self, start: usize) -> Ops<'_> {
        Ops { entries: &self.entries[start..], bytes: &self.bytes }
    }

    /// Operations pushed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Operations to submit, in order.
#[derive(Clone, Copy, Debug)]
pub struct Ops<'a> {
    entries: &'a [Entry],
    bytes: &'a [u8],
}

impl<'a> Ops<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The operations, first to last.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Op<'a>> + use<'a> {
        let bytes = self.bytes;
        self.entries.iter().map(move |entry| Op {
            kind: entry.kind,
            tag: entry.tag,
            key: &bytes[entry.key_start as usize..entry.value_start as usize],
            value: &bytes[entry.value_start as usize..entry.end as usize],
        })
    }
}

/// How an operation ended.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// A get found this.
    Value(&'a [u8]),
    /// A get found nothing.
    Absent,
    /// A scan found these.
    Entries(Entries<'a>),
    /// A put or a read-modify-write took effect.
    Done,
    /// The engine could not do it; ends the run.
    Failed(String),
}

/// What the engine runs on, for the report.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The way to the disk: `uring`, `portable`, ...
    pub io: String,
    /// Why this way.
    pub io_reason: String,
    /// The effective options of the engine, printed before the run.
    pub settings: Vec<(&'static str, String)>,
}

/// Requests to the local disk since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounts {
    /// Read requests.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
}

/// Requests to the distributed store since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DfsCounts {
    /// Reads.
    pub gets: u64,
    /// Bytes read.
    pub get_bytes: u64,
    /// Writes.
    pub puts: u64,
    /// Bytes written.
    pub put_bytes: u64,
    /// Deletes.
    pub deletes: u64,
    /// Lists.
    pub lists: u64,
    /// Requests repeated after a failure.
    pub retries: u64,
    /// Requests that stores bill as reads, those for gets among them.
    pub billed_reads: u64,
    /// Requests that stores bill as writes.
    pub billed_writes: u64,
}

/// The counter of turns of a controller that runs read-modify-writes as records.
pub(super) const CONTROLLER_TURNS: &str = "controller_turns";
/// The counter of records in flight at the end of a turn, summed over the turns.
pub(super) const RECORDS_IN_FLIGHT_SUM: &str = "records_in_flight_sum";

/// What the engine has counted since it was opened; the report takes differences.
#[derive(Clone, Debug, Default)]
pub struct TargetStats {
    /// Counters that only grow, by their names in the report.
    pub counters: Vec<(&'static str, u64)>,
    /// `None` if the engine does not know: the report then takes the kernel's figures.
    pub device: Option<DeviceCounts>,
    /// `None` for an engine without a distributed store.
    pub dfs: Option<DfsCounts>,
    /// The memory the engine holds itself to.
    pub budget_bytes: u64,
}

/// An engine under test. One thread calls it.
pub trait Target {
    /// What it runs on.
    fn about(&self) -> About;

    /// Takes operations from the front of `ops` and returns how many. Fewer than all is
    /// back-pressure: the rest comes again after a poll. Bytes are borrowed for the call only.
    fn submit(&mut self, ops: Ops<'_>) -> Result<usize>;

    /// Hands out completions and returns how many. While operations are in flight it blocks until
    /// at least one completes, though not longer than `wait`; `None` is as long as it takes. With
    /// nothing in flight it returns at once.
    fn poll(
        &mut self,
        wait: Option<Duration>,
        done: &mut dyn FnMut(u64, Outcome<'_>),
    ) -> Result<usize>;

    /// Finishes flushes and merges, and leaves the data so that `--reuse` finds it. Called with
    /// nothing in flight.
    fn drain_background(&mut self) -> Result<()>;

    /// What it has counted so far.
    fn stats(&self) -> TargetStats;

    /// What rises and falls, by its names in the report: the report takes the end of a phase.
    fn levels(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Its checkpoints, if it has any.
    fn checkpoints(&mut self) -> Option<&mut dyn Checkpoints> {
        None
    }
}

/// An engine that is checkpointed while operations are in flight, and comes back from that.
pub trait Checkpoints {
    /// Cuts a checkpoint of every operation submitted before, and returns how long that held the
    /// caller's thread. What the checkpoint has left to do goes on inside `poll`.
    fn start(&mut self) -> Result<Duration>;

    /// The end of the checkpoint started last, once a poll has brought it; the one before is given
    /// up then.
    fn finished(&mut self) -> Result<Option<Checkpointed>>;

    /// Drops the engine with everything it has in memory. Called with nothing in flight.
    fn close(&mut self);

    /// Opens the engine from its last checkpoint, as so many stores, each with its part of the
    /// keys. Every request to the distributed store takes `latency` longer from then on.
    fn open_last(&mut self, stores: u32, latency: Duration) -> Result<()>;

    /// Cuts a checkpoint of each store, gives up the ones they were opened from, and returns the
    /// bytes of state that lie in objects which those did not name.
    fn hand_over(&mut self) -> Result<u64>;

    /// Bytes of state on the distributed store, whether a checkpoint names them or not.
    fn stored_bytes(&self) -> Result<u64>;

    /// Reads the engine has sent to the distributed store since it was opened. Opening an object
    /// reads nothing.
    fn dfs_reads(&self) -> u64;
}

/// A checkpoint that is complete.
#[derive(Clone, Copy, Debug)]
pub struct Checkpointed {
    /// What was written to the distributed store for it: all flushes since the one before, and its
    /// manifest. Merges are not its own.
    pub bytes_moved: u64,
    /// Size of what the host keeps.
    pub handle_bytes: u64,
}
