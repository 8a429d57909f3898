//! How fast a store answers, learned from its answers: how long it takes to begin, and how fast it
//! goes on. What lies between two neighbours is read for nothing as long as that takes a small part
//! of what another request takes. Whole numbers alone: the same answers teach the same.

use crate::limits::{
    GAP_BYTES_MAX, GAP_BYTES_MIN, GAP_LATENCY_DIVISOR, SPEED_DEFAULT_BYTES_PER_S,
    SPEED_LARGE_BYTES, SPEED_SMALL_BYTES, SPEED_SMOOTHING,
};
use crate::types::Nanos;

const NS_PER_S: u64 = 1_000_000_000;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speed {
    // Of small answers; none before the first.
    latency_ns: Option<u64>,
    // Of large answers; none before the first.
    bytes_per_s: Option<u64>,
}

impl Speed {
    /// A read of so many bytes was answered after so long.
    pub fn learn(&mut self, bytes: u64, took_ns: Nanos) {
        if bytes <= SPEED_SMALL_BYTES {
            smooth(&mut self.latency_ns, took_ns);
        } else if bytes >= SPEED_LARGE_BYTES
            && let Some(latency_ns) = self.latency_ns
        {
            let transfer_ns = took_ns.saturating_sub(latency_ns).max(1);
            smooth(&mut self.bytes_per_s, bytes.saturating_mul(NS_PER_S) / transfer_ns);
        }
    }

    /// Bytes between two neighbours that are read rather than asked around; none while nothing is
    /// known.
    pub fn gap_bytes(&self) -> u64 {
        let Some(latency_ns) = self.latency_ns else { return 0 };
        let rate = self.bytes_per_s.unwrap_or(SPEED_DEFAULT_BYTES_PER_S);
        let in_latency = u128::from(rate) * u128::from(latency_ns) / u128::from(NS_PER_S);
        let gap = u64::try_from(in_latency / GAP_LATENCY_DIVISOR).unwrap_or(u64::MAX);
        gap.clamp(GAP_BYTES_MIN, GAP_BYTES_MAX)
    }
}

// Moves what is known a part of the way to a new sample.
fn smooth(known: &mut Option<u64>, sample: u64) {
    *known = Some(known.map_or(sample, |known| {
        let (kept, new) = (u128::from(known) * (SPEED_SMOOTHING - 1), u128::from(sample));
        u64::try_from((kept + new) / SPEED_SMOOTHING).expect("a mean of two numbers")
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn learned(latency_ns: u64, bytes_per_s: u64) -> Speed {
        let mut speed = Speed::default();
        for _ in 0..100 {
            speed.learn(4096, latency_ns);
            speed.learn(1 << 20, latency_ns + (1 << 20) * NS_PER_S / bytes_per_s);
        }
        speed
    }

    #[test]
    fn nothing_is_read_for_nothing_while_nothing_is_known() {
        assert_eq!(Speed::default().gap_bytes(), 0);
        let mut speed = Speed::default();
        speed.learn(1 << 20, MS);
        assert_eq!(speed.gap_bytes(), 0, "how long it takes to begin is not known");
    }

    #[test]
    fn what_is_read_for_nothing_takes_a_part_of_a_request() {
        for (latency_ms, bytes_per_s) in [(10, 20_000_000), (20, 10_000_000), (5, 40_000_000)] {
            let gap = learned(latency_ms * MS, bytes_per_s).gap_bytes();
            let expected = 200_000 / GAP_LATENCY_DIVISOR as u64;
            assert!(gap.abs_diff(expected) < expected / 10, "{gap} of {expected} bytes");
        }
    }

    #[test]
    fn it_has_bounds() {
        assert_eq!(learned(1_000, 1_000_000).gap_bytes(), GAP_BYTES_MIN);
        assert_eq!(learned(10_000 * MS, 1 << 40).gap_bytes(), GAP_BYTES_MAX);
        assert_eq!(learned(u64::MAX / 4, u64::MAX).gap_bytes(), GAP_BYTES_MAX);
    }

    #[test]
    fn a_store_that_becomes_slow_is_noticed_and_one_slow_answer_is_not() {
        let mut speed = learned(MS, 100_000_000);
        let before = speed.gap_bytes();
        speed.learn(4096, 5 * MS);
        assert!(speed.gap_bytes() < 2 * before);
        for _ in 0..50 {
            speed.learn(4096, 5 * MS);
        }
        assert!(speed.gap_bytes() > 2 * before);
    }
}
