//! The only clock of the engine. Floors above take `now` as an argument.

use std::sync::OnceLock;
use std::time::Instant;

use crate::types::Nanos;

/// Monotonic nanoseconds since the first call in this process. Any thread; never fails.
#[must_use]
pub fn now() -> Nanos {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    Nanos::try_from(elapsed.as_nanos()).expect("a process does not run for 584 years")
}
