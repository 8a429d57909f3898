//! Floor 2: requests to disk and DFS as plain values, and the drivers that carry them out.

pub(crate) mod bulk;
pub mod clock;
pub mod dfs;
pub mod doorbell;
pub mod entropy;
pub mod faults;
mod objects;
pub(crate) mod page;
mod read_op;
pub(crate) mod retry;
pub(crate) mod ring_open;
pub(crate) mod sys;
pub mod uring;
pub mod url;
pub mod values;

pub use objects::OpenObject;

#[cfg(test)]
pub(crate) mod test_support;
