//! What a write that must wait holds up: what is ordered behind it, and nothing else.

use aquifer::shard::ShardLimits;
use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer_tests::client::{Client, small_limits};
use aquifer_tests::model::oracle::{Op, RowKey, State};
use aquifer_tests::sim::driver::Answer;

const VALUE_BYTES: usize = 1000;
const TURNS: usize = 60;

fn limits() -> ShardLimits {
    ShardLimits {
        rows_bytes_min: 3 << 20,
        flush_bytes: 4 << 10,
        job_bytes_max: 1 << 20,
        table_bytes_target: 48 << 10,
        ..small_limits()
    }
}

fn row(key: u8) -> RowKey {
    RowKey { state: State::Value, key, namespace: 0, map_key: Vec::new() }
}

fn map(key: u8) -> RowKey {
    RowKey { state: State::Map, ..row(key) }
}

fn entry(key: u8) -> RowKey {
    RowKey { map_key: vec![1], ..map(key) }
}

fn value(byte: u8) -> Vec<u8> {
    vec![byte; VALUE_BYTES]
}

/// A store whose keys 0 to 8 hold their number, and where a put of key 0 waits: that of key 8 took
/// the room that writes have while a flush is silent.
fn stalled() -> Client {
    let mut client = Client::new(limits());
    client.sim.faults.job_steps_max = 0;
    let puts =
        (0..8).flat_map(|key| [Op::Put(row(key), value(key)), Op::Put(entry(key), value(key))]);
    let answers = client.run(&puts.collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| *answer == Answer::Done));
    assert_eq!(client.run(&[Op::Put(row(8), value(8))]), [Answer::Done]);
    client.submit(0, &[Op::Put(row(0), value(100))]);
    assert!(client.turns(TURNS).answers.is_empty());
    client
}

fn go_on(client: &mut Client) {
    client.sim.faults.job_steps_max = 16;
}

#[test]
fn a_stalled_write_holds_up_no_read_of_another_key() {
    let mut client = stalled();
    client.submit(1, &[Op::Get(row(1)), Op::Get(entry(0)), Op::Get(row(9))]);
    let answers = client.turns(TURNS).answers;
    assert_eq!(answers.get(&1), Some(&Answer::Value(value(1))));
    assert_eq!(answers.get(&2), Some(&Answer::Value(value(0))));
    assert_eq!(answers.get(&3), Some(&Answer::Absent));
}

#[test]
fn a_read_sees_the_stalled_write_of_its_key() {
    let mut client = stalled();
    client.submit(1, &[Op::Get(row(0)), Op::Put(row(1), value(101)), Op::Get(row(1))]);
    assert!(client.turns(TURNS).answers.is_empty());
    go_on(&mut client);
    let answers = client.turns(1000).answers;
    assert_eq!(answers.get(&0), Some(&Answer::Done));
    assert_eq!(answers.get(&1), Some(&Answer::Value(value(100))));
    assert_eq!(answers.get(&3), Some(&Answer::Value(value(101))));
}

#[test]
fn a_key_is_free_again_when_its_writes_took_effect() {
    let mut client = stalled();
    client.submit(1, &[Op::Put(row(0), value(101)), Op::Put(row(1), value(101))]);
    go_on(&mut client);
    assert_eq!(client.turns(1000).answers.len(), 3);
    // A flush that makes no step, and as much again.
    client.sim.faults.job_steps_max = 0;
    for keys in [20..40, 40..60] {
        client.submit(10, &keys.map(|key| Op::Put(row(key), value(key))).collect::<Vec<_>>());
        client.turns(TURNS);
    }
    client.submit(3, &[Op::Put(row(1), value(102)), Op::Get(row(0)), Op::Get(row(1))]);
    let answers = client.turns(TURNS).answers;
    assert_eq!(answers.get(&4), Some(&Answer::Value(value(101))));
    assert_eq!(answers.get(&5), None);
}

#[test]
fn a_stalled_clear_holds_up_its_map() {
    let mut client = stalled();
    client.submit(1, &[Op::Clear(map(1)), Op::Get(entry(1)), Op::Get(entry(2))]);
    let answers = client.turns(TURNS).answers;
    assert_eq!(answers.get(&2), None);
    assert_eq!(answers.get(&3), Some(&Answer::Value(value(2))));
    go_on(&mut client);
    assert_eq!(client.turns(1000).answers.get(&2), Some(&Answer::Absent));
}

#[test]
fn a_scan_sees_the_stalled_writes_before_it() {
    let mut client = stalled();
    let second = RowKey { map_key: vec![2], ..entry(0) };
    client.submit(1, &[Op::Put(second, Vec::new()), Op::Scan(map(0), 10)]);
    assert!(client.turns(TURNS).answers.is_empty());
    go_on(&mut client);
    let answers = client.turns(1000).answers;
    let Some(Answer::Entries(rows, false)) = answers.get(&2) else { panic!("{answers:?}") };
    assert!(rows.len() > VALUE_BYTES && rows.ends_with(&[1, 2, 0]), "{rows:?}");
}

#[test]
fn a_stalled_store_holds_up_no_other() {
    let mut client = stalled();
    client.open_another();
    client.submit(1, &[Op::Put(row(0), value(7)), Op::Get(row(0)), Op::Scan(map(0), 1)]);
    let answers = client.turns(TURNS).answers;
    assert_eq!(answers.get(&1), Some(&Answer::Done));
    assert_eq!(answers.get(&2), Some(&Answer::Value(value(7))));
    assert_eq!(answers.get(&3), Some(&Answer::Entries(Vec::new(), false)));
}

#[test]
fn a_cut_waits_for_the_stalled_writes_of_its_store_alone() {
    let mut client = stalled();
    let first = client.open_another();
    let second = client.store();
    client.sim.control(0, 50, ControlOp::Checkpoint(first.0));
    client.sim.control(0, 51, ControlOp::Checkpoint(second));
    let controls = client.turns(TURNS).controls;
    assert!(matches!(controls.get(&51), Some(Ok(ControlResult::Handle(_)))), "{controls:?}");
    assert_eq!(controls.len(), 1);
    go_on(&mut client);
    let ended = client.turns(1000);
    let Some(Ok(ControlResult::Handle(_))) = ended.controls.get(&50) else { panic!("{ended:?}") };
    assert_eq!(ended.answers.get(&0), Some(&Answer::Done));
}

#[test]
fn closing_a_store_answers_what_is_stalled() {
    let mut client = stalled();
    let store = client.store();
    client.sim.control(0, 50, ControlOp::Close(store));
    let answers = client.turns(1).answers;
    assert!(matches!(answers.get(&0), Some(Answer::Failed(..))), "{answers:?}");
}
