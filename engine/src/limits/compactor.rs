//! Merges elsewhere: engines and compactors.

/// Largest frame between an engine and a compactor, bytes: an errand of 3,500 tables. A reader
/// holds one.
pub const FRAME_BYTES_MAX: usize = 256 << 10;

/// Least bytes of a secret: with fewer somebody who recorded a conversation could try them all.
pub const SECRET_BYTES_MIN: usize = 16;

/// Most bytes of a secret's file that are read.
pub const SECRET_BYTES_MAX: usize = 4096;

/// Compactors of an engine.
pub const COMPACTORS_MAX: usize = 64;

/// A compactor has this long to be connected to and greet, milliseconds: ten round trips around
/// the world. As long it waits for an errand, and for an errand none is asked any more after it.
pub const COMPACTOR_GREETING_MS: u64 = 3_000;

/// A compactor looks every so many milliseconds whether its merge has written more, and says so:
/// paced writes follow that, and save up no more than `PACE_CREDIT_BYTES_MAX` from one look to the
/// next.
pub const COMPACTOR_PROGRESS_MS: u64 = 5;

/// A compactor whose merge has written nothing says that it lives every so many milliseconds.
pub const COMPACTOR_LIFE_MS: u64 = 1_000;

/// A compactor that said nothing for so long, milliseconds, is given up: it was stopped, or nothing
/// reaches it any more. A machine that swaps pauses for less.
pub const COMPACTOR_SILENT_MS: u64 = 10_000;

const _: () = assert!(COMPACTOR_SILENT_MS >= 10 * COMPACTOR_LIFE_MS);

/// An errand may take so long whatever its size, nanoseconds: the retries of one operation on the
/// DFS take ten seconds.
pub const ERRAND_BASE_NS: u64 = 30_000_000_000;

/// And this much longer for each MiB that it reads, nanoseconds: a compactor that moves less than
/// 4 MiB/s holds up the store that asked it.
pub const ERRAND_MIB_NS: u64 = 250_000_000;

/// Merges of fewer bytes are not worth an errand: one takes some round trips and opens every table
/// once more, about what it costs to merge a MiB.
pub const ERRAND_BYTES_MIN: u64 = 1 << 20;

/// A compactor that failed is left alone for so long, milliseconds, or for as long as it held up
/// its merge; twice as long after each further failure.
pub const COMPACTOR_ALONE_MS: u64 = 1_000;

/// Doublings of that time at most: a minute at least, and one that always fails takes a sixtieth
/// of a store's time.
pub const COMPACTOR_ALONE_DOUBLINGS_MAX: u32 = 6;

/// Connections that a compactor serves at once beside those whose merges run: each is a thread and
/// a frame, and who has not proved to know the secret is gone after `COMPACTOR_GREETING_MS`.
pub const COMPACTOR_CONNECTIONS_MAX: usize = 64;

/// A compactor logs connections that it refuses at most once in so long, milliseconds: else whoever
/// finds its port fills its log.
pub const COMPACTOR_REFUSAL_MS: u64 = 1_000;

/// Memory for each merge of a compactor whose host names none, bytes: resident parts of tables of
/// some thousand MiB, and pieces of their rows.
pub const COMPACTOR_MEMORY_BYTES: usize = 256 << 20;

/// Merges of a compactor at once, at most.
pub const COMPACTOR_MERGES_MAX: usize = 1024;

/// Resident parts of the tables that a compactor hands back may have so many bytes each beyond
/// what follows from the rows: the last page, bounds of keys, headers.
pub const ERRAND_META_BYTES: u64 = 64 << 10;

/// What a compactor says of its failure is told in so many characters at most: a refusal of its
/// store, the names before it and the remedy behind it.
pub const ERRAND_ERROR_CHARS_MAX: usize = 1_000;
