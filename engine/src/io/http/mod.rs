//! Block reads of objects that an HTTP server has: ranged GETs over connections that are kept
//! alive, on the ring of the shard.
//!
//! | file | what |
//! |---|---|
//! | `target.rs` | where an object is got: server, path, until when |
//! | `request.rs`, `response.rs` | the bytes of a GET and of its answer |
//! | `connection.rs`, `tls.rs`, `input.rs` | one connection, without its socket |
//! | `connections.rs`, `place.rs` | those of a shard: who gets which, what is tried again |
//! | `hedge.rs` | what takes long is sent once more |
//! | `ring.rs` | their operations in the kernel |
//! | `ended.rs` | what the end of a GET means for the read |
//!
//! What a plain GET does not answer plainly (`Unusual`) is handed back: another way of reading
//! serves that read.

mod connection;
pub(crate) mod connections;
mod ended;
mod hedge;
mod input;
mod place;
mod request;
pub mod response;
pub(crate) mod ring;
pub mod target;
pub mod tls;

pub use connections::HttpCounters;

#[cfg(test)]
pub(crate) mod test_server;
