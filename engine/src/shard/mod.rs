//! Floor 9: a shard as a state machine, the drivers around it, and the engine's face.
//!
//! The drivers alone read the clock, draw names and start threads; the shard is a function of what
//! they pass in.

mod answers;
mod background;
mod cold;
#[expect(clippy::disallowed_methods, reason = "a compactor has a thread for each connection")]
pub mod compactor;
#[expect(clippy::disallowed_methods, reason = "errands have threads and deadlines")]
pub mod compactors;
mod control;
#[expect(clippy::disallowed_methods, reason = "a driver reads the clock")]
pub mod driver;
#[expect(clippy::disallowed_methods, reason = "an opening draws its nonce and seed")]
pub mod engine;
#[expect(clippy::disallowed_methods, reason = "an executor is a thread with a heartbeat")]
pub mod executor;
#[expect(clippy::disallowed_methods, reason = "a job is timed by its slice")]
pub mod job_run;
mod opening;
#[expect(clippy::disallowed_methods, reason = "an owned shard is a thread that spins and parks")]
mod owned;
#[expect(clippy::disallowed_methods, reason = "the page is kept by a thread")]
mod page;
mod restore;
mod roots;
mod serve;
#[expect(clippy::disallowed_methods, reason = "a waiting session has a deadline")]
pub mod session;
#[expect(clippy::module_inception, reason = "the file of the machine itself")]
mod shard;
#[expect(clippy::disallowed_methods, reason = "who asks shards waits a while")]
pub mod source;
mod stalled;
pub mod statistics;
mod store;
mod survey;
pub mod values;
mod warm;

pub use shard::{Shard, ShardLimits};
pub use statistics::ShardCounters;
