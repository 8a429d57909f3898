//! When what failed is tried again. Drivers do so with operations, below the shard, which sees an
//! operation fail once, for good; the shard does so with jobs.

use std::time::Duration;

use crate::io::clock;
use crate::limits::{
    JOB_RETRY_DOUBLINGS_MAX, JOB_RETRY_NS, MISSING_NS_MAX, PATIENCE_NS_DEFAULT, PATIENCE_NS_MAX,
    PATIENCE_NS_MIN,
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

/// How often one thing failed in a row, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failures {
    pub(crate) count: u32,
    first: Nanos,
}

impl Failures {
    /// It failed once more.
    pub(crate) fn add(&mut self, now: Nanos) {
        if self.count == 0 {
            self.first = now;
        }
        self.count += 1;
    }

    fn lasting(self, now: Nanos) -> Nanos {
        now.saturating_sub(self.first)
    }

    /// True if the first of them is so long ago.
    pub(crate) fn outlast(self, patience_ns: Nanos, now: Nanos) -> bool {
        self.lasting(now) >= patience_ns
    }
}

/// For how long what fails for the moment is tried again, from its first failure on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    ns: Nanos,
    // And what is missing and may appear.
    missing_ns: Nanos,
}

impl Patience {
    /// Of an engine that was told nothing.
    pub(crate) const DEFAULT: Self = Self { ns: PATIENCE_NS_DEFAULT, missing_ns: MISSING_NS_MAX };

    /// As the host says.
    ///
    /// # Errors
    /// `Invalid` for less than a second and for more than a day.
    pub(crate) fn new(patience: Duration) -> Result<Self> {
        match u64::try_from(patience.as_nanos()) {
            Ok(ns) if (PATIENCE_NS_MIN..=PATIENCE_NS_MAX).contains(&ns) => {
                Ok(Self { ns, ..Self::DEFAULT })
            }
            _ => Err(Error::invalid(format!(
                "a patience of {} s: use 1 s to a day",
                patience.as_secs_f64()
            ))),
        }
    }

    /// The same of who does without what is missing.
    pub(crate) fn without_the_missing(self) -> Self {
        Self { missing_ns: 0, ..self }
    }

    /// As nanoseconds.
    pub(crate) fn ns(self) -> Nanos {
        self.ns
    }

    /// True if what has failed so has done so for too long.
    pub(crate) fn is_over(self, failures: Failures, now: Nanos) -> bool {
        failures.outlast(self.ns, now)
    }

    /// The wait before the next try of an operation that has just failed, which is counted. The
    /// last try comes when patience ends; one that does not end by itself ends later.
    ///
    /// # Errors
    /// The failure, if another try would not help: damage stays as it is.
    pub(crate) fn wait_after(
        self,
        error: Error,
        failures: &mut Failures,
        missing: Missing,
        now: Nanos,
    ) -> Result<Nanos> {
        failures.add(now);
        let (most, remedy) = match (error.kind, missing) {
            (ErrorKind::Io, _) => (
                self.ns,
                "see that the place can be reached and is healthy, then try again or restore from \
                 the last checkpoint",
            ),
            (ErrorKind::MissingObject, Missing::MayAppear) if self.missing_ns > 0 => {
                (self.missing_ns, DELETED)
            }
            _ => return Err(error),
        };
        let (count, lasting) = (failures.count, failures.lasting(now));
        if failures.outlast(most, now) {
            let s = Duration::from_nanos(lasting).as_secs_f64();
            let what = format!("{}; it failed {count} times in {s:.1} s: {remedy}", error.text);
            return Err(Error::new(error.kind, what));
        }
        Ok(wait(count).min(most - lasting))
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
    let mut failures = Failures::default();
    loop {
        match operation() {
            Ok(done) => return Ok(done),
            Err(error) => {
                let now = clock::now();
                let wait =
                    Patience::DEFAULT.wait_after(error, &mut failures, Missing::Stays, now)?;
                std::thread::sleep(Duration::from_nanos(wait));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When an operation whose tries take `try_ns` each fails, until there is no other: the last
    /// time with what is told.
    fn failing(
        patience: Patience,
        kind: ErrorKind,
        missing: Missing,
        try_ns: Nanos,
    ) -> (Vec<Nanos>, Error) {
        let (mut failures, mut now, mut times) = (Failures::default(), 7 + try_ns, Vec::new());
        loop {
            times.push(now);
            let error = Error::new(kind, "refused");
            match patience.wait_after(error, &mut failures, missing, now) {
                Ok(wait) => now += wait + try_ns,
                Err(error) => return (times, error),
            }
        }
    }

    #[test]
    fn failures_of_the_moment_are_waited_out_for_ten_seconds() {
        let (times, error) = failing(Patience::DEFAULT, ErrorKind::Io, Missing::Stays, 0);
        assert_eq!(times.len(), 11);
        assert_eq!(times[10] - times[0], PATIENCE_NS_DEFAULT);
        let waits: Vec<Nanos> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits[0], JOB_RETRY_NS);
        assert!(waits[..9].is_sorted_by(|a, b| a * 2 == *b), "{waits:?}");
        assert!(error.text.contains("refused; it failed 11 times in 10.0 s: see"), "{error}");
    }

    #[test]
    fn tries_go_on_for_as_long_as_the_host_is_patient_however_long_each_takes() {
        for ms in [1_000, 1_270, 10_230, 10_231, 15_350, 60_000, 86_400_000] {
            let patience = Patience::new(Duration::from_millis(ms)).unwrap();
            for try_ns in [0, 2_000_000, 5_000_000_000, 100_000_000_000] {
                let (times, _) = failing(patience, ErrorKind::Io, Missing::Stays, try_ns);
                let took = times.last().unwrap() - times[0];
                assert!(times.len() > 1, "{ms} ms: one try");
                let least = ms * 1_000_000;
                assert!((least..=least + try_ns).contains(&took), "{ms} ms: {took} ns");
            }
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
    fn what_a_store_does_not_know_yet_is_waited_for_for_a_minute() {
        let impatient = Patience::new(Duration::from_secs(1)).unwrap();
        let (kind, missing) = (ErrorKind::MissingObject, Missing::MayAppear);
        let (times, error) = failing(impatient, kind, missing, 0);
        assert_eq!(times.last().unwrap() - times[0], MISSING_NS_MAX);
        assert_eq!(error.kind, kind);
        let told = format!("failed 21 times in 60.0 s: {DELETED}");
        assert!(error.text.contains(&told), "{error}");
        let (times, error) = failing(impatient.without_the_missing(), kind, missing, 0);
        assert_eq!((times.len(), error.kind), (1, kind));
        let (times, _) = failing(impatient.without_the_missing(), ErrorKind::Io, missing, 0);
        assert!(times.len() > 1);
    }

    #[test]
    fn what_stays_is_not_tried_again() {
        for (kind, missing) in [
            (ErrorKind::Corrupt, Missing::Stays),
            (ErrorKind::Corrupt, Missing::MayAppear),
            (ErrorKind::MissingObject, Missing::Stays),
            (ErrorKind::NoSpace, Missing::Stays),
        ] {
            let (times, error) = failing(Patience::DEFAULT, kind, missing, 0);
            assert_eq!((times.len(), error.kind), (1, kind));
        }
    }
}
