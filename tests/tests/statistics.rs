//! The statistics of an engine say what was done with it: on the simulated shard to the request,
//! on real ones from every side.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use aquifer::limits::{MEMORY_FIXED_BYTES, MEMORY_MIN_BYTES};
use aquifer::shard::ShardLimits;
use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::statistics::{
    Kind, RequestCounters, SCHEMA, ShardStatistics, Statistics, Tier,
};
use aquifer::state::request::{Batch, Completions};
use aquifer::state::{Key, StateKind, StateTable, Target, ValueState};
use aquifer::types::error::ErrorKind;
use aquifer_tests::client::{Client, small_limits};
use aquifer_tests::io_mode;
use aquifer_tests::model::oracle::{Op, RowKey, State};
use aquifer_tests::sim::driver::Answer;

const KEY_GROUPS: u32 = 128;

fn row(key: u8) -> RowKey {
    RowKey { state: State::Value, key, namespace: 0, map_key: Vec::new() }
}

fn map(key: u8) -> RowKey {
    RowKey { state: State::Map, ..row(key) }
}

fn entry(key: u8, number: u8) -> RowKey {
    RowKey { map_key: vec![number], ..map(key) }
}

fn count(shard: &ShardStatistics, kind: Kind, tier: Tier) -> u64 {
    let mut latencies = shard.latencies.iter();
    let latency = latencies.find(|latency| (latency.kind, latency.tier) == (kind, tier));
    latency.expect("every kind and tier is there").histogram.count()
}

#[test]
fn a_script_is_counted_to_the_request() {
    let mut client = Client::new(ShardLimits::of_memory(MEMORY_MIN_BYTES).unwrap());
    let puts =
        (0..10).flat_map(|key| [Op::Put(row(key), vec![key]), Op::Put(entry(1, key), vec![])]);
    client.run(&puts.collect::<Vec<_>>());
    client.run(&[Op::Delete(row(9)), Op::Get(row(0)), Op::Get(row(9)), Op::Get(row(99))]);
    client.restore();
    client.run(&[Op::Get(row(1))]);
    client.run(&[Op::Get(row(1)), Op::Get(row(2)), Op::Get(row(9)), Op::Get(row(99))]);
    client.run(&[Op::Scan(map(1), 100), Op::Clear(map(1)), Op::Get(entry(1, 1))]);
    let shard = client.sim.statistics();
    let states = &shard.stores[0].states;
    let of = |name: &str| states.iter().find(|state| state.name == name).unwrap().requests;
    let value = RequestCounters { gets: 5, ..of("value") };
    assert_eq!(value, of("value"), "{states:?}");
    assert_eq!(value.total(), 5);
    // Row 1 was read, and then in memory. The deletion is a row too.
    assert_eq!(value.row_hits + value.filter_negatives + value.dfs_gets, 5, "{value:?}");
    assert!(value.row_hits >= 1 && value.dfs_gets >= 2, "{value:?}");
    assert_eq!((value.absent, value.failed), (2, 0));
    let map = of("map");
    assert_eq!((map.scans, map.clears, map.gets, map.absent), (1, 1, 1, 1));
    assert_eq!(shard.counters.requests.total(), 8);
    // Each request that read is timed, and no other.
    assert_eq!(count(&shard, Kind::Get, Tier::Dfs), shard.counters.requests.dfs_gets);
    assert_eq!(count(&shard, Kind::Scan, Tier::Dfs), 1);
    assert_eq!(shard.in_flight.suspended + shard.in_flight.extents, 0);
}

#[test]
fn what_waits_is_seen_waiting_and_then_timed() {
    let limits = ShardLimits {
        rows_bytes_min: 3 << 20,
        flush_bytes: 4 << 10,
        job_bytes_max: 1 << 20,
        table_bytes_target: 48 << 10,
        ..small_limits()
    };
    let mut client = Client::new(limits);
    client.sim.faults.job_steps_max = 0;
    let puts: Vec<Op> = (0..30).map(|key| Op::Put(row(key), vec![key; 1000])).collect();
    // Their flush begins, and takes no step.
    client.run(&puts[..16]);
    client.submit(0, &puts);
    let answered = client.turns(20).answers.len() as u64;
    let shard = client.sim.statistics();
    assert_eq!((shard.in_flight.stalled, shard.counters.stalls), (30 - answered, 30 - answered));
    assert!(shard.in_flight.request_bytes >= 1000 * (30 - answered) && answered < 30);
    assert_eq!((shard.jobs.flushes_running, shard.counters.flushes), (1, 0));
    assert!(shard.jobs.flush_debt_bytes >= 1000 && shard.jobs.pace > 0, "{:?}", shard.jobs);
    client.sim.faults.job_steps_max = 16;
    assert_eq!(client.turns(5000).answers.len() as u64, 30 - answered);
    let shard = client.sim.statistics();
    assert_eq!(count(&shard, Kind::Write, Tier::Waited), 30 - answered);
    assert_eq!((shard.in_flight.stalled, shard.in_flight.request_bytes), (0, 0));
    assert!(shard.counters.flushes > 0);
}

