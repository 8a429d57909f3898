use super::{ABSENT_BASE, Draft, Flight, OpKind, Outcome, Tally};
use crate::load::Dataset;

const DATA: Dataset =
    Dataset { records: 10, key_size_bytes: 16, value_size_bytes: 32, random_bytes: 32, seed: 1 };

fn draft(kind: OpKind, index: u64, version: u64) -> Draft {
    Draft { kind, index, version }
}

fn value(index: u64, version: u64) -> Vec<u8> {
    let mut value = vec![0; 32];
    DATA.value(index, version, &mut value);
    value
}

fn read(flight: &mut Flight, index: u64, outcome: &Outcome<'_>) -> Result<(), String> {
    let tag = flight.start(draft(OpKind::Get, index, 0), 0);
    flight.finish(tag, outcome).map_err(|error| error.to_string())
}

#[test]
fn slots_come_back_and_a_tag_completes_once() {
    let mut flight = Flight::new(DATA, 2, None);
    let tag = flight.start(draft(OpKind::Put, 1, 1), 70);
    assert_eq!((flight.room(), flight.outstanding()), (1, 1));
    flight.finish(tag, &Outcome::Done).unwrap();
    assert_eq!((flight.room(), flight.finished_ns()), (2, &[70][..]));
    let error = flight.finish(tag, &Outcome::Done).unwrap_err().to_string();
    assert!(error.contains("not in flight"), "{error}");
    assert!(flight.finish(99, &Outcome::Done).is_err());
    assert_eq!(flight.take_tally(), Tally { ops: 1, writes: 1, wrong: 0, missing: 0 });
    assert_eq!(flight.take_tally(), Tally::default());
}

#[test]
fn verification_finds_wrong_stale_and_missing_values() {
    let mut flight = Flight::new(DATA, 4, Some(vec![0; 10]));
    let tag = flight.start(draft(OpKind::Put, 3, 7), 0);
    assert!(read(&mut flight, 3, &Outcome::Value(&value(3, 0))).is_ok(), "not yet acknowledged");
    flight.finish(tag, &Outcome::Done).unwrap();
    assert!(read(&mut flight, 3, &Outcome::Value(&value(3, 7))).is_ok());
    let lost = read(&mut flight, 3, &Outcome::Value(&value(3, 6))).unwrap_err();
    assert!(lost.contains("a write was lost"), "{lost}");
    let wrong = read(&mut flight, 3, &Outcome::Value(&value(4, 7))).unwrap_err();
    assert!(wrong.contains("is wrong"), "{wrong}");
    let missing = read(&mut flight, 3, &Outcome::Absent).unwrap_err();
    assert!(missing.contains("missing"), "{missing}");
    assert_eq!(flight.take_tally(), Tally { ops: 6, writes: 1, wrong: 2, missing: 1 });
}

#[test]
fn a_lost_change_is_found() {
    let mut flight = Flight::new(DATA, 4, Some(vec![0; 10]));
    for _ in 0..2 {
        let tag = flight.start(draft(OpKind::Rmw, 3, 1), 0);
        flight.finish(tag, &Outcome::Done).unwrap();
    }
    assert!(read(&mut flight, 3, &Outcome::Value(&value(3, 2))).is_ok());
    assert!(read(&mut flight, 3, &Outcome::Value(&value(3, 1))).is_err());
}

#[test]
fn a_put_overtaking_a_change_in_the_reports_raises_no_false_alarm() {
    let mut flight = Flight::new(DATA, 4, Some(vec![0; 10]));
    let change = flight.start(draft(OpKind::Rmw, 3, 1), 0);
    let put = flight.start(draft(OpKind::Put, 3, 10), 0);
    flight.finish(put, &Outcome::Done).unwrap();
    flight.finish(change, &Outcome::Done).unwrap();
    assert!(read(&mut flight, 3, &Outcome::Value(&value(3, 10))).is_ok());
}

#[test]
fn absent_keys_must_stay_absent_even_without_verification() {
    let mut flight = Flight::new(DATA, 4, None);
    assert!(read(&mut flight, ABSENT_BASE + 3, &Outcome::Absent).is_ok());
    assert!(read(&mut flight, ABSENT_BASE + 3, &Outcome::Value(b"x")).is_err());
    assert!(read(&mut flight, 3, &Outcome::Absent).is_ok(), "counted, not fatal");
    assert_eq!(flight.take_tally(), Tally { ops: 3, writes: 0, wrong: 1, missing: 1 });
}

#[test]
fn failures_and_outcomes_of_another_kind_end_the_run() {
    let mut flight = Flight::new(DATA, 4, None);
    let failed = read(&mut flight, 3, &Outcome::Failed("disk on fire".into())).unwrap_err();
    assert!(failed.contains("disk on fire"), "{failed}");
    let mixed = read(&mut flight, 3, &Outcome::Done).unwrap_err();
    assert!(mixed.contains("defect"), "{mixed}");
}
