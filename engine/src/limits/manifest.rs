//! Manifests: what a reader takes of somebody who may write to the DFS.

/// Largest manifest, bytes, and all that an opening reads at once: a reader allocates that much.
/// 10 TiB have 27 MB: 73 bytes for each of 200 Ki tables, and for each of 80 Ki tablets of 128 MiB
/// a low key of 100 bytes and 14 runs.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// Memory of what an opening reads from manifests and of the version it makes of that, bytes, as
/// the next five count it: bytes of a manifest become up to two hundred times as many. The 10 TiB
/// take 137 MB of it; with the manifest's bytes and a small engine it stays below 256 MiB.
pub const MANIFEST_MEMORY_BYTES_MAX: usize = 144 << 20;

/// Of that for a table, bytes: 96 in the manifest, as many for its tablets, and the rest for the
/// allocator, or for the names while it is seen that each stands once.
pub const MANIFEST_TABLE_MEMORY_BYTES: usize = 240;

/// Of that for a tablet, bytes: 40 in the manifest, 200 in the version and as many when it opens,
/// and what the allocator adds. Its low key comes three times beside: there, there and as the end
/// of the tablet before.
pub const MANIFEST_TABLET_MEMORY_BYTES: usize = 544;

/// Of that for a run, bytes: its number in the manifest, and its place in the version.
pub const MANIFEST_RUN_MEMORY_BYTES: usize = 16;

/// Of that for a table with hot pages, bytes: their lists in the manifest and in the store.
pub const MANIFEST_HOT_TABLE_MEMORY_BYTES: usize = 192;

/// Of that for a hot page, bytes: in both lists.
pub const MANIFEST_HOT_PAGE_MEMORY_BYTES: usize = 8;

/// Hot pages that a manifest names at most: far more than caches remember.
pub const MANIFEST_HOT_PAGES_MAX: usize = 1 << 20;
