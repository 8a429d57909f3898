//! Floor 3: sorted tables of rows. One builder, one resident description of a table, and the
//! checks that turn bytes of an object into rows. No I/O: a probe answers with the extent to
//! read, the reader brings the bytes back to `Unit::check` or `extent::check`.
//!
//! Bytes are described in FORMAT.md, "Sorted table".

pub mod clears;
pub mod extent;
pub mod fences;
mod fences_builder;
mod fences_codec;
mod fences_gap;
pub mod filter;
pub mod layout;
pub mod meta;
mod pages;
pub mod table;
pub mod table_builder;
pub mod unit;

pub use extent::ValueExtent;
pub use layout::Extent;
pub use meta::TableRef;
pub use table::{Properties, Table};
pub use table_builder::{Finished, TableBuilder};
pub use unit::{Entry, EntryValue, Unit};

#[cfg(test)]
pub(crate) mod testing;
