use super::*;

fn slot() -> Slot {
    Slot::new(3, Doorbell::new().unwrap(), 1000, ShardStatistics::default())
}

fn with_flushes(flushes: u64) -> ShardStatistics {
    let counters = ShardCounters { flushes, ..ShardCounters::default() };
    ShardStatistics { counters, ..ShardStatistics::default() }
}

#[test]
fn a_slot_gives_what_was_published_last_and_its_age() {
    let slot = slot();
    assert!(!slot.is_due(1000 + STATISTICS_NS - 1) && slot.is_due(1000 + STATISTICS_NS));
    slot.ask();
    assert!(slot.is_asked() && slot.is_due(1001));
    assert!(slot.publish(2000, with_flushes(7)));
    assert!(!slot.is_asked() && !slot.is_due(2001));
    slot.add_blocked(5);
    slot.add_blocked(6);
    let read = slot.read(2500);
    assert_eq!((read.shard, read.age_ns, read.blocked_ns), (3, 500, 11));
    assert_eq!(read.counters.flushes, 7);
}

#[test]
fn a_driver_never_waits_for_a_reader() {
    let slot = slot();
    slot.ask();
    let reader = slot.published.lock().unwrap();
    assert!(!slot.publish(2000, with_flushes(7)));
    assert!(slot.is_due(2000), "it tries again");
    drop(reader);
    assert!(slot.publish(2001, with_flushes(8)));
    assert_eq!(slot.read(2001).counters.flushes, 8);
}

#[test]
fn latencies_count_a_timed_tick_once_for_each_request_it_answered() {
    let mut latencies = Latencies::default();
    latencies.begin_tick(None);
    for _ in 0..5 {
        latencies.answered(Kind::Get, 100, 100);
    }
    latencies.answered(Kind::Write, 100, 100);
    latencies.begin_tick(Some(700));
    // Of a tick that was not timed nothing is known.
    latencies.answered(Kind::Get, 200, 200);
    latencies.begin_tick(None);
    latencies.answered(Kind::Get, 250, 300);
    latencies.read(Kind::Scan, 100, 300);
    let statistics = latencies.statistics();
    let counts: Vec<_> = statistics
        .iter()
        .map(|l| (l.kind, l.tier, l.histogram.count(), l.histogram.sum_ns()))
        .filter(|&(_, _, count, _)| count > 0)
        .collect();
    let expected = [
        (Kind::Get, Tier::Memory, 5, 3500),
        (Kind::Get, Tier::Waited, 1, 50),
        (Kind::Write, Tier::Memory, 1, 700),
        (Kind::Scan, Tier::Dfs, 1, 200),
    ];
    assert_eq!(counts, expected);
    assert_eq!(statistics.len(), 8);
}

#[test]
fn requests_of_an_unknown_state_are_counted_with_the_store() {
    let mut requests = RequestsByState::new(2);
    requests.of(StateId(2)).count(Op::Get);
    requests.of(StateId(3)).count(Op::Put);
    let each: Vec<u64> = requests.each().map(RequestCounters::total).collect();
    assert_eq!((each, requests.all().total()), (vec![0, 1], 2));
}
