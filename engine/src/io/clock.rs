//! The clocks of the engine. Floors above take `now` as an argument.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use crate::types::Nanos;

/// Monotonic nanoseconds since the first call in this process. Any thread; never fails.
#[must_use]
pub fn now() -> Nanos {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    Nanos::try_from(elapsed.as_nanos()).expect("a process does not run for 584 years")
}

/// Seconds since 1970, as this machine believes.
#[must_use]
pub fn unix_s() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
