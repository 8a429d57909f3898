//! How many reads requests cost, by counters: reads are shared, neighbours are read together, and
//! filters spare the reads of absent keys.

use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::ShardLimits;
use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer::state::request::{Batch, StoreId};
use aquifer::state::{Key, Target};
use aquifer::types::error::ErrorKind;
use aquifer_tests::client::Client;
use aquifer_tests::model::oracle::{KEY_GROUPS, Op, RowKey, State, declared};
use aquifer_tests::sim::driver::Answer;
use aquifer_tests::sim::faults::Fault;
use aquifer_tests::sim::rng::Rng;

fn client() -> Client {
    without_ssd(ShardLimits::of_memory(MEMORY_MIN_BYTES).expect("it is the minimum"))
}

fn entry(number: u16) -> RowKey {
    let map_key = number.to_be_bytes().to_vec();
    RowKey { state: State::Map, key: 1, namespace: 0, map_key }
}

/// A store of one map whose entries are random bytes of `len`, restored: nothing is in memory.
fn restored(entries: u16, len: usize) -> Client {
    let mut client = client();
    fill(&mut client, entries, len);
    client.restore();
    client
}

fn fill(client: &mut Client, entries: u16, len: usize) {
    let mut rng = Rng::new(2);
    let puts: Vec<Op> = (0..entries)
        .map(|number| Op::Put(entry(number), (0..len).map(|_| rng.next_u64() as u8).collect()))
        .collect();
    assert!(client.run(&puts).iter().all(|answer| *answer == Answer::Done));
}

/// A client whose reads all go to the DFS: the disk of its cache refuses all.
fn without_ssd(limits: ShardLimits) -> Client {
    let mut client = Client::new(limits);
    client.sim.faults[Fault::SsdError] = 10_000;
    client
}

fn found(answers: &[Answer]) -> bool {
    answers.iter().all(|answer| matches!(answer, Answer::Value(_)))
}

#[test]
fn gets_of_one_row_share_one_read() {
    let mut client = restored(1, 100);
    let gets = vec![Op::Get(entry(0)); 50];
    assert!(found(&client.run(&gets)));
    let counters = client.counters().coalescer;
    assert_eq!((counters.needs, counters.reads, counters.joins), (50, 1, 49));
}

#[test]
fn gets_of_one_unit_share_one_read() {
    let mut client = restored(20, 100);
    let gets: Vec<Op> = (0..20).map(|number| Op::Get(entry(number))).collect();
    assert!(found(&client.run(&gets)));
    let counters = client.counters().coalescer;
    assert_eq!((counters.needs, counters.reads, counters.joins), (20, 1, 19));
}

/// Hits of the cache by gets of some rows, each far from the others, on an empty disk, after a
/// restore from a checkpoint before which the cache was asked for them so many times.
fn hits_on_an_empty_disk(asked: usize) -> u64 {
    let mut client = Client::new(ShardLimits::of_memory(MEMORY_MIN_BYTES).expect("the minimum"));
    fill(&mut client, 4000, 400);
    let mut gets: Vec<Op> = (0..40).map(|at| Op::Get(entry(at * 90 + 50))).collect();
    for _ in 0..asked {
        // Each process samples in the same rhythm.
        gets.rotate_left(7);
        client.restore();
        client.turns(500);
        assert!(found(&client.run(&gets)));
    }
    client.sim.lose_ssd();
    client.restore();
    client.turns(2000);
    assert!(found(&client.run(&gets)));
    client.sim.statistics().ssd.hits
}

#[test]
fn what_a_checkpoint_calls_hot_is_brought_into_an_empty_cache() {
    let (cold, hot) = (hits_on_an_empty_disk(0), hits_on_an_empty_disk(60));
    assert_eq!(cold, 0, "nothing is known to be hot");
    // One hit in eight is remembered.
    assert!(hot >= 30, "{hot} of 40");
}

#[test]
fn a_row_that_was_read_is_in_memory() {
    let mut client = restored(1, 100);
    for _ in 0..5 {
        assert!(found(&client.run(&[Op::Get(entry(0))])));
    }
    let counters = client.counters();
    assert_eq!((counters.coalescer.reads, counters.requests.row_hits), (1, 4));
}

