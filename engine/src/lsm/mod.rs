//! Floor 5: the log-structured merge tree of a store.

pub mod away;
pub mod compact;
pub mod errand;
pub mod errand_job;
pub mod flush;
pub mod fold;
pub mod heap;
pub mod index;
pub mod job;
pub mod lookup;
pub mod manifest;
pub mod merge;
pub mod merged;
pub mod open;
pub mod output;
pub mod pick;
pub mod rows;
pub mod scan;
pub mod segment;
pub mod slices;
pub mod stream;
pub mod version;
pub mod warm;
