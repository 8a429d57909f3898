//! A restored store serves before its tables are open. Those that cannot be opened hold up what
//! needs them, and nothing else.

use aquifer::limits::{RUNS_MAX, RUNS_PACE};
use aquifer::shard::ShardLimits;
use aquifer::shard::values::ControlOp;
use aquifer_tests::client::{Client, small_limits};
use aquifer_tests::model::oracle::{Op, RowKey, State};
use aquifer_tests::sim::driver::Answer;
use aquifer_tests::sim::faults::Fault;

const OLD: u8 = 20;

fn row(key: u8) -> RowKey {
    RowKey { state: State::Value, key, namespace: 0, map_key: Vec::new() }
}

fn put(key: u8) -> Op {
    Op::Put(row(key), vec![key; 1000])
}

/// A store of the keys 0 to 19 that was just restored, and whose tables cannot be opened.
fn restored() -> Client {
    let mut client = Client::new(ShardLimits {
        rows_bytes_min: 3 << 20,
        flush_bytes: 4 << 10,
        table_bytes_target: 48 << 10,
        ..small_limits()
    });
    let puts: Vec<Op> = (0..OLD).map(put).collect();
    assert!(client.run(&puts).iter().all(|answer| *answer == Answer::Done));
    client.drain();
    client.sim.faults[Fault::ReopenError] = 10_000;
    client.restore();
    client
}

#[test]
fn a_read_fails_with_what_keeps_its_table_from_opening() {
    let mut client = restored();
    let answers = client.run(&[Op::Get(row(1)), put(2), Op::Get(row(2))]);
    assert!(matches!(&answers[0], Answer::Failed(_, text) if text.contains("open")), "{answers:?}");
    assert_eq!(answers[1..], [Answer::Done, Answer::Value(vec![2; 1000])]);
    client.sim.faults[Fault::ReopenError] = 0;
    assert_eq!(client.run(&[Op::Get(row(1))]), [Answer::Value(vec![1; 1000])]);
}

#[test]
fn a_checkpoint_does_not_wait_for_tables_that_are_read_in_vain() {
    let mut client = restored();
    assert_eq!(client.run(&[put(2)]), [Answer::Done]);
    client.sim.control(0, 1000, ControlOp::Checkpoint(client.store()));
    // Each of them has the table opened again, and fails.
    let cut = (0..1000).find_map(|number| {
        client.submit(number, &[Op::Get(row(1))]);
        client.turns(1).controls.remove(&1000)
    });
    cut.expect("the flush goes on").unwrap();
    assert!(client.counters().job_failures > 0, "{:?}", client.counters());
}

#[test]
fn nothing_is_merged_above_tables_that_are_not_open() {
    let mut client = restored();
    assert_eq!(client.run(&[Op::Delete(row(0))]), [Answer::Done]);
    // Each flush adds a run to the tablet, whose tables cannot be opened: it is due for a merge,
    // which would forget the deletion if it took these runs for all there are.
    let mut key = OLD;
    while client.counters().flushes < 2 * (RUNS_MAX + RUNS_PACE) as u64 {
        key += 1;
        assert_eq!(client.run(&[put(key)]), [Answer::Done]);
    }
    client.turns(2000);
    let counters = client.counters();
    assert!(counters.job_failures > 0 && counters.merges == 0, "{counters:?}");
    client.sim.faults[Fault::ReopenError] = 0;
    client.turns(1000);
    client.drain();
    assert!(client.counters().merges > 0, "{:?}", client.counters());
    client.restore();
    let gets: Vec<Op> = (0..=key).map(|key| Op::Get(row(key))).collect();
    for (key, answer) in client.run(&gets).into_iter().enumerate() {
        let written = key > 0 && key != usize::from(OLD);
        let expected = Answer::Value(vec![key as u8; 1000]);
        assert_eq!(answer, if written { expected } else { Answer::Absent }, "key {key}");
    }
}
