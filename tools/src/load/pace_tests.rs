use std::time::Duration;

use super::Pace;

#[test]
fn a_closed_loop_starts_whole_batches_as_there_is_room() {
    let mut pace = Pace::new(None, 0);
    assert_eq!((pace.due(5, 64, 64), pace.due(5, 63, 64)), (64, 0));
    assert_eq!((pace.start(5), pace.idle(5)), (5, None));
}

#[test]
fn an_open_loop_starts_on_time_and_remembers_what_is_late() {
    let mut pace = Pace::new(Some(1000), 1_000_000);
    assert_eq!(pace.due(1_000_000, 64, 64), 1);
    assert_eq!(pace.start(1_000_007), 1_000_000);
    assert_eq!(pace.due(1_500_000, 64, 64), 0);
    assert_eq!(pace.idle(1_500_000), Some(Duration::from_micros(500)));
    // Ten milliseconds late: ten are due, each from its own intended start.
    assert_eq!(pace.due(11_000_000, 64, 64), 10);
    assert_eq!((pace.due(11_000_000, 4, 64), pace.due(11_000_000, 64, 8)), (4, 8));
    assert_eq!(pace.idle(11_000_000), Some(Duration::ZERO));
    let starts: Vec<u64> = (0..3).map(|_| pace.start(11_000_000)).collect();
    assert_eq!(starts, [2_000_000, 3_000_000, 4_000_000]);
}
