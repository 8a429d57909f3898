//! Floor 1: memory. Aligned read buffers, slabs, prefetch.

pub mod pool;
pub mod prefetch;
pub mod slab;
