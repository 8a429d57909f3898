//! The simulated driver of a shard: virtual time, one thread, a seeded random source, a DFS in
//! memory and seeded faults. The same seed gives the same trace.

pub mod dfs;
pub mod driver;
pub mod faults;
mod jobs;
mod reads;
mod rest;
pub mod rng;
pub mod roots;
pub mod strike;
pub mod trace;
