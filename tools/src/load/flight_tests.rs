use super::{
    ABSENT_BASE, Draft, Entries, Flight, MAP_ENTRIES, MAP_KEY_BYTES, OpKind, Outcome, Tally,
};
use crate::load::Dataset;

const DATA: Dataset = Dataset {
    records: 10,
    key_size_bytes: 16,
    value_size_bytes: 32,
    random_bytes: 32,
    seed: 1,
    maps: false,
};

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
    let mut flight = Flight::new(DATA, 2, 0, None);
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
    let mut flight = Flight::new(DATA, 4, 0, Some(vec![0; 10]));
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
    let mut flight = Flight::new(DATA, 4, 0, Some(vec![0; 10]));
    for _ in 0..2 {
        let tag = flight.start(draft(OpKind::Rmw, 3, 1), 0);
        flight.finish(tag, &Outcome::Done).unwrap();
    }
    assert!(read(&mut flight, 3, &Outcome::Value(&value(3, 2))).is_ok());
    assert!(read(&mut flight, 3, &Outcome::Value(&value(3, 1))).is_err());
}

#[test]
fn a_put_overtaking_a_change_in_the_reports_raises_no_false_alarm() {
    let mut flight = Flight::new(DATA, 4, 0, Some(vec![0; 10]));
    let change = flight.start(draft(OpKind::Rmw, 3, 1), 0);
    let put = flight.start(draft(OpKind::Put, 3, 10), 0);
    flight.finish(put, &Outcome::Done).unwrap();
    flight.finish(change, &Outcome::Done).unwrap();
    assert!(read(&mut flight, 3, &Outcome::Value(&value(3, 10))).is_ok());
}

#[test]
fn absent_keys_must_stay_absent_even_without_verification() {
    let mut flight = Flight::new(DATA, 4, 0, None);
    assert!(read(&mut flight, ABSENT_BASE + 3, &Outcome::Absent).is_ok());
    assert!(read(&mut flight, ABSENT_BASE + 3, &Outcome::Value(b"x")).is_err());
    assert!(read(&mut flight, 3, &Outcome::Absent).is_ok(), "counted, not fatal");
    assert_eq!(flight.take_tally(), Tally { ops: 3, writes: 0, wrong: 1, missing: 1 });
}

#[test]
fn failures_and_outcomes_of_another_kind_end_the_run() {
    let mut flight = Flight::new(DATA, 4, 0, None);
    let failed = read(&mut flight, 3, &Outcome::Failed("disk on fire".into())).unwrap_err();
    assert!(failed.contains("disk on fire"), "{failed}");
    let mixed = read(&mut flight, 3, &Outcome::Done).unwrap_err();
    assert!(mixed.contains("defect"), "{mixed}");
}

#[test]
fn an_insert_is_there_when_all_before_it_are() {
    let mut flight = Flight::new(DATA, 4, 2, Some(vec![0; 12]));
    assert_eq!(flight.there(), 12);
    let tags = [12, 13, 14].map(|index| flight.start(draft(OpKind::Put, index, index), 0));
    flight.finish(tags[1], &Outcome::Done).unwrap();
    assert_eq!(flight.there(), 12);
    flight.finish(tags[0], &Outcome::Done).unwrap();
    assert_eq!(flight.there(), 14);
    flight.finish(tags[2], &Outcome::Done).unwrap();
    assert_eq!(flight.there(), 15);
    assert!(read(&mut flight, 13, &Outcome::Value(&value(13, 13))).is_ok());
    assert!(read(&mut flight, 14, &Outcome::Absent).is_err());
}

/// Entries of a map as a scan brings them.
fn rows(indexes: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut rows = Vec::new();
    for index in indexes {
        rows.push(MAP_KEY_BYTES as u8);
        rows.extend((index % MAP_ENTRIES).to_be_bytes());
        rows.push(32);
        rows.extend(value(index, 0));
    }
    rows
}

fn scan(index: u64, limit: u32, rows: &[u8], more: bool) -> Result<(), String> {
    let data = Dataset { records: 2500, maps: true, ..DATA };
    let mut flight = Flight::new(data, 4, 0, Some(vec![0; 2500]));
    let tag = flight.start(draft(OpKind::Scan(limit), index, 0), 0);
    let entries = Entries::check(rows, more).unwrap();
    let judged = flight.finish(tag, &Outcome::Entries(entries));
    assert_eq!(flight.take_tally().wrong, u64::from(judged.is_err()));
    judged.map_err(|error| error.to_string())
}

#[test]
fn a_scan_brings_what_follows_in_its_map() {
    assert_eq!(scan(7, 3, &rows(7..10), true), Ok(()));
    assert_eq!(scan(998, 9, &rows(998..1000), false), Ok(()), "up to the end of the map");
    assert_eq!(scan(2495, 9, &rows(2495..2500), false), Ok(()), "up to the last record");
    let fresh = (2495..2503).filter(|index| *index != 2501);
    assert_eq!(scan(2495, 9, &rows(fresh), false), Ok(()), "inserts under way are there or not");
    assert_eq!(scan(7, 9, &rows(7..9), true), Ok(()), "a scan may be cut by its bytes");
    let cases = [
        (scan(7, 3, &rows(7..9), false), "record 9 is missing in a scan: 2 of 3"),
        (scan(7, 3, &rows(8..11), false), "record 7 is missing"),
        (scan(7, 3, &rows([7, 9, 10].into_iter()), false), "record 8 is missing"),
        (scan(7, 2, &rows(7..10), false), "at most 2 entries brought 3"),
        (scan(7, 2, &rows([7, 7].into_iter()), false), "brought the map key"),
        (scan(7, 2, &rows([7, 1008].into_iter()), false), "wrong in a scan"),
        (scan(7, 2, &[], true), "record 7 is missing"),
    ];
    for (judged, want) in cases {
        let error = judged.unwrap_err();
        assert!(error.contains(want), "{error}, not {want}");
    }
}
