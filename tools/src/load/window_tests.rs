use super::{LATENCY_NS_MAX, Tally, Window};

fn tally(ops: u64) -> Tally {
    Tally { ops, writes: 1, wrong: 0, missing: 2 }
}

#[test]
fn latencies_count_from_the_start_of_each_operation() {
    let mut window = Window::starting_at(0);
    window.record(&[1_000; 98], tally(98), 101_000);
    window.record(&[51_000, 1_000], tally(2), 1_001_000);
    window.end(1_001_000, 0);
    let latency = window.latency_us();
    assert!((latency.p50 - 100.0).abs() < 0.2, "{latency:?}");
    assert!((latency.p99 - 950.0).abs() < 1.0, "{latency:?}");
    assert!((latency.max - 1000.0).abs() < 1.0, "{latency:?}");
    assert_eq!(window.tally, Tally { ops: 100, writes: 2, wrong: 0, missing: 4 });
}

#[test]
fn pauses_lie_between_completions_and_at_both_ends() {
    let mut window = Window::starting_at(5_000_000);
    window.record(&[5_000_000], tally(1), 7_000_000);
    window.record(&[], Tally::default(), 9_000_000);
    window.record(&[5_000_000], tally(1), 10_000_000);
    assert_eq!(window.longest_pause_ms(), 3.0);
    window.close(20_000_000);
    assert_eq!(window.longest_pause_ms(), 10.0);
}

#[test]
fn latencies_beyond_the_bounds_are_kept_at_the_bounds() {
    let mut window = Window::starting_at(0);
    window.record(&[10], tally(1), 5);
    window.record(&[0], tally(1), 2 * LATENCY_NS_MAX);
    window.end(2 * LATENCY_NS_MAX, 0);
    assert!(window.latency_us().p50 < 0.01);
    assert!(window.latency_us().max > 3.59e9);
}

#[test]
fn each_second_is_a_sample_of_its_own() {
    let second = 1_000_000_000;
    let mut window = Window::starting_at(second);
    window.record(&[2 * second - 100_000; 40], tally(40), 2 * second);
    window.sample(2 * second, 7);
    window.record(&[2 * second; 10], tally(10), 2 * second + 500_000_000);
    window.end(2 * second + 500_000_000, 8);
    let samples = window.samples();
    let seen: Vec<_> = samples.iter().map(|s| (s.at_s, s.ops_per_s, s.rss_bytes)).collect();
    assert_eq!(seen, [(1.0, 40.0, 7), (1.5, 20.0, 8)]);
    assert!((samples[0].p50_us - 100.0).abs() < 0.2, "{samples:?}");
    assert!((samples[1].max_us - 500_000.0).abs() < 500.0, "{samples:?}");
    assert!((window.latency_us().p50 - 100.0).abs() < 0.2, "of both");
    assert!((window.latency_us().max - 500_000.0).abs() < 500.0, "of both");
}

#[test]
fn a_short_rest_counts_and_is_no_sample() {
    let mut window = Window::starting_at(0);
    window.record(&[0; 3], tally(3), 1_000_000);
    window.end(1_000_000, 0);
    assert!(window.samples().is_empty());
    assert!((window.latency_us().max - 1000.0).abs() < 1.0);
}

#[test]
fn the_spectrum_ends_at_the_slowest_operation() {
    let mut window = Window::starting_at(0);
    for i in 1..=1000_u64 {
        window.record(&[0], tally(1), i * 1000);
    }
    window.end(1_000_000, 0);
    let spectrum = window.spectrum_us();
    assert_eq!((spectrum[0][0], spectrum.len()), (0.0, 25), "three decades");
    assert!(spectrum.is_sorted_by(|a, b| a[0] < b[0] && a[1] <= b[1]), "{spectrum:?}");
    let [quantile, us] = spectrum[24];
    assert!((quantile - 0.999).abs() < 1e-9 && (us - 999.0).abs() < 2.0, "{quantile} {us}");
}
