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

/// Submission entries of a shard's ring. A tick that has more to say enters the kernel once more;
/// a larger ring would lock more of the 8 MiB that a user without privileges has in all.
pub const RING_SQ_ENTRIES: u32 = 256;

/// Completion entries of a shard's ring.
pub const RING_CQ_ENTRIES: u32 = 2048;

/// Reads of one shard in the kernel at a time; more wait in the driver, in order. What is left of
/// the completion ring takes doorbells and cancellations, so it can never overflow.
pub const RING_READS_MAX: usize = 1984;

const _: () = assert!(
    RING_READS_MAX + 64 <= RING_CQ_ENTRIES as usize,
    "every operation in flight must find a completion entry"
);

/// Objects in the ring's table of registered files; later ones are read through their descriptor,
/// which costs the kernel about 0.1 us a read. A slot is 8 bytes of kernel memory.
pub const RING_FILES_MAX: u32 = 8192;

/// Objects a shard can have open: their index has 20 bits of an `ObjectSlot`, the other 12 count
/// how often the index was used, so that a stale number finds nothing.
pub const OBJECTS_OPEN_MAX: usize = 1 << 20;

/// How often the kernel may ask for a read to be repeated (EAGAIN, EINTR, a short read) before it
/// counts as failed. Each repetition is a tick apart; a device that answers so for thousands of
/// ticks will not stop.
pub const READ_TRIES_MAX: u32 = 10_000;

/// How long dropping a ring waits for the reads it could not cancel, milliseconds. A disk answers
/// within this time; what it still owes after it keeps its buffer for ever.
pub const RING_DRAIN_MS_MAX: u64 = 2_000;

/// Attempts to create a ring while the kernel still returns the locked memory of rings that were
/// closed just before (it does so asynchronously, within 300 ms), and the pause between them in
/// milliseconds. Together below the second in which opening must fail.
pub const RING_OPEN_TRIES_MAX: u32 = 8;
/// See [`RING_OPEN_TRIES_MAX`].
pub const RING_OPEN_PAUSE_MS: u64 = 60;

/// Longest latency that a DFS url may inject, nanoseconds: ten seconds are beyond any DFS that is
/// worth simulating, and a larger figure is a typing error.
pub const INJECTED_LATENCY_NS_MAX: u64 = 10_000_000_000;

/// Jobs that one background executor steps at a time: while one waits for its reads another has
/// the core; a third would only take memory.
pub const JOBS_PER_CORE_MAX: usize = 2;

/// Orders of one shard that its executor holds at a time, without answer. A shard has a few jobs
/// and a few uploads; a full link is refused and tried again.
pub const LINK_ORDERS_MAX: usize = 256;

/// Time after which a background executor looks whether the running tasks must yield,
/// milliseconds: glommio's own default. Below 10 ms it parks with runnable tasks and hangs (9 of 9
/// runs), and the longer the timer the rarer that race.
pub const EXECUTOR_PREEMPT_MS: u64 = 100;

const _: () = assert!(EXECUTOR_PREEMPT_MS >= 10, "a short preempt timer hangs the executor");

/// Stepping after which a job lets the executor look at its I/O, nanoseconds: glommio does so only
/// when no task can run, so without the pause the reads of one job would starve behind the
/// computation of another until the preempt timer.
pub const JOB_SLICE_NS: u64 = 1_000_000;

/// Locked memory that an executor registers for its I/O, bytes: the smallest glommio takes. Larger
/// transfers use ordinary memory, which costs them nothing that is measurable.
pub const EXECUTOR_IO_MEMORY_BYTES: usize = 64 << 10;

/// Limit of locked memory below which glommio refuses to start, bytes.
pub const EXECUTOR_MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// Submission entries of each of an executor's three rings: a few jobs with a few reads each.
pub const EXECUTOR_RING_DEPTH: usize = 64;

/// How far background work stands behind the shards when both want a core (nice).
pub const EXECUTOR_NICE: i32 = 10;

/// An executor that owes answers and showed no life for this long is woken, nanoseconds. Steps of
/// a job take a fraction of a millisecond, reads and syncs of a healthy disk less than a second.
pub const EXECUTOR_SILENT_NS_MAX: u64 = 1_000_000_000;

/// Threads on which an executor makes its blocking calls (renames, syncs of folders, small puts
/// and loads): with two, a slow sync does not hold up a load.
pub const EXECUTOR_BLOCKING_THREADS: usize = 2;

/// Largest single write of a background job, bytes: each object being written keeps one aligned
/// buffer of this size at most, and a larger write was no cheaper.
pub const WRITE_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(WRITE_BYTES_MAX.is_multiple_of(PAGE_BYTES), "direct writes are whole pages");