#[test]
fn rows_take_what_the_other_purposes_leave_of_the_budget() {
    let limits = ShardLimits {
        flush_bytes: 1 << 20,
        ..ShardLimits::of_memory(MEMORY_MIN_BYTES).expect("it is the minimum")
    };
    let mut client = Client::new(limits);
    for round in 0..220 {
        let puts = |key| Op::Put(entry(key, round), vec![round; 1000]);
        assert!(client.run(&(0..=255).map(puts).collect::<Vec<_>>()).contains(&Answer::Done));
        let memory = client.sim.statistics().memory;
        let parts = memory.fixed_bytes
            + memory.tables_bytes
            + memory.jobs_bytes
            + memory.buffers_bytes
            + memory.ssd_bytes
            + memory.rows_bytes;
        assert_eq!(memory.charged_bytes(), parts);
        assert!(memory.dirty_bytes <= memory.rows_bytes, "{memory:?}");
    }
    client.drain();
    let shard = client.sim.statistics();
    let memory = shard.memory;
    assert_eq!((memory.jobs_bytes, memory.dirty_bytes), (0, 0));
    assert!(memory.tables_bytes > 0 && memory.fixed_bytes == MEMORY_FIXED_BYTES as u64);
    assert!(shard.counters.rows_evicted > 0, "rows were never short of memory: {shard:?}");
    let charged = memory.charged_bytes();
    assert!(charged <= memory.budget_bytes && charged > memory.budget_bytes / 2, "{memory:?}");
    let store = &shard.stores[0];
    assert_eq!((store.rows_bytes, store.tables_bytes), (memory.rows_bytes, memory.tables_bytes));
    assert!(store.stored_bytes > 0 && store.tablets > 0 && store.runs_max > 0);
}

fn open(dfs: &str, thread: ShardThread, handle: Option<Vec<u8>>) -> (Engine, Session, ValueState) {
    let engine = Engine::open(config(dfs, thread, None)).unwrap();
    let (session, state) = session(&engine, handle);
    (engine, session, state)
}

fn config(dfs: &str, thread: ShardThread, statistics_page: Option<PathBuf>) -> Config {
    let (memory_bytes, io) = (64 << 20, io_mode());
    Config { memory_bytes, thread, io, statistics_page, ..Config::new(dfs) }
}

fn session(engine: &Engine, handle: Option<Vec<u8>>) -> (Session, ValueState) {
    let mut session = engine.session(0).unwrap();
    let mut states = StateTable::default();
    states.declare("v", StateKind::Value).unwrap();
    let config = StoreConfig {
        states,
        handles: handle.into_iter().collect(),
        ..StoreConfig::new(1, KEY_GROUPS)
    };
    let (store, states) = session.open_store(config).unwrap();
    assert_eq!(store.0, 0);
    (session, states.value(store, "v").unwrap())
}

/// Puts the numbers as values of themselves, or gets them.
fn run(session: &mut Session, state: ValueState, numbers: std::ops::Range<u64>, put: bool) {
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    for number in numbers {
        let bytes = number.to_be_bytes();
        let key = Key::new(&bytes, KEY_GROUPS);
        let target = Target { key, namespace: &[], user_data: number };
        match put {
            true => state.request_put(&mut batch, &target, &bytes).unwrap(),
            false => state.request_get(&mut batch, &target).unwrap(),
        }
    }
    while session.in_flight() > 0 || !batch.requests.is_empty() {
        session.submit(&mut batch).unwrap();
        session.poll(None, &mut done).unwrap();
    }
}

fn real(thread: ShardThread) {
    let dir = tempfile::tempdir().unwrap();
    let dfs = format!("file://{}?latency=1ms", dir.path().display());
    let (engine, mut session, state) = open(&dfs, thread, None);
    run(&mut session, state, 0..1000, true);
    run(&mut session, state, 0..500, false);
    let handle = session.checkpoint(aquifer::state::request::StoreId(0)).unwrap();
    let shard = session.statistics().unwrap();
    let all = engine.statistics();
    assert_eq!((all.schema.as_str(), all.budget_bytes), (SCHEMA, 64 << 20));
    assert_eq!(all.shards[0].counters, shard.counters, "a shard says the same from both sides");
    let requests = shard.counters.requests;
    let expected = RequestCounters { puts: 1000, gets: 500, row_hits: 500, ..requests };
    assert_eq!((requests, requests.total()), (expected, 1500));
    assert_eq!((shard.counters.checkpoints, shard.counters.flushes), (1, 1));
    assert!(all.dfs.puts >= 2 && all.dfs.put_bytes > 8000, "{:?}", all.dfs);
    let asked = all.requests();
    assert_eq!((asked.puts, asked.put_bytes), (all.dfs.puts, all.dfs.put_bytes), "{asked:?}");
    assert!(asked.billed_writes() >= 2 && asked.billed_reads() >= all.dfs.gets, "{asked:?}");
    // The first tick with requests is timed.
    assert!(count(&shard, Kind::Write, Tier::Memory) > 0);
    drop((session, engine));
    let (engine, mut session, state) = open(&dfs, thread, Some(handle));
    run(&mut session, state, 0..1000, false);
    let shard = session.statistics().unwrap();
    let requests = shard.counters.requests;
    assert_eq!((requests.gets, requests.absent, requests.failed), (1000, 0, 0));
    assert!(requests.dfs_gets > 900, "{requests:?}");
    assert_eq!(count(&shard, Kind::Get, Tier::Dfs), requests.dfs_gets);
    let all = engine.statistics();
    let (asked, reads) = (all.requests(), shard.counters.coalescer);
    assert_eq!(asked.gets, all.dfs.gets + reads.reads, "{asked:?}, {reads:?}");
    assert_eq!(asked.get_bytes, all.dfs.get_bytes + reads.read_bytes, "{asked:?}, {reads:?}");
    let read = &shard.latencies[Tier::Dfs as usize].histogram;
    assert!(read.quantile_ns(0.0) > 900_000, "the DFS takes a millisecond: {read:?}");
    assert!(shard.blocked_ns > 900_000, "the session waited for it");
    // Whatever happens to its shard, an engine answers.
    let source = engine.statistics_source();
    drop(session);
    assert_eq!(engine.statistics().shards[0].counters, shard.counters);
    drop(engine);
    assert_eq!(source.statistics().shards[0].counters, shard.counters);
}

