//! Floor 4: between lookups and the disk: one read, whoever waits.

pub mod coalescer;
