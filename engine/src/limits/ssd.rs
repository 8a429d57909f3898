//! The cache on the local SSD.

/// The cache on the SSD is written in pieces of this, bytes: large enough that a disk writes as
/// fast as it can, and one page tells of all its pages.
pub const SSD_REGION_BYTES: usize = 1 << 20;

/// Least file of a cache on the SSD, bytes: while some regions are written others serve.
pub const SSD_BYTES_MIN: u64 = 16 << 20;

/// Most of it, bytes a shard: its pages are counted in 32 bits.
pub const SSD_BYTES_MAX: u64 = 4 << 40;

/// Share of a shard's memory that the index of its cache may take, as a divisor.
pub const SSD_MEMORY_DIVISOR: u64 = 4;

/// Regions on their way to the disk at once.
pub const SSD_WRITES_MAX: usize = 2;

/// Regions of memory that a job has to write its tables through to the cache: one is filled while
/// one is written.
pub const SSD_THROUGH_BUFS: usize = 2;

/// Jobs that write through at once.
pub const SSD_THROUGH_JOBS_MAX: usize = 2;

/// Share of the cache's regions that jobs fill at most, as a divisor: a merge that writes more
/// would wash out what is asked for.
pub const SSD_LENT_DIVISOR: u32 = 4;

/// A region with more extents than this that were asked for, percent of its pages, is not lent.
pub const SSD_LENT_HOT_PERCENT: u32 = 25;

/// So many regions are looked at for one to lend.
pub const SSD_LENT_LOOKS_MAX: u32 = 4;

/// So many regions are looked at for one to overwrite: some are in use, and some not to be had
/// while the disk is full.
pub const SSD_LOOKS_MAX: u32 = 64;

/// Share of a region that is kept when it is overwritten, at most, percent: there is always room
/// for something new.
pub const SSD_KEPT_PERCENT: u32 = 75;

/// Reads in flight while the pages in front of regions are loaded: most of the disk is for others.
pub const SSD_LOADS_MAX: u32 = 16;

/// So many failures in a row, or one of a write, and the cache is left alone for a while.
pub const SSD_FAILURES_MAX: u32 = 8;

/// That long, nanoseconds: a disk that is full or gone is not asked more often than this, and one
/// that works for as long is back.
pub const SSD_PAUSE_NS: u64 = 10_000_000_000;

/// The free space of its file system is looked at so often, nanoseconds.
pub const SSD_LOOK_NS: u64 = 10_000_000_000;

/// The same while it is short: others write while the cache gives back.
pub const SSD_LOOK_SHORT_NS: u64 = 200_000_000;

/// Regions that are given back at once, at most: shortening a file takes a file system some
/// microseconds for each.
pub const SSD_GIVEN_BACK_MAX: u64 = 64;

/// Places of hits that are remembered for the hot set of a checkpoint: sorting them takes a cut
/// about half a millisecond, and a manifest 64 KiB.
pub const HOT_PLACES_MAX: usize = 16_384;

/// Of so many hits the place of one is remembered: then the places last for a minute of 2000 hits a
/// second, and what is asked for most is among them anyway.
pub const HOT_SAMPLED_HITS: u32 = 8;

/// Bytes that one job brings into the cache of what a checkpoint calls hot, at most: the shard
/// looks for as many units, which takes it some hundred microseconds.
pub const WARM_JOB_BYTES_MAX: u64 = 2 << 20;

/// Reads of such a job in flight: most of the DFS is for those who wait for it.
pub const WARM_READS_MAX: usize = 8;

/// Bytes of such a read, at most.
pub const WARM_READ_BYTES_MAX: usize = 64 << 10;

/// What the file system of the cache keeps free for others, bytes, where the host does not say.
pub const SSD_SPARE_BYTES: u64 = 256 << 20;
