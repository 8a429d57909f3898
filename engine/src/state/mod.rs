//! Floor 7: states and their operations, turned into key/value requests. Pure.
//!
//! A [`StateTable`] knows the states of a store by name and kind. A lookup gives a handle
//! ([`ValueState`], [`ListState`], [`MapState`], [`ReducingState`]): two small numbers to copy
//! around. Its `request_*` methods append one request to a [`request::Batch`], and `decode`
//! reads what comes back.

pub mod decode;
pub mod handle;
pub mod request;
pub mod table;

pub use decode::{Entries, Items};
pub use handle::{Key, ListState, MapState, ReducingState, Target, ValueState};
pub use table::{StateDescriptor, StateKind, StateTable};

#[cfg(test)]
mod tests_requests;
#[cfg(test)]
mod tests_table;
