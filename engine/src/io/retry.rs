//! When what failed is tried again. Drivers do so with operations, below the shard, which sees an
//! operation fail once, for good; the shard does so with jobs.

use std::time::Duration;

use crate::limits::{
    JOB_RETRY_DOUBLINGS_MAX, JOB_RETRY_NS, MISSING_FAILURES_MAX, PATIENCE_NS_DEFAULT,
    PATIENCE_NS_MAX, PATIENCE_NS_MIN, RETRY_LOOK_NS,
};
use crate::types::error::{DELETED, ErrorKind};
use crate::types::{Error, Nanos, Result};

/// The wait after so many failures in a row, at least one: it doubles with each.
pub(crate) fn wait(failures: u32) -> Nanos {
    JOB_RETRY_NS << failures.saturating_sub(1).min(JOB_RETRY_DOUBLINGS_MAX)
}

/// Whether what is missing may be there in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Who says so knows.
    Stays,
    /// Something names the object, and the store may not have noticed yet that it was put.
    MayAppear,
}

/// For how long what fails for the moment is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience(Nanos);

impl Patience {
    /// Of an engine that was told nothing.
    pub(crate) const DEFAULT: Self = Self(PATIENCE_NS_DEFAULT);

    /// As the host says.
    ///
    /// # Errors
    /// `Invalid` for less than a second and for more than a day.
    pub(crate) fn new(patience: Duration) -> Result<Self> {
        match u64::try_from(patience.as_nanos()) {
            Ok(ns) if (PATIENCE_NS_MIN..=PATIENCE_NS_MAX).contains(&ns) => Ok(Self(ns)),
            _ => Err(Error::invalid(format!(
                "a patience of {} s: use 1 s to a day",
                patience.as_secs_f64()
            ))),
        }
    }

    /// Failures in a row from which on an operation has failed for its caller: the waits between
    /// them last as long as this, or a little longer.
    pub(crate) fn failures_max(self) -> u32 {
        let doubling = |failures: u32| JOB_RETRY_NS * ((1 << (failures - 1)) - 1);
        let last = JOB_RETRY_DOUBLINGS_MAX + 2;
        (2..last).find(|&failures| doubling(failures) >= self.0).unwrap_or_else(|| {
            let rest = self.0.saturating_sub(doubling(last));
            last + rest.div_ceil(JOB_RETRY_NS << JOB_RETRY_DOUBLINGS_MAX) as u32
        })
    }

    /// How often an operation looks whether it may be tried again.
    pub(crate) fn looks_max(self) -> u32 {
        (self.0 / RETRY_LOOK_NS) as u32
    }

    /// The wait before the next try of an operation that has failed so many times in a row.
    ///
    /// # Errors
    /// The failure, if another try would not help: damage stays as it is.
    pub(crate) fn wait_after(self, error: Error, failures: u32, missing: Missing) -> Result<Nanos> {
        let (most, remedy) = match (error.kind, missing) {
            (ErrorKind::Io, _) => (
                self.failures_max(),
                "see that the place can be reached and is healthy, then try again or restore from \
                 the last checkpoint",
            ),
            (ErrorKind::MissingObject, Missing::MayAppear) => (MISSING_FAILURES_MAX, DELETED),
            _ => return Err(error),
        };
        if failures >= most {
            let what = format!("{}; it failed {failures} times in a row: {remedy}", error.text);
            return Err(Error::new(error.kind, what));
        }
        Ok(wait(failures))
    }
}

/// The failure of an operation that was not tried again, for too much else failed.
pub(crate) fn held_up(error: &Error) -> Error {
    let what = format!(
        "{}; the store fails for so many that not all are tried again: see that it can be reached \
         and is healthy",
        error.text
    );
    Error::new(error.kind, what)
}

/// Runs an operation, and tries it again while it fails for the moment; blocks meanwhile.
///
/// # Errors
/// What stays as it is, or has failed for ten seconds.
pub fn patiently<T>(mut operation: impl FnMut() -> Result<T>) -> Result<T> {
    let mut failures = 0;
    loop {
        match operation() {
            Ok(done) => return Ok(done),
            Err(error) => {
                failures += 1;
                let wait = Patience::DEFAULT.wait_after(error, failures, Missing::Stays)?;
                std::thread::sleep(Duration::from_nanos(wait));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{JOB_FAILURES_MAX, MISSING_NS_MAX};

    fn waits(kind: ErrorKind, missing: Missing) -> Vec<Nanos> {
        let wait =
            |failures| Patience::DEFAULT.wait_after(Error::new(kind, "refused"), failures, missing);
        (1..).map_while(|failures| wait(failures).ok()).collect()
    }

    #[test]
    fn failures_of_the_moment_are_waited_out_for_ten_seconds() {
        let waits = waits(ErrorKind::Io, Missing::Stays);
        assert_eq!(waits.len(), JOB_FAILURES_MAX as usize - 1);
        assert_eq!(waits[0], JOB_RETRY_NS);
        assert!(waits.is_sorted_by(|a, b| a * 2 == *b), "{waits:?}");
        assert!((10..11).contains(&(waits.iter().sum::<Nanos>() / 1_000_000_000)));
        let refused = Error::new(ErrorKind::Io, "refused");
        let last = Patience::DEFAULT.wait_after(refused, 11, Missing::Stays).unwrap_err();
        assert!(last.text.contains("refused; it failed 11 times in a row: see"), "{last}");
    }

    #[test]
    fn tries_go_on_for_as_long_as_the_host_is_patient_and_for_one_wait_more_at_most() {
        for ms in [1_000, 1_270, 1_280, 5_110, 10_230, 10_231, 15_350, 60_000, 86_400_000] {
            let patience = Patience::new(Duration::from_millis(ms)).unwrap();
            let waits: Vec<Nanos> = (1..patience.failures_max()).map(wait).collect();
            let all: Nanos = waits.iter().sum();
            let last = waits.last().unwrap();
            assert!((all - last..=all).contains(&(ms * 1_000_000)), "{ms} ms: {all} ns");
            assert_eq!(u64::from(patience.looks_max()) * RETRY_LOOK_NS / 1_000_000, ms / 50 * 50);
        }
        for bad in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(86_401)] {
            let error = Patience::new(bad).unwrap_err();
            assert!(error.text.contains("use 1 s to a day"), "{error}");
        }
        assert!(Patience::new(Duration::MAX).is_err());
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
    fn what_a_store_does_not_know_yet_is_waited_for_as_long_as_fits_a_minute() {
        let waits = waits(ErrorKind::MissingObject, Missing::MayAppear);
        let all: Nanos = waits.iter().sum();
        assert!(waits.is_sorted());
        assert!(all <= MISSING_NS_MAX && all + waits.last().unwrap() > MISSING_NS_MAX, "{all}");
        let missing = Error::new(ErrorKind::MissingObject, "gone");
        let last = Patience::DEFAULT.wait_after(missing, MISSING_FAILURES_MAX, Missing::MayAppear);
        let last = last.unwrap_err();
        assert_eq!(last.kind, ErrorKind::MissingObject);
        assert!(last.text.contains("gone; it failed 20 times in a row: something"), "{last}");
    }

    #[test]
    fn what_stays_is_not_tried_again() {
        for kind in [ErrorKind::Corrupt, ErrorKind::MissingObject, ErrorKind::NoSpace] {
            let so = Error::new(kind, "so");
            let error = Patience::DEFAULT.wait_after(so, 1, Missing::Stays).unwrap_err();
            assert_eq!(error.kind, kind);
        }
        assert!(waits(ErrorKind::Corrupt, Missing::MayAppear).is_empty());
    }
}
