//! When what failed is tried again. Drivers do so with operations, below the shard, which sees an
//! operation fail once, for good; the shard does so with jobs.

use std::time::Duration;

use crate::limits::{IO_FAILURES_MAX, JOB_RETRY_DOUBLINGS_MAX, JOB_RETRY_NS};
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

/// The wait after so many failures in a row, at least one: it doubles with each.
pub(crate) fn wait(failures: u32) -> Nanos {
    JOB_RETRY_NS << failures.saturating_sub(1).min(JOB_RETRY_DOUBLINGS_MAX)
}

/// The wait before the next try of an operation that has failed so many times in a row.
///
/// # Errors
/// The failure, if another try would not help: damage and what is missing stay as they are.
pub(crate) fn wait_after(error: Error, failures: u32) -> Result<Nanos> {
    if error.kind != ErrorKind::Io {
        return Err(error);
    }
    if failures >= IO_FAILURES_MAX {
        let what = format!(
            "{}; it failed {failures} times in a row: see that the place can be reached and is \
             healthy, then try again or restore from the last checkpoint",
            error.text
        );
        return Err(Error::new(error.kind, what));
    }
    Ok(wait(failures))
}

/// Runs an operation, and tries it again while it fails for the moment; blocks meanwhile.
///
/// # Errors
/// As `wait_after`: what stays as it is, or has failed for ten seconds.
pub fn patiently<T>(mut operation: impl FnMut() -> Result<T>) -> Result<T> {
    let mut failures = 0;
    loop {
        match operation() {
            Ok(done) => return Ok(done),
            Err(error) => {
                failures += 1;
                std::thread::sleep(Duration::from_nanos(wait_after(error, failures)?));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_the_moment_are_waited_out_for_ten_seconds() {
        let refused = || Error::new(ErrorKind::Io, "refused");
        let waits: Vec<Nanos> =
            (1..IO_FAILURES_MAX).map(|n| wait_after(refused(), n).unwrap()).collect();
        assert_eq!(waits[0], JOB_RETRY_NS);
        assert!(waits.is_sorted_by(|a, b| a * 2 == *b), "{waits:?}");
        assert!((10..11).contains(&(waits.iter().sum::<Nanos>() / 1_000_000_000)));
        let last = wait_after(refused(), IO_FAILURES_MAX).unwrap_err();
        assert!(last.text.contains("refused; it failed 11 times in a row: see"), "{last}");
    }

    #[test]
    fn an_operation_is_run_until_it_succeeds() {
        let mut left = 3;
        let mut refuse = || {
            left -= 1;
            if left > 0 { Err(Error::new(ErrorKind::Io, "refused")) } else { Ok(7) }
        };
        assert_eq!(patiently(&mut refuse).unwrap(), 7);
        let mut tries = 0;
        let damaged = patiently(|| -> Result<()> {
            tries += 1;
            Err(Error::corrupt("damaged"))
        });
        assert_eq!((damaged.unwrap_err().kind, tries), (ErrorKind::Corrupt, 1));
    }

    #[test]
    fn what_stays_is_not_tried_again() {
        for kind in [ErrorKind::Corrupt, ErrorKind::MissingObject, ErrorKind::NoSpace] {
            assert_eq!(wait_after(Error::new(kind, "so"), 1).unwrap_err().kind, kind);
        }
    }
}
