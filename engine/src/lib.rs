//! Aquifer: the keyed state under a stream processor.
//!
//! The modules stand in floor order; a module uses its own floor and lower ones, never a higher
//! one (`tests/` checks it). `ARCHITECTURE.md` beside this crate tells the life of a request.

pub mod limits;
pub mod types;

pub mod codec;
pub mod mem;

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the floor of clocks, randomness and files"
)]
pub mod io;

pub mod sst;

pub mod cache;

pub mod lsm;

pub mod checkpoint;

pub mod state;

pub mod aec;

pub mod shard;
