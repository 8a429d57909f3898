//! Floor 6: checkpoints: handles, and which objects they keep alive.

pub mod handle;
pub mod ownership;
