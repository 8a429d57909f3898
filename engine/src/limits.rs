//! Every size, count and timeout of the engine, with its unit, its reason and the relations that
//! must hold between them.

mod compactor;
mod host;
mod http;
mod manifest;
mod remote;
mod ssd;

pub use compactor::*;
pub use host::*;
pub use http::*;
pub use manifest::*;
pub use remote::*;
pub use ssd::*;

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

/// Places for busy keys that a controller begins with; a power of two, and they double as records
/// come.
pub const BUSY_KEYS_MIN: usize = 64;

const _: () = assert!(BUSY_KEYS_MIN.is_power_of_two());

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

/// Hashes of one filter at most: building it, one step of a job, takes about half a millisecond
/// in the L2 cache, and until then the hashes wait in 512 KiB.
pub const FILTER_KEYS_MAX: usize = 64 << 10;

/// Bits of a filter for each hash in the runs above the last: one stranger in 1200 passes, so
/// that seven of them cost a lookup less than a hundredth of a read.
pub const FILTER_BITS_UPPER: usize = 16;

/// Bits of a filter for each hash in the last run, which holds most rows: one stranger in 220
/// passes.
pub const FILTER_BITS_LAST: usize = 12;

/// Most bits for each hash of a full filter that a reader takes.
pub const FILTER_BITS_MAX: usize = 32;

/// Units whose fences share one prefix. Sequential ids differ only in their last bytes: the
/// prefix of a short run of units leaves eight bytes that tell them apart.
pub const FENCE_GROUP_UNITS: usize = 64;

/// Longest part that the heads of a list leave out, bytes: with its place and length it fills a
/// line of the cache. Ids have a few constant bytes; keys with more in the middle are paths, which
/// keep full separators.
pub const FENCE_GAP_BYTES_MAX: usize = 62;

/// Full separators that a gap must save: each takes about 20 bytes, a gap 64.
pub const FENCE_GAP_SAVES_MIN: usize = 4;

/// Gaps that a list's own is compared with, the last ones: neighbours mostly have the same.
pub const FENCE_GAPS_COMPARED: usize = 8;

/// Heads of a list up to which all are fetched before it is searched; of a longer one the search
/// itself touches fewer lines.
pub const FENCE_HEADS_AHEAD_MAX: usize = 64;

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

/// Rows of it whose index entries are fetched ahead of the row in hand: as many misses as a core
/// has under way.
pub const RECLAIM_ROWS_AHEAD: usize = 16;

/// Segments that a store keeps mapped for its next leases: to map one again costs 64 page faults.
pub const SEGMENTS_SPARE_MAX: usize = 4;

/// Bytes of a row in memory that are fetched ahead of its probe: three lines, a key and a value of
/// 128 bytes.
pub const ROW_BYTES_AHEAD: usize = 192;

/// Runs of a tablet above which its newest are merged: each run costs a lookup one filter probe,
/// each merge of fewer runs rewrites more.
pub const RUNS_MAX: usize = 8;

/// A merge takes in an older run of at most this many times what it has gathered.
pub const RUN_RATIO: u64 = 4;

/// Size at which the output of a merge starts another table, bytes, and so the size of a tablet:
/// a merge of all its runs stays below about twice as much.
pub const TABLE_BYTES_TARGET: u64 = 128 << 20;

/// Chunks of a job's output that may be on their way to the DFS at once. One by one, the jobs of a
/// load waited longer for them than they computed; eight were no faster than four.
pub const JOB_APPENDS_MAX: usize = 4;

/// Rows a job moves between two yields: about 100 us of work.
pub const JOB_ROWS_PER_STEP: usize = 512;

/// Segments a flush sorts between two yields: about 100 us each.
pub const JOB_SORTS_PER_STEP: usize = 1;

/// A merge reads its inputs in pieces of at most this many bytes: the disk reaches its bandwidth.
pub const JOB_READ_BYTES_MAX: usize = 256 << 10;

/// And of at least this many: below, a piece costs more to ask for than to read.
pub const JOB_READ_BYTES_MIN: usize = 32 << 10;

/// Pieces of an input in memory at once: the one in use, the one ahead, one being read. Two more
/// ahead were no faster.
pub const JOB_PIECES: usize = 3;

