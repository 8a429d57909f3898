//! Rivals of the engine and the comparison with them, kept apart so that the product never builds
//! them.

pub mod bare;
#[cfg(feature = "cobble")]
pub mod cobble;
pub mod compare;
pub mod disk;
pub mod engines;
pub mod httpd;
pub mod null;
pub mod ratios;
#[cfg(feature = "rocksdb")]
pub mod rocks;
pub mod samples;
