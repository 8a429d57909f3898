//! What crosses the boundary of a shard: values in, values out.

use crate::cache::ssd::Through;
use crate::checkpoint::handle::Handle;
use crate::io::values::{IoDone, IoRequest, ObjectSlot};
use crate::lsm::job::{Job, Outcome, Unfinished};
use crate::mem::slab::Token;
use crate::sst::meta::TableRef;
use crate::state::request::{Batch, Completions, StoreId};
use crate::state::{StateKind, StateTable};
use crate::types::{Nanos, ObjectName, Result, StateId};

/// A job for the background executor of the core.
#[derive(Debug)]
pub struct JobOrder {
    /// Names the job in its report.
    pub token: Token,
    /// The work.
    pub job: Box<Job>,
}

/// The end of a job.
#[derive(Debug)]
pub struct JobReport {
    /// Of the order.
    pub token: Token,
    /// What it wrote through to the cache.
    pub through: Option<Through>,
    /// Its outcome and the bytes it wrote, or why there is none.
    pub result: std::result::Result<(Outcome, u64), Unfinished>,
    /// The objects it sealed or opened, under the numbers the driver gave them.
    pub opened: Vec<(ObjectName, ObjectSlot)>,
}

/// What reaches a shard at a tick.
#[derive(Debug, Default)]
pub struct Inbox {
    /// The time on the driver's clock.
    pub now: Nanos,
    /// How long the tick before took, if the driver measured that.
    pub tick_ns: Option<Nanos>,
    /// Answers of the driver.
    pub io: Vec<IoDone>,
    /// Ends of jobs.
    pub jobs: Vec<JobReport>,
    /// Bytes that the executor of this shard's jobs has written in all: how far they are.
    pub job_bytes: u64,
    /// Control requests of sessions.
    pub controls: Vec<Control>,
    /// Batches of sessions, with the number of the session. The driver empties them.
    pub batches: Vec<(u16, Box<Batch>)>,
    /// Bytes of completions that the driver holds for each session, which has not taken them.
    pub untaken: Vec<usize>,
}

/// What leaves a shard at a tick. The driver empties it.
#[derive(Debug, Default)]
pub struct Outbox {
    /// For the ring and the DFS.
    pub io: Vec<IoRequest>,
    /// For the background executor.
    pub jobs: Vec<JobOrder>,
    /// By session.
    pub completions: Vec<Completions>,
    /// Ends of control requests.
    pub controls: Vec<ControlDone>,
}

/// A request about a store as a whole.
#[derive(Debug)]
pub struct Control {
    /// The session that asked.
    pub session: u16,
    /// The caller's; comes back.
    pub user_data: u64,
    /// How many of the inbox's batches were submitted before it.
    pub after: usize,
    /// What to do.
    pub op: ControlOp,
}

/// What a control request does.
#[derive(Debug)]
pub enum ControlOp {
    /// Open a store, empty, from handles or from the newest root. Answers with `Opened`.
    Open(Box<OpenStore>),
    /// Add a state to a store, or find it. Answers with `Declared`.
    Declare(StoreId, String, StateKind),
    /// List the objects that a checkpoint needs. Answers with `Objects`.
    List(Vec<u8>),
    /// Cut a checkpoint of what was submitted before. Answers with `Handle`; of a store that keeps
    /// its checkpoints, once its root is committed.
    Checkpoint(StoreId),
    /// The host gave a checkpoint up, for a newer one or because it was aborted: delete what only
    /// it kept, of what this opening of the store wrote. Objects that other stores took over with
    /// the checkpoint are the host's to count: it gives up no checkpoint with an object that others
    /// it keeps, or open stores, still need.
    Release(StoreId, Vec<u8>),
    /// The host hands over checkpoints that others wrote, such as earlier openings of the store:
    /// what only they keep is deleted as the host releases them. They are all that it holds of
    /// their objects, nobody else is open from them, and their key groups are all the store's.
    Claim(StoreId, Vec<Vec<u8>>),
    /// Flush everything and merge until nothing is left to do.
    Drain(StoreId),
    /// Close a store. Rows since the last checkpoint are forgotten.
    Close(StoreId),
}

/// A store to open.
#[derive(Debug)]
pub struct OpenStore {
    /// The host's number of the store, the same in all its incarnations.
    pub number: u64,
    /// Drawn by the driver for this opening.
    pub incarnation: crate::types::Incarnation,
    /// Seed of the names' random part, drawn by the driver.
    pub seed: u64,
    /// Maximal parallelism.
    pub key_groups: u32,
    /// First and last key group.
    pub range: (u16, u16),
    /// Its states.
    pub states: StateTable,
    /// The checkpoints to start from, of any stores: none begins empty.
    pub handles: Vec<Vec<u8>>,
    /// Newest checkpoints that the store keeps by roots of its own on the DFS, and starts from the
    /// newest of; zero: the host keeps handles.
    pub keep: usize,
}

/// The end of a control request.
#[derive(Debug)]
pub struct ControlDone {
    /// The session that asked.
    pub session: u16,
    /// Of the request.
    pub user_data: u64,
    /// How it ended.
    pub result: Result<ControlResult>,
}

/// What a control request brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlResult {
    /// A store is open, and serves; its states are those of the checkpoint and the new ones.
    Opened(StoreId, StateTable),
    /// A state is there; all states of the store.
    Declared(StateId, StateTable),
    /// The manifest and the tables of a checkpoint.
    Objects(Vec<StoredObject>),
    /// A checkpoint is complete; keeping these bytes is the commit, unless the store keeps them.
    Handle(Vec<u8>),
    /// Done.
    Done,
}

/// An object that a checkpoint needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its path below the DFS root is `Display`.
    pub name: ObjectName,
    /// Its length, bytes.
    pub bytes: u64,
}

impl StoredObject {
    pub(super) fn of_manifest(handle: &Handle) -> Self {
        Self { name: handle.manifest, bytes: handle.manifest_bytes }
    }

    pub(super) fn of_table(table: &TableRef) -> Self {
        Self { name: table.name, bytes: table.file_bytes }
    }
}

/// What the driver should do until the next tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Park {
    /// Tick again soon: there is work left.
    Busy,
    /// Wait for an answer, a report or a request, but not past this time: writes follow the
    /// progress of jobs, or a failed job is due again.
    Until(Nanos),
    /// Wait for an answer, a report or a request.
    Idle,
}
