//! Reads that bring a part of their bytes, failing or not: nothing of their buffers is used.

use aquifer::shard::ShardLimits;
use aquifer::types::error::ErrorKind;
use aquifer_tests::client::{Client, small_limits};
use aquifer_tests::model::oracle::{Op, RowKey, State};
use aquifer_tests::sim::driver::Answer;
use aquifer_tests::sim::faults::Fault;
use aquifer_tests::sim::rng::Rng;

const ROWS: u16 = 2000;

/// Short reads of merges, of which half pass for whole.
const SHORT_READS: u64 = 40;
/// Rewrites of all rows until then.
const FILLS_MAX: usize = 100;

fn entry(number: u16) -> RowKey {
    let map_key = number.to_be_bytes().to_vec();
    RowKey { state: State::Map, key: 1, namespace: 0, map_key }
}

/// Bytes that do not compress, so that units fill their pages.
fn value(number: u16) -> Vec<u8> {
    let mut rng = Rng::new(u64::from(number));
    (0..400).map(|_| rng.next_u64() as u8).collect()
}

/// Puts `ROWS` entries of a map; tables that are flushed on the way overlap.
fn fill(client: &mut Client) {
    let numbers: Vec<u16> = (0..ROWS).map(|number| number * 7 % ROWS).collect();
    for chunk in numbers.chunks(100) {
        let puts: Vec<Op> = chunk.iter().map(|&n| Op::Put(entry(n), value(n))).collect();
        assert!(client.run(&puts).iter().all(|answer| *answer == Answer::Done));
    }
}

fn client() -> Client {
    Client::new(ShardLimits {
        rows_bytes_min: 3 << 20,
        flush_bytes: 64 << 10,
        job_bytes_max: 1 << 20,
        table_bytes_target: 256 << 10,
        ..small_limits()
    })
}

fn get_all(client: &mut Client) -> Vec<Answer> {
    let gets: Vec<Op> = (0..ROWS).step_by(7).map(|number| Op::Get(entry(number))).collect();
    // One by one, so that reads stay apart.
    gets.into_iter().flat_map(|get| client.run(&[get])).collect()
}

fn is_right((at, answer): (usize, &Answer)) -> bool {
    *answer == Answer::Value(value(at as u16 * 7))
}

#[test]
fn a_get_takes_nothing_of_a_short_read() {
    let mut client = client();
    fill(&mut client);
    client.restore();
    client.sim.faults[Fault::ReadShort] = 10_000;
    let answers = get_all(&mut client);
    let failed = |wanted: ErrorKind| {
        let is_it = |a: &&Answer| matches!(a, Answer::Failed(kind, _) if *kind == wanted);
        answers.iter().filter(is_it).count()
    };
    let (io, corrupt) = (failed(ErrorKind::Io), failed(ErrorKind::Corrupt));
    let right = answers.iter().enumerate().filter(|&one| is_right(one)).count();
    println!("{io} said that they were short, {corrupt} did not, {right} brought what was needed");
    // A part may hold all of a unit.
    assert_eq!(io + corrupt + right, answers.len());
    assert!(io > 0 && corrupt > 0, "{answers:.1000?}");
    client.sim.faults[Fault::ReadShort] = 0;
    assert!(get_all(&mut client).iter().enumerate().all(is_right));
}

#[test]
fn a_merge_takes_nothing_of_a_short_read() {
    let mut client = client();
    // Only jobs read meanwhile. Most merges must pass: after many failures writes are refused.
    client.sim.faults[Fault::ReadShort] = 4_000;
    for _ in 0..FILLS_MAX {
        fill(&mut client);
        if client.sim.met[Fault::ReadShort] >= SHORT_READS {
            break;
        }
    }
    assert!(
        client.sim.met[Fault::ReadShort] >= SHORT_READS,
        "{} reads were short",
        client.sim.met[Fault::ReadShort]
    );
    let counters = client.counters();
    assert!(counters.job_failures > 0 && counters.merges > 0, "{counters:?}");
    client.sim.faults[Fault::ReadShort] = 0;
    client.drain();
    client.restore();
    assert!(get_all(&mut client).iter().enumerate().all(is_right));
}
