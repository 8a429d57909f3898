//! Floor 9: the shard, its driver and its background executor.

pub mod executor;
mod job_run;
