//! Floor 4: between lookups and the DFS: one read, whoever waits, and the local SSD.

pub mod coalescer;
mod speed;
pub mod ssd;
