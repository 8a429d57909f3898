//! Floor 2: requests to disk and DFS as plain values, and the drivers that carry them out.

pub mod values;
