use super::*;

fn of(times: &[(Nanos, u64)]) -> Histogram {
    let mut histogram = Histogram::default();
    times.iter().for_each(|&(time_ns, count)| histogram.record(time_ns, count));
    histogram
}

#[test]
fn buckets_follow_each_other_without_a_gap() {
    let mut next = 0;
    for bucket in 0..BUCKETS {
        assert_eq!(first_of(bucket), next, "bucket {bucket}");
        assert_eq!(bucket_of(first_of(bucket)), bucket);
        assert_eq!(bucket_of(last_of(bucket)), bucket);
        next = last_of(bucket) + 1;
    }
    assert_eq!(next, LATENCY_NS_MAX + 1);
    assert!(size_of::<Histogram>() <= 2400, "{} bytes", size_of::<Histogram>());
}

#[test]
fn a_time_is_reported_within_a_sixteenth() {
    for log in 0..37 {
        for part in 0..100 {
            let time_ns = (1 << log) + (1 << log) * part / 100;
            // A longer one, since nothing is reported above the longest.
            let p50 = of(&[(time_ns, 2), (LATENCY_NS_MAX, 1)]).quantile_ns(0.5);
            assert!(p50.abs_diff(time_ns) <= time_ns / 16, "{time_ns}: {p50}");
        }
    }
}

#[test]
fn quantiles_follow_the_ranks() {
    let mut histogram = of(&[(100, 900), (1_000, 90), (10_000, 9), (1_000_000, 1)]);
    let near = |value: Nanos, of: Nanos| value.abs_diff(of) <= of / 16;
    assert_eq!(
        (histogram.count(), histogram.sum_ns()),
        (1000, 90_000 + 90_000 + 90_000 + 1_000_000)
    );
    assert!(near(histogram.quantile_ns(0.5), 100) && near(histogram.quantile_ns(0.9), 100));
    assert!(near(histogram.quantile_ns(0.99), 1_000) && near(histogram.quantile_ns(0.999), 10_000));
    assert_eq!(histogram.quantile_ns(1.0), 1_000_000, "no more than the longest");
    assert_eq!((histogram.count_until(127), histogram.count_until(1023)), (900, 990));
    histogram.record(Nanos::MAX, 1);
    assert!(near(histogram.quantile_ns(1.0), LATENCY_NS_MAX));
    assert_eq!(Histogram::default().quantile_ns(0.5), 0);
}

#[test]
fn what_was_added_can_be_told_apart_again() {
    let (first, second) = (of(&[(100, 3), (7, 1)]), of(&[(100, 1), (5_000, 2)]));
    let mut both = first.clone();
    both.add(&second);
    assert_eq!((both.count(), both.sum_ns()), (7, 10_407));
    assert_eq!(both.since(&first), second);
}
