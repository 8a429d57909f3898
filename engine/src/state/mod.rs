//! Floor 7: states and their operations, turned into key/value requests. Pure.

pub mod request;
