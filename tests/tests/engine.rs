//! The engine through its face, on a real disk.

use std::collections::BTreeMap;

use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::ControlOp;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target, ValueState};
use aquifer_tests::io_mode;

const KEY_GROUPS: u32 = 128;

fn states() -> StateTable {
    let mut states = StateTable::default();
    states.declare("v", StateKind::Value).unwrap();
    states
}

fn store_config(handle: Option<Vec<u8>>) -> StoreConfig {
    StoreConfig {
        states: states(),
        handles: handle.into_iter().collect(),
        ..StoreConfig::new(1, KEY_GROUPS)
    }
}

fn open(dfs: &str, thread: ShardThread) -> (Engine, Session) {
    let (memory_bytes, io) = (64 << 20, io_mode());
    let config = Config { memory_bytes, thread, io, ..Config::new(dfs) };
    let engine = Engine::open(config).unwrap();
    let session = engine.session(0).unwrap();
    (engine, session)
}

fn put_all(session: &mut Session, state: ValueState, entries: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    for (key, value) in entries {
        let key = Key::new(key, KEY_GROUPS);
        let target = Target { key, namespace: &[], user_data: 0 };
        state.request_put(&mut batch, &target, value).unwrap();
        if batch.requests.len() == 256 {
            flush(session, &mut batch, &mut done);
        }
    }
    while session.in_flight() > 0 || !batch.requests.is_empty() {
        flush(session, &mut batch, &mut done);
    }
}

fn flush(session: &mut Session, batch: &mut Batch, done: &mut Completions) {
    session.submit(batch).unwrap();
    session.poll(None, done).unwrap();
    assert!(done.items.iter().all(|c| c.status == Status::Done), "{:?}", done.errors);
}

fn check_all(session: &mut Session, state: ValueState, entries: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    let all: Vec<_> = entries.iter().collect();
    let (mut asked, mut seen) = (0, 0);
    while seen < all.len() {
        while asked < all.len() && batch.requests.len() < 256 && asked - seen < 1024 {
            let key = Key::new(all[asked].0, KEY_GROUPS);
            let target = Target { key, namespace: &[], user_data: asked as u64 };
            state.request_get(&mut batch, &target).unwrap();
            asked += 1;
        }
        session.submit(&mut batch).unwrap();
        session.poll(None, &mut done).unwrap();
        for item in &done.items {
            assert_eq!(
                item.status,
                Status::Value,
                "key {:?} {:?}",
                all[item.user_data as usize].0,
                done.errors
            );
            assert_eq!(done.value(item), &all[item.user_data as usize].1[..]);
            seen += 1;
        }
    }
}

fn entries(count: u64, version: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    (0..count)
        .map(|i| {
            let scattered = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            let mut value = vec![0; 100 + (i % 7) as usize];
            value[..8].copy_from_slice(&i.to_le_bytes());
            value[8..16].copy_from_slice(&version.to_le_bytes());
            (scattered.to_vec(), value)
        })
        .collect()
}

fn survives(thread: ShardThread) {
    let dir = tempfile::tempdir().unwrap();
    let dfs = format!("file://{}", dir.path().display());
    let all = entries(900_000, 1);
    let handle;
    {
        let (_engine, mut session) = open(&dfs, thread);
        let (store, states) = session.open_store(store_config(None)).unwrap();
        let state = states.value(store, "v").unwrap();
        put_all(&mut session, state, &all);
        check_all(&mut session, state, &all);
        handle = session.checkpoint(store).unwrap();
        // What comes after the cut is forgotten.
        put_all(&mut session, state, &entries(1000, 2));
        session.run_control(ControlOp::Drain(store)).unwrap();
        let counters = session.statistics().unwrap().counters;
        assert!(counters.flushes > 3, "{counters:?}");
        assert!(counters.merges > 0, "{counters:?}");
        assert!(counters.coalescer.reads > 0, "{counters:?}");
    }
    let (_engine, mut session) = open(&dfs, thread);
    let (store, states) = session.open_store(store_config(Some(handle))).unwrap();
    let state = states.value(store, "v").unwrap();
    check_all(&mut session, state, &all);
    assert_eq!(store, StoreId(0));
}

#[test]
fn an_inline_store_survives_a_restore() {
    survives(ShardThread::Inline);
}

#[test]
fn an_owned_store_survives_a_restore() {
    survives(ShardThread::Owned);
}

#[test]
fn no_session_gets_what_another_asked_for() {
    let dfs = "memory://sessions-that-leave";
    let entries: BTreeMap<_, _> = (0..500_u32).map(|n| (n.to_be_bytes().into(), vec![7])).collect();
    let (_engine, mut session) = open(dfs, ShardThread::Owned);
    let (store, states) = session.open_store(store_config(None)).unwrap();
    put_all(&mut session, states.value(store, "v").unwrap(), &entries);
    let handle = session.checkpoint(store).unwrap();

    let (engine, mut leaves) = open(&format!("{dfs}?latency=20ms"), ShardThread::Owned);
    let (store, states) = leaves.open_store(store_config(Some(handle))).unwrap();
    let state = states.value(store, "v").unwrap();
    let get = |session: &mut Session, keys: std::ops::Range<u32>, user_data: u64| {
        let mut batch = Batch::default();
        for key in keys.map(u32::to_be_bytes) {
            let target = Target { key: Key::new(&key, KEY_GROUPS), namespace: &[], user_data };
            state.request_get(&mut batch, &target).unwrap();
        }
        session.submit(&mut batch).unwrap();
    };
    get(&mut leaves, 0..100, 1);
    drop(leaves);
    // While the shard finds out; the next one could take the place of the one that left.
    let another = engine.session(0).unwrap();
    another.statistics().unwrap();
    another.statistics().unwrap();
    let mut next = engine.session(0).unwrap();
    get(&mut next, 0..1, 2);
    let mut done = Completions::default();
    while next.in_flight() > 0 {
        next.poll(None, &mut done).unwrap();
        assert!(done.items.iter().all(|item| item.user_data == 2), "{:?}", done.items);
    }
}