#[test]
fn adjacent_units_are_read_together() {
    // 100 rows of 400 bytes fill at least 10 units, below the largest merged read.
    let mut client = restored(100, 400);
    let gets: Vec<Op> = (0..100).map(|number| Op::Get(entry(number))).collect();
    assert!(found(&client.run(&gets)));
    let counters = client.counters().coalescer;
    assert_eq!(counters.reads, 1);
    assert!(counters.merged >= 9, "{counters:?}");
    assert_eq!(counters.needs, counters.joins + counters.merged + counters.reads);
}

#[test]
fn distant_units_are_read_apart() {
    let mut client = restored(4000, 400);
    assert!(found(&client.run(&[Op::Get(entry(0)), Op::Get(entry(3999))])));
    let counters = client.counters().coalescer;
    assert_eq!((counters.reads, counters.merged), (2, 0));
}

/// Reads that gets of units cost which lie up to 30 KiB from each other, in an object of a store
/// that the shard knows from some gets before, and the bytes that were read between them.
fn reads_of_neighbours(latency_max: u64, is_store: bool) -> (u64, u64) {
    let mut client = restored(4000, 400);
    client.sim.faults.latency_max = latency_max;
    client.sim.faults.is_store = is_store;
    for at in 0..20 {
        assert!(found(&client.run(&[Op::Get(entry(at * 50))])));
    }
    let before = client.counters().coalescer;
    let gets: Vec<Op> = (0..50).map(|at| Op::Get(entry(2000 + at * at * 4 / 5))).collect();
    assert!(found(&client.run(&gets)));
    let after = client.counters().coalescer;
    (after.reads - before.reads, after.gap_bytes - before.gap_bytes)
}

#[test]
fn the_slower_a_store_begins_to_answer_the_more_neighbours_share_a_request() {
    let of_store = |latency_us: u64| reads_of_neighbours(latency_us * 1000, true);
    let (fast, slower, slow) = (of_store(100), of_store(3_000), of_store(20_000));
    assert!(fast.0 > slower.0 && slower.0 > slow.0, "{fast:?}, {slower:?}, {slow:?}");
    assert!(fast.1 < slower.1 && slower.1 < slow.1, "{fast:?}, {slower:?}, {slow:?}");
    // Of a file nothing is read for nothing, however slow it is.
    let file = reads_of_neighbours(20_000_000, false);
    assert!(file.0 >= fast.0 && file.1 == 0, "{file:?}, {fast:?}");
    // The same answers teach the same.
    assert_eq!(of_store(3_000), slower);
}

/// Gets of units that are far from each other, of which the reads meet flipped bits: at the first
/// read, or whenever they are read.
fn read_with_flips(is_store: bool, at_rest: bool) -> (u64, Vec<Answer>) {
    let mut client = restored(4000, 400);
    let gets: Vec<Op> = (0..20).map(|at| Op::Get(entry(at * 190 + 100))).collect();
    assert!(found(&client.run(&[Op::Get(entry(0))])), "the table is open");
    client.sim.faults.is_store = is_store;
    client.sim.faults[Fault::ReadFlip] = 10_000;
    client.submit(0, &gets);
    let mut answers = client.turns(1).answers;
    client.sim.faults[Fault::ReadFlip] = if at_rest { 10_000 } else { 0 };
    answers.extend(client.turns(1000).answers);
    client.sim.faults[Fault::ReadFlip] = 0;
    let rereads = client.counters().rereads;
    client.restore();
    let right = client.run(&gets);
    assert!(found(&right));
    for (right, answer) in right.iter().zip(answers.values()) {
        let failed = matches!(answer, Answer::Failed(ErrorKind::Corrupt, _));
        assert!(failed || answer == right, "{answer:?}");
    }
    assert_eq!(answers.len(), gets.len());
    (rereads, answers.into_values().filter(|a| matches!(a, Answer::Failed(..))).collect())
}

#[test]
fn wrong_bytes_of_a_store_are_read_once_more() {
    let (rereads, failed) = read_with_flips(true, false);
    assert!(rereads > 10 && failed.is_empty(), "{rereads}, {failed:?}");
}

#[test]
fn bytes_that_stay_wrong_are_damage() {
    let (rereads, failed) = read_with_flips(true, true);
    assert!(rereads > 10 && failed.len() > 10, "{rereads}, {failed:?}");
    assert!(rereads <= 20, "each once: {rereads}");
}

#[test]
fn wrong_bytes_of_a_file_are_damage_at_once() {
    let (rereads, failed) = read_with_flips(false, false);
    assert!(rereads == 0 && failed.len() > 10, "{rereads}, {failed:?}");
}

