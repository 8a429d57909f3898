//! Of file systems that a host lends, and of credentials that it gives.

/// Calls of one root that are inside a host's file system at once: as many as threads that read
/// files, for such calls block as those do.
pub const HOST_CALLS_MAX: usize = super::READ_THREADS_MAX;

/// Longest name of what a host lends, bytes: names stand in urls and errors.
pub const HOST_NAME_BYTES_MAX: usize = 64;

/// Objects that one list of a host may name: a hundred TiB of tables, and less than a GiB of names.
pub const HOST_LISTED_MAX: usize = 1 << 20;

/// Longest url that a host signs for an object, bytes: a target, with room for the name of a
/// server, which has 253 at most.
pub const HOST_URL_BYTES_MAX: usize = super::HTTP_TARGET_BYTES_MAX + 512;

/// It is not used for the last part of its life, as a divisor, and never for longer than for
/// `CREDENTIALS_SPARE_S`: a request takes its time, and some hosts sign for a minute.
pub const HOST_URL_SPARE_DIVISOR: u64 = 10;

/// A host's text for an error has so many bytes at most: a few lines for people.
pub const HOST_ERROR_BYTES_MAX: usize = 1024;

/// A thread that made calls of hosts and has none to make ends after this, seconds: hosts attach
/// threads to what they run on, which costs them more than a thread that sleeps.
pub const HOST_THREAD_IDLE_S: u64 = 60;

/// Credentials that a host gives at once, bytes: tokens have some KiB.
pub const CREDENTIALS_BYTES_MAX: usize = 64 << 10;

/// A host is asked for new credentials so long before the old ones end, seconds: requests take
/// their time, and clocks differ.
pub const CREDENTIALS_SPARE_S: u64 = 60;

/// And not again before so long, milliseconds, whatever the store says of them: a store that
/// refuses everything must not keep the host busy. A request is tried again for longer.
pub const CREDENTIALS_PAUSE_MS: u64 = 1_000;
