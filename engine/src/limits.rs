//! Every size, count and timeout of the engine, with its unit, its reason and the relations that
//! must hold between them.

/// Longest key, namespace and map key together, bytes. Lengths are stored in 15 bits, and a
/// stored key must fit a unit beside its header.
pub const KEY_BYTES_MAX: usize = 2048;

/// Bytes a stored key adds at most to key, namespace and map key: group 2, locality 1, two
/// lengths of 2, state 1.
pub const KEY_OVERHEAD_BYTES: usize = 8;

/// Longest stored key, bytes.
pub const STORED_KEY_BYTES_MAX: usize = KEY_BYTES_MAX + KEY_OVERHEAD_BYTES;

/// Longest value, bytes: a larger one would hold the shard for milliseconds in one copy.
pub const VALUE_BYTES_MAX: usize = 16 << 20;

/// States of one store: the id is a byte and zero is reserved.
pub const STATES_MAX: usize = 255;

/// Longest name of a state, bytes: names stand in every manifest.
pub const STATE_NAME_BYTES_MAX: usize = 255;

/// Most bytes of keys and values in one batch: its spans are 32 bits wide.
pub const BATCH_BYTES_MAX: usize = u32::MAX as usize;

const _: () = assert!(
    STORED_KEY_BYTES_MAX + VALUE_BYTES_MAX <= BATCH_BYTES_MAX,
    "an empty batch must take any request"
);

/// Operations of one record that are submitted and not completed, at most: more wait in the
/// record, which bounds what one record holds. Flink has no bound and dies of a fan-out of
/// millions.
pub const RECORD_OPERATIONS_MAX: u32 = 64;

/// A turn of a controller polls no further record once its batch holds this many bytes: values
/// beyond some tens of MiB gain nothing from sharing a batch.
pub const TURN_BATCH_BYTES_MAX: usize = 32 << 20;

const _: () = assert!(
    TURN_BATCH_BYTES_MAX
        + RECORD_OPERATIONS_MAX as usize * (STORED_KEY_BYTES_MAX + VALUE_BYTES_MAX)
        <= BATCH_BYTES_MAX,
    "the last record of a turn must find room whatever it submits"
);

/// Records in flight a controller takes if its host names no number: Flink's default.
pub const RECORDS_IN_FLIGHT_DEFAULT: u32 = 6000;

/// Entries one scan of a map brings while it is read to its end: Flink's ForSt reads as many.
pub const SCAN_ENTRIES_DEFAULT: u32 = 128;

/// Largest parallelism a store can be cut into, as in Flink (key groups are 15 bits there).
pub const KEY_GROUPS_MAX: u32 = 1 << 15;

/// A page: the unit of direct I/O and of a raw SST unit, bytes. 4096 satisfies every block device
/// met so far (`statx` reports 512 on ext4 over virtio).
pub const PAGE_BYTES: usize = 4096;

/// A value longer than this gets an extent of its own, bytes: at most two such rows would fit a
/// unit, and a unit with one row is a read that brings one row anyway.
pub const INLINE_VALUE_BYTES_MAX: usize = 1024;

const _: () = assert!(
    STORED_KEY_BYTES_MAX + INLINE_VALUE_BYTES_MAX + 64 <= PAGE_BYTES,
    "one row with its header must fit a unit"
);

/// An extent carries a checksum for every piece of this many bytes, so that a reader can check
/// as it streams.
pub const EXTENT_CHECK_BYTES: usize = 64 << 10;

/// Rows of one filter at most. Building over 64 Ki hashes stays in the L2 cache and in a grant
/// of about 2 MiB; over 20 M it costs twice as much a key and 400 MB.
pub const FILTER_KEYS_MAX: usize = 64 << 10;

/// Units whose fences share one prefix. Sequential ids differ only in their last bytes: the
/// prefix of a short run of units leaves eight bytes that tell them apart.
pub const FENCE_GROUP_UNITS: usize = 64;

/// Largest read made of adjacent extents, bytes: beyond it a virtual disk gives no more per
/// request, and the buffer would be held for longer than the reads it saves.
pub const MERGED_READ_BYTES_MAX: usize = 64 << 10;

/// A segment of row memory, bytes: small enough that reclaiming one holds the shard for some tens
/// of microseconds, large enough that 32-bit positions reach 32 GiB a store.
pub const SEGMENT_BYTES: usize = 256 << 10;

/// A row larger than this gets a segment of its own size, bytes: at most an eighth of a segment
/// is lost at its end.
pub const SEGMENT_ROW_BYTES_MAX: usize = SEGMENT_BYTES / 8;

/// Oldest clean segments among which the one with the least live rows is reclaimed: rewritten
/// rows leave holes, and the fullest hole is the cheapest to take.
pub const RECLAIM_CHOICE: usize = 8;
