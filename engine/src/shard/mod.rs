//! Floor 9: a shard as a state machine, and the drivers around it.

mod background;
mod cold;
mod control;
mod serve;
mod shard;
mod store;
pub mod values;

pub use shard::{Shard, ShardCounters};
