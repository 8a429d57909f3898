//! Reads by HTTP.

use crate::limits::READS_IN_FLIGHT_MAX;

/// Connections of one shard to HTTP servers: as many reads as it has in flight. A server at 10 ms
/// answers 50 k requests a second on as many.
pub const HTTP_CONNECTIONS_MAX: usize = 512;

const _: () = assert!(HTTP_CONNECTIONS_MAX >= READS_IN_FLIGHT_MAX, "one read on a connection");

/// Requests that a server gets at once however many it refuses: some that tell whether it serves
/// again.
pub const HTTP_IN_FLIGHT_MIN: usize = 4;

/// Longest path and query of a target, bytes: a presigned url with a session token has some 2 KiB,
/// and a request of this length fits the buffer of any socket.
pub const HTTP_TARGET_BYTES_MAX: usize = 8 << 10;

/// Longest head of a response, bytes: servers refuse heads beyond 8 or 16 KiB.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;

/// Headers of a response at most: object stores send some twenty.
pub const HTTP_HEADERS_MAX: usize = 64;

/// Room for the head of a response, bytes, beside the body in one receive: those of object stores
/// take 300 to 900.
pub const HTTP_HEAD_ROOM_BYTES: usize = 1 << 10;

/// Room for answers that a connection keeps, bytes: most reads are of one or a few pages, and 512
/// connections keep 16 MiB at most.
pub const HTTP_KEPT_BYTES_MAX: usize = 32 << 10;

/// Longest body of an answer that is no range which is received to keep the connection, bytes: a
/// new connection takes a round trip, two with TLS.
pub const HTTP_DISCARD_BYTES_MAX: u64 = 16 << 10;

/// A connection that is not there after so long is given up, nanoseconds: two lost packets at the
/// start take three seconds.
pub const HTTP_CONNECT_NS_MAX: u64 = 3_500_000_000;

/// A request that is not answered after so long is given up, nanoseconds: object stores answer all
/// but some in a million within two seconds.
pub const HTTP_RESPONSE_NS_MAX: u64 = 5_000_000_000;

/// A connection without a request is closed after so long, nanoseconds: the servers met close it
/// after 20 seconds or more.
pub const HTTP_IDLE_NS_MAX: u64 = 15_000_000_000;

/// Longest wait that a server may ask for, nanoseconds: a read is tried for tens of seconds.
pub const HTTP_RETRY_AFTER_NS_MAX: u64 = 30_000_000_000;

/// A record of TLS, bytes: 16 KiB with header, padding and tag.
pub const TLS_RECORD_BYTES_MAX: usize = (16 << 10) + 2048 + 5;

/// What TLS adds to an answer of a few pages, bytes: 22 to 40 a record, and two tickets behind the
/// handshake.
pub const TLS_OVERHEAD_BYTES: usize = 1 << 10;