#[test]
fn a_manifest_that_a_store_brought_wrong_is_loaded_once_more() {
    let mut client = restored(10, 100);
    let cut = client.ask(ControlOp::Checkpoint(client.store())).unwrap();
    let ControlResult::Handle(handle) = cut else { panic!("{cut:?}") };
    for (is_store, at_rest) in [(true, false), (true, true), (false, false)] {
        client.sim.faults.is_store = is_store;
        client.sim.faults[Fault::ReadFlip] = 10_000;
        client.sim.control(0, 77, ControlOp::List(handle.clone()));
        client.turns(1);
        client.sim.faults[Fault::ReadFlip] = if at_rest { 10_000 } else { 0 };
        let listed = client.turns(100).controls.remove(&77).expect("an answer");
        client.sim.faults[Fault::ReadFlip] = 0;
        assert_eq!(listed.is_ok(), is_store && !at_rest, "{listed:?}");
    }
    assert_eq!(client.counters().rereads, 2);
}

#[test]
fn the_first_read_after_a_restore_opens_the_tables_of_its_tablet_alone() {
    let limits = ShardLimits::of_memory(MEMORY_MIN_BYTES).expect("it is the minimum");
    let small = ShardLimits { flush_bytes: 1 << 19, table_bytes_target: 1 << 20, ..limits };
    let mut client = without_ssd(small);
    for first in (0..300_000).step_by(1000) {
        let mut batch = Batch::default();
        for number in first..first + 1000 {
            request(&mut batch, number, Some(&[7; 100]));
        }
        client.run_batch(batch);
    }
    client.drain();
    let all = client.sim.statistics().memory.tables_bytes;
    client.restore();
    assert_eq!(
        client.sim.statistics().memory.tables_bytes,
        0,
        "a restore reads the manifest alone"
    );
    let mut batch = Batch::default();
    request(&mut batch, 77, None);
    assert_eq!(client.run_batch(batch), [Answer::Value(vec![7; 100])]);
    let opened = client.sim.statistics().memory.tables_bytes;
    assert!(opened > 0 && opened * 3 < all, "{opened} of {all} bytes");
    // The others follow unasked, some with less spare capacity than when they were built.
    client.drain();
    let opened = client.sim.statistics().memory.tables_bytes;
    assert!(opened * 10 > all * 9 && opened <= all, "{opened} of {all} bytes");
}

const ROWS: u64 = 1_000_000;
const SAMPLES: u64 = 20_000;

/// The request of a numbered row: keys scatter as hashes do.
fn request(batch: &mut Batch, number: u64, value: Option<&[u8]>) {
    let state = declared().value(StoreId(0), "value").expect("it is declared");
    let key = Rng::new(number).next_u64().to_be_bytes();
    let user_data = batch.requests.len() as u64;
    let target = Target { key: Key::new(&key, KEY_GROUPS), namespace: &[], user_data };
    match value {
        Some(value) => state.request_put(batch, &target, value),
        None => state.request_get(batch, &target),
    }
    .expect("within the limits");
}

/// Extents needed per get of these rows, by what the coalescer was asked for.
fn needs_per_get(client: &mut Client, numbers: impl Iterator<Item = u64>, exist: bool) -> f64 {
    let before = client.counters().coalescer.needs;
    let numbers: Vec<u64> = numbers.collect();
    for chunk in numbers.chunks(256) {
        let mut batch = Batch::default();
        for &number in chunk {
            request(&mut batch, number, None);
        }
        for answer in client.run_batch(batch) {
            assert_eq!(matches!(answer, Answer::Value(_)), exist, "{answer:?}");
        }
    }
    (client.counters().coalescer.needs - before) as f64 / numbers.len() as f64
}

#[test]
fn a_million_rows_cost_one_read_a_found_key_and_none_an_absent_one() {
    let mut client = client();
    for first in (0..ROWS).step_by(4096) {
        let mut batch = Batch::default();
        for number in first..(first + 4096).min(ROWS) {
            request(&mut batch, number, Some(&number.to_le_bytes()));
        }
        client.run_batch(batch);
    }
    client.drain();
    client.restore();
    let step = (ROWS / SAMPLES) as usize;
    let found = needs_per_get(&mut client, (0..ROWS).step_by(step), true);
    let absent = needs_per_get(&mut client, ROWS..ROWS + SAMPLES, false);
    assert!((1.0..=1.05).contains(&found), "{found} reads a found key");
    assert!(absent <= 0.02, "{absent} reads an absent key");
}
