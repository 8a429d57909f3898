//! Floor 1: bytes to numbers and back. No I/O, no allocation.

pub mod crc;
pub mod hash;
pub mod reader;
pub mod unverified;
pub mod varint;
