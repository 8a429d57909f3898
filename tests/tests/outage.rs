//! A DFS that refuses: writes wait a while for it, then they are refused with its error. Reads go
//! on, and so does everything when it serves again.

use aquifer::limits::PATIENCE_NS_DEFAULT;
use aquifer::shard::ShardLimits;
use aquifer::shard::values::ControlOp;
use aquifer::types::error::ErrorKind;
use aquifer_tests::client::{Client, Ended, small_limits};
use aquifer_tests::model::oracle::{Op, RowKey, State};
use aquifer_tests::sim::driver::Answer;
use aquifer_tests::sim::faults::FAILURES_MAX;
use aquifer_tests::sim::faults::Fault;

const TURNS: usize = 5000;

fn row(key: u8) -> RowKey {
    RowKey { state: State::Value, key, namespace: 0, map_key: Vec::new() }
}

fn put(key: u8) -> Op {
    Op::Put(row(key), vec![key; 1000])
}

fn client(patience_ns: u64) -> Client {
    Client::new(ShardLimits {
        patience_ns,
        rows_bytes_min: 3 << 20,
        flush_bytes: 4 << 10,
        job_bytes_max: 1 << 20,
        table_bytes_target: 48 << 10,
        ..small_limits()
    })
}

/// A store whose keys 0 to 19 were written and cannot be flushed, and where puts of keys 20 to 39,
/// requests 20 to 39, were submitted.
fn cut_off() -> Client {
    patient(PATIENCE_NS_DEFAULT)
}

fn patient(patience_ns: u64) -> Client {
    let mut client = client(patience_ns);
    client.sim.faults[Fault::AppendError] = 10_000;
    let puts: Vec<Op> = (0..20).map(put).collect();
    assert!(client.run(&puts).iter().all(|answer| *answer == Answer::Done));
    client.submit(20, &(20..40).map(put).collect::<Vec<_>>());
    client
}

/// Turns until so many jobs failed.
fn fail(client: &mut Client, times: u32) -> Ended {
    let mut ended = Ended::default();
    for _ in 0..TURNS {
        if client.counters().job_failures >= u64::from(times) {
            return ended;
        }
        let Ended { answers, controls } = client.turns(1);
        ended.answers.extend(answers);
        ended.controls.extend(controls);
    }
    panic!("no job fails any more: {:?}", client.counters());
}

#[test]
fn a_short_outage_is_not_seen() {
    let mut client = cut_off();
    let answers = fail(&mut client, FAILURES_MAX - 1).answers;
    assert!(answers.values().all(|answer| *answer == Answer::Done) && answers.len() < 20);
    client.sim.faults[Fault::AppendError] = 0;
    let more = client.turns(TURNS).answers;
    assert!(more.values().all(|answer| *answer == Answer::Done));
    assert_eq!(answers.len() + more.len(), 20);
}

