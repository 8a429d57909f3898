//! Of stores that are reached by HTTP, and of how their answers are trusted.

use super::PATIENCE_NS_DEFAULT;

/// A store that is reached by HTTP has this long to accept a connection, milliseconds.
pub const REMOTE_CONNECT_MS: u64 = 5_000;

/// And this long to go on with its answer, milliseconds: most answer within a tenth of it, and who
/// waits is told while that is still news.
pub const REMOTE_TIMEOUT_MS: u64 = 10_000;

/// A connection to a store that nobody uses is closed after this, milliseconds: servers close
/// theirs after a minute and more, and to meet one that is just closing costs a request.
pub const REMOTE_IDLE_MS: u64 = 30_000;

/// Longest pause that a store may ask for, milliseconds.
pub const REMOTE_PATIENCE_MS_MAX: u64 = 10_000;

/// A url by which a shard reads an object is valid so long, seconds: a day's work with one, and far
/// below the week that Amazon S3 allows. Temporary credentials may end before; then a new one is
/// made too.
pub const REMOTE_TARGET_S: u64 = 24 * 3600;

/// The same at Azure, seconds: the client signs for an hour, whatever it is asked for (opendal
/// 0.59, `azblob/core.rs`).
pub const REMOTE_TARGET_ABFS_S: u64 = 3600;

/// And is not used for the last of it, seconds: clocks differ, and requests take their time.
pub const REMOTE_TARGET_SPARE_S: u64 = 900;

/// The name of a server is looked up again after so long, seconds, as stores ask to.
pub const REMOTE_NAME_S: u64 = 60;

/// Servers of a root that are remembered: a store has one or two, and what a host signs may be at
/// any.
pub const REMOTE_SERVERS_MAX: usize = 256;

/// Parts of an object that a store gets one by one, bytes: the least that Amazon S3 takes.
pub const REMOTE_PART_BYTES: usize = 5 << 20;

/// Parts of an object that are on their way at once: two hide the latency of each other, and each
/// object that is being written holds so many and one.
pub const REMOTE_PARTS_MAX: usize = 2;

/// Tries of one part after the first, whose failure would fail its object.
pub const REMOTE_PART_TRIES_MAX: usize = 6;

/// The wait before the second try of a part, milliseconds; it doubles with each.
pub const REMOTE_PART_RETRY_MS: u64 = 100;

/// And at most, milliseconds: all of a part's waits take some five seconds. Its object is begun
/// anew then, for as long as patience lasts.
pub const REMOTE_PART_RETRY_MS_MAX: u64 = 1_600;

const _: () = assert!(
    REMOTE_PART_TRIES_MAX as u64 * REMOTE_PART_RETRY_MS_MAX * 1_000_000 < PATIENCE_NS_DEFAULT,
    "an object is begun anew while patience lasts"
);

/// A store's refusal is told in so many bytes at most: some answer with pages.
pub const REMOTE_ERROR_CHARS_MAX: usize = 400;

/// What an object that is named somewhere may be missing for, nanoseconds: stores were seen to
/// give a negative answer for up to half a minute after the put, and twice that is no accident.
pub const MISSING_NS_MAX: u64 = 60_000_000_000;

/// Answers of at most this many bytes tell how long a store takes to begin: on any network that is
/// worth a store they come at once.
pub const SPEED_SMALL_BYTES: u64 = 16 << 10;

/// Answers of at least this many bytes tell how fast a store goes on.
pub const SPEED_LARGE_BYTES: u64 = 64 << 10;

/// An answer moves what is known of a store a part of the way, as a divisor: ten and more answers
/// say that it became slow, and one does not.
pub const SPEED_SMOOTHING: u128 = 8;

/// What a store is taken to bring on one connection until it has shown it, bytes a second: S3 does
/// so within a region.
pub const SPEED_DEFAULT_BYTES_PER_S: u64 = 50_000_000;

/// What lies between two neighbours is read for nothing if that takes this part of what a store
/// takes to begin, as a divisor: the answer is little later, and a request is saved.
pub const GAP_LATENCY_DIVISOR: u128 = 8;

/// Bytes between two neighbours that are read for nothing of any store: a page more costs nobody
/// anything.
pub const GAP_BYTES_MIN: u64 = super::PAGE_BYTES as u64;

/// And at most, bytes, however slow a store is: to receive these costs a shard as much as another
/// request (0.4 us a KiB beside 14 us).
pub const GAP_BYTES_MAX: u64 = 32 << 10;

/// Largest read made of neighbours in an object of a store, bytes: it is held in memory whole, and
/// who waits for its first unit waits for its last.
pub const STORE_READ_BYTES_MAX: usize = 256 << 10;

/// What a shard has in flight of bytes that are read for nothing, at most: a twelfth of the
/// smallest budget.
pub const GAPS_IN_FLIGHT_BYTES_MAX: u64 = 4 << 20;

const _: () = assert!(
    GAPS_IN_FLIGHT_BYTES_MAX as usize * 12 <= super::MEMORY_MIN_BYTES
        && STORE_READ_BYTES_MAX >= super::MERGED_READ_BYTES_MAX
        && GAP_BYTES_MAX < STORE_READ_BYTES_MAX as u64,
);

/// Requests of an engine in flight at one server, over all its shards: as many as four shards send
/// at once. Each further shard makes the share of all smaller.
pub const ENDPOINT_IN_FLIGHT_MAX: usize = 4 * super::HTTP_CONNECTIONS_MAX;

/// Reads of an engine that the thread of stores has under way at one store: one core's worth, which
/// is what that thread has.
pub const REMOTE_READS_MAX: usize = super::READS_IN_FLIGHT_MAX;

/// Answers of a server from which it is learned when a request is late: of fewer, the slowest
/// hundredth is an accident.
pub const HEDGE_WINDOW: u32 = 200;

/// Requests of which one may be sent once more because it is late, as a divisor: five in a hundred.
pub const HEDGE_BUDGET_DIVISOR: u64 = 20;

/// What an operation earns that a store serves at its first try, in thousandths of a retry: where
/// much fails, one is tried again for five that are served, and where little does, all are.
pub const RETRY_EARNED_MILLI: i64 = 200;

/// What one earns that was served at a later try, in the same unit: what it took, and half as much,
/// so that those who wait for a store that is back come through within a second.
pub const RETRY_REGAINED_MILLI: i64 = 1_500;

/// Retries that may be saved up: a moment of trouble for as many reads as a session has in flight
/// is over at once.
pub const RETRY_TRIES_MAX: i64 = 256;

/// Where none is left, one is let through in so long, nanoseconds, to see if the store is back.
pub const RETRY_FLOOR_NS: u64 = 250_000_000;

/// Who was not let through looks again after so long, nanoseconds.
pub const RETRY_LOOK_NS: u64 = 50_000_000;