/// Reads of one shard in flight at the device: beyond it a virtual disk gives no more, and the
/// completion queue has room for all.
pub const READS_IN_FLIGHT_MAX: usize = 512;

/// Tables whose resident part is read at once after a restore: enough to hide a DFS's latency.
pub const OPEN_READS_MAX: usize = 32;

/// Resident parts that the first job after a restore opens, bytes, and more only to have one tablet
/// whole: the first read waits some 10 ms for it on a disk.
pub const OPEN_BYTES_MIN: usize = 2 << 20;

/// Each further job opens twice as much, so many times: with 16 MiB a job, the 220 MiB of a state
/// of 10 GiB are there after as many round trips.
pub const OPEN_DOUBLINGS_MAX: u32 = 3;

/// Jobs of a store that open tables at once: one that waits for a DFS which hiccups does not hold
/// up the tables that can be opened.
pub const OPEN_JOBS_MAX: usize = 2;

/// After a restore nothing is opened for this long, nanoseconds, unless a request needs it: the
/// first reads shall not wait behind tables that nobody asked for.
pub const OPEN_UNASKED_NS: u64 = 50_000_000;

/// Bytes a table builder hands over at a time: large enough that an append costs little beside
/// the copy, small enough that a job buffers next to nothing.
pub const SST_CHUNK_BYTES: usize = 256 << 10;

const _: () = assert!(SST_CHUNK_BYTES.is_multiple_of(PAGE_BYTES), "chunks are whole pages");

/// Chunks that a table builder keeps to be filled again: as many as are written at once.
pub const SST_CHUNKS_SPARE_MAX: usize = JOB_APPENDS_MAX;

/// Compressed units start at multiples of this, bytes: 32 bytes are lost per unit on average, and
/// 32 bits address 256 GiB.
pub const SST_GRANULE_BYTES: usize = 64;

const _: () = assert!(PAGE_BYTES.is_multiple_of(SST_GRANULE_BYTES), "pages are whole granules");

/// Units of a table that are compressed as a trial before its codec is chosen.
pub const LZ4_TRIAL_UNITS: usize = 16;

/// Compression must save one part in this many of the trial's pages, since every cold read pays
/// 0.8 us to decode.
pub const LZ4_SAVING_DIVISOR: u64 = 4;

/// Largest resident part of a table, bytes: a reader allocates that much for it. A table cut at
/// 128 MiB has about 2 MiB, and 66 MiB if every separator is as long as a key may be.
pub const SST_META_BYTES_MAX: usize = 256 << 20;
/// Submission entries of a shard's ring. A tick that has more to say enters the kernel once more;
/// a larger ring would lock more of the 8 MiB that a user without privileges has in all.
pub const RING_SQ_ENTRIES: u32 = 256;

/// An inline shard that is parked on its ring wakes when one in this many of its reads in flight
/// has ended: at depth 256 sixteen reads share an entry into the kernel, and a lone read waits for
/// nothing. Where threads read, to wait for several of 64 kept the disk less busy: there
/// `READ_THREADS_MAX` takes the place of this.
pub const WAIT_SHARE: usize = 16;

/// Most reads that a parked shard waits for: beyond, an entry costs next to nothing per read.
pub const WAIT_READS_MAX: usize = 32;

/// Completion entries of a shard's ring.
pub const RING_CQ_ENTRIES: u32 = 2048;

/// Reads of one shard in the kernel at a time; more wait in the driver, in order. What is left of
/// the completion ring takes doorbells and cancellations, so it can never overflow.
pub const RING_READS_MAX: usize = 1472;

