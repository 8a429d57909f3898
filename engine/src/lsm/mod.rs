//! Floor 5: the log-structured merge tree of a store.

pub mod job;