#[test]
fn an_owned_shard_answers_while_it_runs_and_after() {
    real(ShardThread::Owned);
}

#[test]
fn an_inline_shard_answers_while_it_is_polled_and_after() {
    real(ShardThread::Inline);
}

#[test]
fn an_inline_shard_that_nobody_polls_gives_its_last_statistics_with_their_age() {
    let (engine, mut session, state) = open("memory://unpolled", ShardThread::Inline, None);
    run(&mut session, state, 0..100, true);
    let before = session.statistics().unwrap();
    let mut batch = Batch::default();
    let key = Key::new(b"more", KEY_GROUPS);
    state.request_put(&mut batch, &Target { key, namespace: &[], user_data: 0 }, b"").unwrap();
    session.submit(&mut batch).unwrap();
    let first = engine.statistics().shards.remove(0);
    let second = engine.statistics().shards.remove(0);
    assert!(second.age_ns > first.age_ns, "nothing was published meanwhile");
    assert_eq!((first.counters, second.counters), (before.counters, before.counters));
    // It was asked: the next turn publishes.
    session.poll(None, &mut Completions::default()).unwrap();
    let polled = engine.statistics().shards.remove(0);
    assert_eq!(polled.counters.requests.puts, 101);
}

#[test]
fn another_thread_reads_while_requests_run() {
    for thread in [ShardThread::Inline, ShardThread::Owned] {
        let (engine, mut session, state) = open("memory://busy", thread, None);
        let source = engine.statistics_source();
        let watch = std::thread::spawn(move || {
            let mut last = 0;
            while last < 20_000 {
                let puts = source.statistics().shards[0].counters.requests.puts;
                assert!(puts >= last, "counters only grow");
                last = puts;
            }
        });
        let mut next = 0;
        while !watch.is_finished() {
            run(&mut session, state, next..next + 100, true);
            next += 100;
        }
        watch.join().unwrap();
    }
}

#[test]
fn statistics_come_back_from_json() {
    let (engine, mut session, state) = open("memory://json", ShardThread::Inline, None);
    run(&mut session, state, 0..100, true);
    run(&mut session, state, 0..100, false);
    session.statistics().unwrap();
    let statistics = engine.statistics();
    let text = serde_json::to_string(&statistics).unwrap();
    assert_eq!(serde_json::from_str::<Statistics>(&text).unwrap(), statistics);
    // What a later version adds, and what an earlier one lacks, is no error.
    let other: Statistics = serde_json::from_str(r#"{"new": 1, "shards": [{}]}"#).unwrap();
    assert_eq!(other.shards[0], ShardStatistics::default());
}

#[test]
fn a_page_follows_the_engine_and_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.json");
    for thread in [ShardThread::Inline, ShardThread::Owned] {
        let engine = Engine::open(config("memory://page", thread, Some(path.clone()))).unwrap();
        let read =
            || -> Statistics { serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap() };
        assert_eq!((read().schema.as_str(), read().process_id), (SCHEMA, std::process::id()));
        let (mut session, state) = session(&engine, None);
        run(&mut session, state, 0..1000, true);
        let started = Instant::now();
        let puts = |all: Statistics| all.shards.first().map_or(0, |s| s.counters.requests.puts);
        while puts(read()) < 1000 {
            assert!(started.elapsed() < Duration::from_secs(60), "the page does not follow");
            run(&mut session, state, 0..1, false);
        }
        drop(engine);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the page is removed");
    }
}

#[test]
fn a_page_that_cannot_be_written_is_refused_when_the_engine_opens() {
    let dir = tempfile::tempdir().unwrap();
    let page = Some(dir.path().join("missing").join("page.json"));
    let Err(error) = Engine::open(config("memory://nowhere", ShardThread::Inline, page)) else {
        panic!("it opens");
    };
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.text.contains("missing") && error.text.contains("make it first"), "{error}");
}