#[test]
fn a_long_outage_refuses_writes_with_its_cause() {
    let mut client = cut_off();
    let mut answers = fail(&mut client, FAILURES_MAX).answers;
    // What waited and what comes; a read of a key in between sees that its write was refused.
    client.submit(100, &[put(50), Op::Get(row(50)), Op::Get(row(0))]);
    answers.extend(client.turns(2).answers);
    for number in [39, 100] {
        match answers.get(&number) {
            Some(Answer::Failed(ErrorKind::Io, text)) => {
                assert!(text.contains("injected: append to 0000"), "{text}");
                assert!(text.contains("writes are taken again"), "{text}");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(answers.get(&101), Some(&Answer::Absent));
    assert_eq!(answers.get(&102), Some(&Answer::Value(vec![0; 1000])));
}

#[test]
fn writes_and_checkpoints_wait_for_as_long_as_the_host_is_patient() {
    let mut client = patient(60_000_000_000);
    client.sim.control(0, 200, ControlOp::Checkpoint(client.store()));
    // Ten seconds lie before the eleventh failure, and five before each that follows.
    let seen = fail(&mut client, FAILURES_MAX + 9);
    assert!(seen.answers.values().all(|answer| *answer == Answer::Done), "{seen:?}");
    assert!(seen.answers.len() < 20 && seen.controls.is_empty(), "{seen:?}");
    // The cut follows the writes before it, and learns of the failure after theirs.
    let mut seen = fail(&mut client, FAILURES_MAX + 11);
    let last = client.turns(2);
    seen.answers.extend(last.answers);
    seen.controls.extend(last.controls);
    assert!(matches!(seen.answers.get(&39), Some(Answer::Failed(ErrorKind::Io, _))), "{seen:?}");
    assert_eq!(seen.controls[&200].as_ref().unwrap_err().kind, ErrorKind::Io);
}

#[test]
fn a_long_outage_fails_checkpoints_with_its_cause() {
    let mut client = client(PATIENCE_NS_DEFAULT);
    client.sim.faults[Fault::AppendError] = 10_000;
    client.submit(100, &[put(50)]);
    let cut = |client: &mut Client, number| {
        client.sim.control(0, number, ControlOp::Checkpoint(client.store()));
        client.turns(TURNS).controls.remove(&number).expect("a checkpoint ends")
    };
    // Nothing else is written: only the cut waits for a flush.
    let error = cut(&mut client, 200).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.text.contains("injected: append to 0000"), "{error}");
    assert!(error.text.contains("checkpoint"), "{error}");
    assert!(client.counters().job_failures >= u64::from(FAILURES_MAX));
    // Another one fails too, until a job has succeeded.
    cut(&mut client, 201).unwrap_err();
    client.sim.faults[Fault::AppendError] = 0;
    client.turns(TURNS);
    client.restore();
    assert_eq!(client.run(&[Op::Get(row(50))]), [Answer::Value(vec![50; 1000])]);
}

#[test]
fn writes_are_taken_again_after_an_outage() {
    let mut client = cut_off();
    fail(&mut client, FAILURES_MAX + 3);
    client.turns(2);
    client.sim.faults[Fault::AppendError] = 0;
    // One job must succeed first.
    client.turns(TURNS);
    assert!(client.run(&(50..90).map(put).collect::<Vec<_>>()).iter().all(|a| *a == Answer::Done));
    client.drain();
    client.restore();
    let answers = client.run(&[Op::Get(row(0)), Op::Get(row(39)), Op::Get(row(89))]);
    assert_eq!(answers[0], Answer::Value(vec![0; 1000]));
    assert_eq!(answers[1], Answer::Absent);
    assert_eq!(answers[2], Answer::Value(vec![89; 1000]));
}

#[test]
fn a_store_without_room_learns_what_keeps_it_from_another() {
    let mut client = cut_off();
    fail(&mut client, FAILURES_MAX);
    // The room that is left goes to another store; nothing of it is flushed for its size.
    client.open_another();
    let large = |key| Op::Put(row(key), vec![key; 900 << 10]);
    client.submit(200, &[large(1), large(2), large(3), large(4)]);
    let answers = client.turns(20).answers;
    let Some(Answer::Failed(ErrorKind::Io, text)) = answers.get(&203) else { panic!() };
    assert!(text.contains("injected: append"), "{text}");
}

#[test]
fn a_table_that_cannot_be_opened_is_written_again() {
    let mut client = cut_off();
    client.sim.faults[Fault::AppendError] = 0;
    client.sim.faults[Fault::OpenError] = 10_000;
    fail(&mut client, 3);
    client.sim.faults[Fault::OpenError] = 0;
    let answers = client.turns(TURNS).answers;
    assert!(answers.values().all(|answer| *answer == Answer::Done), "{answers:?}");
    client.drain();
    client.restore();
    let answers = client.run(&[Op::Get(row(0)), Op::Get(row(39))]);
    assert_eq!(answers, [Answer::Value(vec![0; 1000]), Answer::Value(vec![39; 1000])]);
}
