//! Floor 5: the log-structured merge tree of a store.

pub mod index;
pub mod job;
pub mod merge;
pub mod rows;
pub mod segment;
