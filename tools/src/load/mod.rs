//! The load generator: `aquifer bench`, and the ruler that compares engines.
//!
//! An engine is a [`Target`]. [`run`] opens it, loads the records of a [`Dataset`], keeps requests
//! in flight for each workload and reports: latencies by histogram, CPU of the whole process,
//! bytes by the kernel, counters by the engine. The harness costs tens of nanoseconds a request:
//! one clock per batch and per poll, no allocation, keys and values computed and never stored.
//!
//! Reading order: `session` (a run), `runner` (the loop), `target` (the interface), `dataset`
//! (keys and values).

pub mod aquifer;
mod checkpoint;
mod data_dir;
mod dataset;
mod dist;
mod environment;
mod flight;
pub mod html;
mod live;
mod measure;
mod options;
mod pace;
mod probe;
mod profile;
mod report;
mod restore;
mod rng;
mod runner;
mod scatter;
mod session;
mod source;
mod target;
mod window;
mod workload;
mod zipf;

pub use crate::io::Io;
pub use crate::units::{Memory, Share};
pub use dataset::{Dataset, WrongValue};
pub use dist::{Dist, Popularity};
pub use environment::{Environment, check_memory, filesystem};
pub use options::{Driver, LoadArgs};
pub(crate) use probe::resident_bytes;
pub use report::{
    CheckpointReport, DevicePerOp, DfsReport, LatencyUs, PhaseReport, RescaleReport, RestoreReport,
    RunReport, SCHEMA, Sample, Spread, table_head,
};
pub use session::{Setup, run, run_on};
pub use target::{
    About, Checkpointed, Checkpoints, DeviceCounts, DfsCounts, Op, OpBatch, OpKind, Ops, Outcome,
    Target, TargetStats,
};
pub use workload::Workload;