const _: () = assert!(
    RING_READS_MAX + HTTP_CONNECTIONS_MAX + 64 <= RING_CQ_ENTRIES as usize,
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

/// While the kernel refuses a ring for want of locked memory, creating it is tried again after
/// pauses that double, from this one on, milliseconds: the memory of rings that were closed just
/// before is returned asynchronously, within 300 ms.
pub const RING_OPEN_PAUSE_MS_MIN: u64 = 10;

/// The last of these pauses, milliseconds. Those of a shard's ring and of its executor's lie
/// together below the second in which opening must decide.
pub const RING_OPEN_PAUSE_MS_MAX: u64 = 160;

const _: () = assert!(
    2 * (2 * RING_OPEN_PAUSE_MS_MAX - RING_OPEN_PAUSE_MS_MIN) < 1000,
    "two waits that double, below a second"
);

/// Threads of a process that read for its portable drivers: a disk sees as many reads at once, and
/// needs some tens to be busy.
pub const READ_THREADS_MAX: usize = 64;

/// Longest latency that a DFS url may inject, nanoseconds: ten seconds are beyond any DFS that is
/// worth simulating, and a larger figure is a typing error.
pub const INJECTED_LATENCY_NS_MAX: u64 = 10_000_000_000;

/// Executors that a shard's jobs are spread over: its flush need not share a core with its merge.
pub const LANES: usize = 2;

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

/// Limit of locked memory below which no ring is tried, bytes: glommio refuses to start there.
pub const RINGS_MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// Submission entries of each of an executor's three rings: a few jobs with a few reads each.
pub const EXECUTOR_RING_DEPTH: usize = 64;

/// How far background work stands behind the shards when both want a core (nice).
pub const EXECUTOR_NICE: i32 = 10;

/// An executor that owes answers and showed no life for this long is woken, nanoseconds. Steps of
/// a job take a fraction of a millisecond, reads and syncs of a healthy disk less than a second.
pub const EXECUTOR_SILENT_NS_MAX: u64 = 1_000_000_000;

/// An executor gives memory that its jobs freed back to the system so long after a job ended,
/// nanoseconds. The allocator keeps it else: 26 MiB after a load under a budget of 110 MiB. Done
/// after every job it cost a tenth of the load's CPU.
pub const EXECUTOR_TIDY_NS: u64 = 1_000_000_000;

/// Smallest budget of a shard, bytes: below it what jobs need at once does not fit beside the rows
/// of two generations. The main job took 39.6 MiB under 32 MiB and 45 to 49 under 48 MiB.
pub const MEMORY_MIN_BYTES: usize = 48 << 20;

/// Memory of an engine whose host names none, bytes: what a TaskManager of Flink's default gives a
/// slot, about.
pub const MEMORY_DEFAULT_BYTES: usize = 256 << 20;

/// Memory of a shard that does not grow with its load, bytes: ring, queues, code, two background
/// executors and what their allocator keeps. Charged 12 MiB for it, the main job took 67.4 MiB
/// under a budget of 64, charged 16 MiB 63.1.
pub const MEMORY_FIXED_BYTES: usize = 16 << 20;

/// Rows get at least this, bytes, whatever else is charged: an active and a frozen generation.
pub const ROWS_MIN_BYTES: usize = 8 << 20;

/// Dirty rows are flushed when they take this part of the budget: half of them may be frozen while
/// the other half fills, and two thirds stay for clean rows and the rest.
pub const FLUSH_DIVISOR: usize = 6;

/// A flush shows no progress while it sorts, nor while its table is sealed: for each of the two,
/// writes have this part of their room, whatever it has written. 50 MiB are sorted in some 50 ms
/// and synced in up to 150 ms on the disks met.
pub const FLUSH_SILENT_DIVISOR: usize = 4;

const _: () = assert!(FLUSH_SILENT_DIVISOR > 2, "some of the room must follow the progress");

/// Jobs may hold this part of the budget for their buffers.
pub const JOB_DIVISOR: usize = 6;

const _: () = assert!(MEMORY_FIXED_BYTES + ROWS_MIN_BYTES < MEMORY_MIN_BYTES);

/// Requests probed in stages together: enough that their cache misses overlap, few enough that
/// what was prefetched is still there when it is used.
pub const SERVE_CHUNK: usize = 16;

/// Runs of a tablet above `RUNS_MAX` from which writes are paced by the progress of merges: the
/// further above, the slower, so that writes never stop at once.
pub const RUNS_PACE: usize = 6;

/// Most bytes of writes that progress in the background can save up.
pub const PACE_CREDIT_BYTES_MAX: u64 = 256 << 10;

/// A scan ends its batch at this many bytes, whatever its limit of rows: what a completion copies.
pub const SCAN_BYTES_MAX: usize = 1 << 20;

/// Rows one scan returns at most: what it copies and holds while it is suspended.
pub const SCAN_LIMIT_MAX: u32 = 4096;

/// Buffers of a job beside its inputs, bytes: chunks of output, the filter and index being built.
/// At 4 MiB a load of 20 M records took 313 MiB under a budget of 275 MiB, at 6 MiB 306.
pub const JOB_BASE_BYTES: usize = 6 << 20;

/// Merges of one shard at once, beside a flush: more would only hold up the flush, which writes
/// wait for.
pub const MERGES_MAX: usize = 1;

/// How long a shard with paced writes sleeps at most before it looks at the progress of its jobs,
/// nanoseconds.
pub const PACE_LOOK_NS: u64 = 500_000;

/// Stores of one shard.
pub const STORES_MAX: usize = 1024;

/// Stores that take the same place one after the other before a number comes back: what fills 16
/// bits. A request for a closed store, which is in flight for milliseconds, does not meet the
/// store that took its place.
pub const STORE_GENERATIONS: u16 = 64;

const _: () = assert!(STORES_MAX * STORE_GENERATIONS as usize == 1 << 16);

/// Threads on which an executor makes its blocking calls (renames, syncs of folders, small puts
/// and loads): with two, a slow sync does not hold up a load.
pub const EXECUTOR_BLOCKING_THREADS: usize = 2;

/// The same where these threads read and write too, for want of io_uring: a merge's reads, a
/// flush's writes and the rest, each at once.
pub const EXECUTOR_READ_THREADS: usize = 8;

/// Requests of one session in flight at most: what its completions may hold at once. A partial
/// acceptance is the back-pressure a host sees.
pub const SESSION_IN_FLIGHT_MAX: usize = 16 << 10;

/// Bytes of values in completions that a session has not taken, from which on the shard does not
/// serve it further: one value more may come, and a host sees at most so much at a poll.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

const _: () = assert!(ANSWER_BYTES_MAX + VALUE_BYTES_MAX <= BATCH_BYTES_MAX / 4, "spans fit");

/// A session on another thread than its shard tells it of answers it took when they have this many
/// bytes: for small ones a message in a thousand.
pub const ANSWERS_TOLD_BYTES: usize = 1 << 20;

const _: () = assert!(ANSWERS_TOLD_BYTES < ANSWER_BYTES_MAX, "else a shard waits for ever");

/// Bytes of answers that may gather in a session while a call of it waits for something else: a
/// quarter of what spans can name.
pub const UNPOLLED_BYTES_MAX: usize = BATCH_BYTES_MAX / 4;

/// Memory for values that an empty list of requests or completions keeps to be filled again, bytes:
/// batches of usual values need no more, and what a few large ones took goes back.
pub const KEPT_BYTES_MAX: usize = 4 << 20;

/// Slots of the rings between a session and an owned shard: batches, not requests.
pub const SESSION_RING_SLOTS: usize = 256;

/// How long an owned shard, and a session that waits for one, spins before it sleeps,
/// nanoseconds: a wake costs both sides 7 us, so it pays to wait for a few of them.
pub const SHARD_SPIN_NS: u64 = 30_000;

/// A closing engine looks every so many milliseconds whether its threads have ended.
pub const CLOSE_LOOK_MS: u64 = 1;

/// Largest single write of a background job, bytes: each object being written keeps one aligned
/// buffer of this size at most, and a larger write was no cheaper.
pub const WRITE_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(WRITE_BYTES_MAX.is_multiple_of(PAGE_BYTES), "direct writes are whole pages");

/// After a job failed, its store's jobs wait this long, nanoseconds; twice as long after each
/// further failure.
pub const JOB_RETRY_NS: u64 = 10_000_000;

/// Doublings of that wait at most: five seconds.
pub const JOB_RETRY_DOUBLINGS_MAX: u32 = 9;

/// For how long a read, a load or an upload that fails for the moment is tried again unless the
/// host says otherwise, nanoseconds; and for how long writes and checkpoints wait for jobs that
/// fail. A DFS fails over to another server in that time, and a host that learned of the fault
/// sooner would restart for a hiccup.
pub const PATIENCE_NS_DEFAULT: u64 = 10_000_000_000;

/// And at least, nanoseconds: a server that is restarted answers nothing for a second.
pub const PATIENCE_NS_MIN: u64 = 1_000_000_000;

/// And at most, nanoseconds: a day, in which somebody looks.
pub const PATIENCE_NS_MAX: u64 = 86_400_000_000_000;

/// Longest latency that is told apart from longer ones, nanoseconds: two minutes, ten times what an
/// operation is tried for. One less than a power of two ends a bucket.
pub const LATENCY_NS_MAX: u64 = (1 << 37) - 1;

/// Ticks with requests of which one is timed, for the latency of what memory answers: a reading of
/// the clock costs as much as a tenth of a get. A prime, so that a host's own rhythm does not fall
/// in step with it.
pub const TIMED_TICKS: u32 = 13;

/// A shard that turns publishes its statistics so long after it last did, nanoseconds, or when they
/// are asked for: a copy of some 20 KiB and 100 bytes a state.
pub const STATISTICS_NS: u64 = 1_000_000_000;

/// The page of statistics is replaced every so many milliseconds: a person who watches it sees it
/// move, and a replacement takes a fraction of one.
pub const STATISTICS_PAGE_MS: u64 = 500;

/// A page of statistics that was not replaced for so long, milliseconds, is nobody's, even if its
/// process runs: that is another of the same number, or one that hangs. Ten times the period.
pub const PAGE_STALE_MS: u64 = 5000;

const _: () = assert!(PAGE_STALE_MS >= 10 * STATISTICS_PAGE_MS);

/// First bytes of a page, which tell that it is one: schema and process.
pub const PAGE_HEAD_BYTES: u64 = 256;

/// Asking for statistics waits for shards on threads of their own at most this long, milliseconds:
/// a tick takes less than one.
pub const STATISTICS_WAIT_MS: u64 = 100;

/// Meanwhile it looks every so many microseconds whether they have answered: some ticks.
pub const STATISTICS_LOOK_US: u64 = 50;

/// Checkpoints that a store without a coordinator keeps at most: an opening reads the manifests of
/// all of them.
pub const CHECKPOINTS_KEPT_MAX: usize = 16;

/// Of so many roots of a store one is never deleted, and each lives until two times as many follow.
/// Such a store gathers one object of a few hundred bytes with so many checkpoints; and an opening
/// finds the newest root in fewer looks the smaller it is.
pub const ROOT_SPACING: u64 = 64;

/// Roots have numbers up to this: a checkpoint each microsecond for two thousand years. A search
/// doubles its steps and may not overflow.
pub const ROOT_NUMBER_MAX: u64 = 1 << 56;

const _: () = assert!(ROOT_NUMBER_MAX.checked_mul(2 * ROOT_SPACING).is_some());

/// Times that a root is put, or looked at in vain, before its outcome is given up: each put was
/// tried for ten seconds by itself.
pub const ROOT_TRIES_MAX: u32 = 3;

/// Times that an opening finds the number behind the newest root taken before it gives up: another
/// opening commits in the same moments, or the store goes on showing what is old.
pub const ROOT_ROUNDS_MAX: u32 = 16;

/// Races for a name that a trial of a DFS holds, and writers in each: a store that lets several win
/// did so in 22 of 48 races on a busy machine, in the worst eight of them in one. With a store that
/// does not, a trial takes a second or a few.
pub const TRIAL_ROUNDS: usize = 32;

/// See `TRIAL_ROUNDS`.
pub const TRIAL_WRITERS: usize = 16;

/// Bytes that each of them writes: with a hundred, writers on a busy machine came one after the
/// other, and a store that lets several win was not found out. In all it is 32 MiB.
pub const TRIAL_BYTES: usize = 64 << 10;

/// The number of a store below which trials of a DFS write: none of a host has it, so what a killed
/// process leaves there is nobody's.
pub const TRIAL_STORE: u64 = u64::MAX;

/// Times that a folder is made whose parent goes away meanwhile: trials remove theirs when it is
/// empty, and take a second.
pub const FOLDER_TRIES_MAX: u32 = 8;

/// New names that such a trial reads back.
pub const TRIAL_NAMES: usize = 8;
