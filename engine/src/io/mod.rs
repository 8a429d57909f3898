//! Floor 2: requests to disk and DFS as plain values, and the drivers that carry them out.

mod bell;
mod budget;
pub(crate) mod bulk;
pub mod clock;
pub mod dfs;
mod direct;
pub mod doorbell;
pub mod entropy;
pub mod faults;
mod folder;
pub(crate) mod handoff;
pub mod host;
pub mod http;
mod memory;
mod objects;
pub(crate) mod page;
pub mod portable;
mod queue;
pub mod read_driver;
mod read_op;
pub mod reads;
pub mod remote;
pub mod requests;
pub mod retry;
pub mod ring_open;
pub mod sealed;
pub mod ssd_file;
pub mod stored;
mod sync;
pub(crate) mod sys;
mod tail;
pub(crate) mod task;
mod threads;
pub mod trials;
pub mod uring;
pub mod url;
pub(crate) mod vacancy;
pub mod values;
pub mod wire;

pub use objects::OpenObject;
pub use sys::give_back_free_memory;

#[cfg(test)]
pub(crate) mod test_support;
