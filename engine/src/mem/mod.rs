//! Floor 1: memory. Aligned read buffers, slabs, prefetch, histograms.

pub mod histogram;
pub mod pool;
pub mod prefetch;
pub mod slab;
