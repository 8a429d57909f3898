//! Floor 9: a shard as a state machine, the drivers around it, and the engine's face.

mod background;
mod cold;
mod control;
pub mod driver;
pub mod engine;
pub mod executor;
mod job_run;
mod owned;
mod serve;
pub mod session;
mod shard;
mod store;
pub mod values;

pub use shard::{Shard, ShardCounters, ShardLimits};
