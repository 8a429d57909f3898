use super::{LATENCY_NS_MAX, Tally, Window};

fn tally(ops: u64) -> Tally {
    Tally { ops, writes: 1, wrong: 0, missing: 2 }
}

#[test]
fn latencies_count_from_the_start_of_each_operation() {
    let mut window = Window::starting_at(0);
    window.record(&[1_000; 98], tally(98), 101_000);
    window.record(&[51_000, 1_000], tally(2), 1_001_000);
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
    assert!(window.latency_us().p50 < 0.01);
    assert!(window.latency_us().max > 3.59e9);
}
