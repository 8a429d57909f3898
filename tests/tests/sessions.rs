//! What a host does with sessions: waits, is woken, declares states, lists objects, closes.

use std::time::Duration;

use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig, opening};
use aquifer::shard::session::{Armed, Session};
use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::error::ErrorKind;
use aquifer_tests::host::wait_until;

const KEY_GROUPS: u32 = 16;
const THREADS: [ShardThread; 2] = [ShardThread::Owned, ShardThread::Inline];

fn open(name: &str, thread: ShardThread) -> (Engine, Session) {
    let dfs = format!("memory://sessions-{name}-{thread:?}");
    let (memory_bytes, io) = (48 << 20, aquifer_tests::io_mode());
    let config = Config { memory_bytes, thread, io, ..Config::new(dfs) };
    let engine = Engine::open(config).unwrap();
    let session = engine.session(0).unwrap();
    (engine, session)
}

fn open_store(session: &mut Session, number: u64) -> (StoreId, StateTable) {
    let mut states = StateTable::default();
    states.declare("v", StateKind::Value).unwrap();
    let config = StoreConfig { states, ..StoreConfig::new(number, KEY_GROUPS) };
    session.open_store(config).unwrap()
}

fn put(batch: &mut Batch, store: StoreId, states: &StateTable, name: &str, key: u64) {
    let bytes = key.to_be_bytes();
    let target = Target { key: Key::new(&bytes, KEY_GROUPS), namespace: &[], user_data: key };
    states.value(store, name).unwrap().request_put(batch, &target, &bytes).unwrap();
}

/// Arms `session`. An answer may be taken before its bell rings: then there is one look more.
fn arm(session: &mut Session, done: &mut Completions) {
    for _ in 0..100 {
        if matches!(session.arm().unwrap(), Armed::For(_)) {
            return;
        }
        assert_eq!(session.poll(None, done).unwrap(), 0);
    }
    panic!("a session with nothing to do is not armed");
}

#[test]
fn a_host_that_submits_much_before_it_polls_gets_everything() {
    for thread in THREADS {
        let (_engine, mut session) = open("much", thread);
        let (store, states) = open_store(&mut session, 1);
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        // Each batch takes places in the rings of the session, there and back.
        for key in 0..4000 {
            put(&mut batch, store, &states, "v", key);
            assert_eq!(session.submit(&mut batch).unwrap(), 1);
        }
        std::thread::sleep(Duration::from_millis(20));
        let mut seen = 0;
        while session.in_flight() > 0 {
            let ended = session.poll(Some(Duration::from_secs(20)), &mut done).unwrap();
            assert!(ended > 0, "{seen} of 4000 ended ({thread:?})");
            seen += ended;
        }
        assert_eq!(seen, 4000);
    }
}

#[test]
fn a_wake_ends_a_poll_and_an_arm() {
    for thread in THREADS {
        let (_engine, mut session) = open("wake", thread);
        let (store, states) = open_store(&mut session, 1);
        let mut done = Completions::default();
        let waker = session.waker();
        arm(&mut session, &mut done);
        waker.wake();
        assert_eq!(session.arm().unwrap(), Armed::Ready);
        assert_eq!(session.poll(None, &mut done).unwrap(), 0);
        arm(&mut session, &mut done);
        let mut batch = Batch::default();
        put(&mut batch, store, &states, "v", 1);
        session.submit(&mut batch).unwrap();
        assert_eq!(session.poll(None, &mut done).unwrap(), 1);
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert_eq!(session.arm().unwrap(), Armed::Ready, "the wake came");
    }
}

#[test]
fn a_wake_ends_a_poll_that_waits_and_the_one_behind_a_call_that_slept_through_it() {
    // A list waits for its manifest, which this DFS brings long after.
    let dfs = "memory://sessions-slept?latency=3s";
    let (memory_bytes, io) = (48 << 20, aquifer_tests::io_mode());
    for thread in THREADS {
        let config = Config { memory_bytes, thread, io, ..Config::new(dfs) };
        let engine = Engine::open(config).unwrap();
        let mut session = engine.session(0).unwrap();
        let (store, _) = open_store(&mut session, 1);
        let handle = session.checkpoint(store).unwrap();
        session.start_control(ControlOp::List(handle)).unwrap();
        let (waker, mut done) = (session.waker(), Completions::default());
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            waker.wake();
        });
        assert_eq!(session.poll(None, &mut done).unwrap(), 0);
        assert!(session.finished_control().is_none(), "the poll slept on ({thread:?})");
        other.join().unwrap();
        session.waker().wake();
        // It looks at the bell, which rang, and goes on until it has its own answer.
        session.run_control(ControlOp::Close(store)).unwrap();
        assert_eq!(session.poll(None, &mut done).unwrap(), 0);
        assert!(session.finished_control().is_none(), "the poll waited ({thread:?})");
    }
}

#[test]
fn a_request_for_a_closed_store_does_not_reach_the_one_in_its_place() {
    for thread in THREADS {
        let (_engine, mut session) = open("stale", thread);
        let (old, states) = open_store(&mut session, 1);
        session.run_control(ControlOp::Close(old)).unwrap();
        let (new, _) = open_store(&mut session, 2);
        assert_ne!(old, new);
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        put(&mut batch, old, &states, "v", 7);
        session.submit(&mut batch).unwrap();
        assert_eq!(session.poll(None, &mut done).unwrap(), 1);
        assert_eq!(done.errors[0].kind, ErrorKind::Closed);
        for op in [ControlOp::Close(old), ControlOp::Checkpoint(old), ControlOp::Drain(old)] {
            assert_eq!(session.run_control(op).unwrap_err().kind, ErrorKind::Closed);
        }
    }
}

#[test]
fn states_can_be_declared_after_writes_and_are_in_the_checkpoint() {
    let (_engine, mut session) = open("declare", ShardThread::Inline);
    let (store, states) = open_store(&mut session, 1);
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    put(&mut batch, store, &states, "v", 1);
    session.submit(&mut batch).unwrap();
    session.poll(None, &mut done).unwrap();
    let declare = |name: &str, kind| ControlOp::Declare(store, name.to_owned(), kind);
    let declared = session.run_control(declare("w", StateKind::Value)).unwrap();
    let ControlResult::Declared(id, states) = declared.clone() else { panic!("{declared:?}") };
    assert_eq!((id.0, states.len()), (2, 2));
    assert_eq!(session.run_control(declare("w", StateKind::Value)).unwrap(), declared);
    let refused = session.run_control(declare("w", StateKind::List)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    put(&mut batch, store, &states, "w", 2);
    session.submit(&mut batch).unwrap();
    session.poll(None, &mut done).unwrap();
    assert_eq!(done.items[0].status, Status::Done);

    let handle = session.checkpoint(store).unwrap();
    let listed = session.run_control(ControlOp::List(handle.clone())).unwrap();
    let ControlResult::Objects(objects) = listed else { panic!("{listed:?}") };
    let names: Vec<String> = objects.iter().map(|object| object.name.to_string()).collect();
    assert!(names.len() >= 2 && names[0].contains("/manifest-"), "{names:?}");
    assert!(names[1..].iter().all(|name| name.contains("/sst-")), "{names:?}");
    let broken = session.run_control(ControlOp::List(handle[1..].to_vec())).unwrap_err();
    assert_eq!(broken.kind, ErrorKind::Corrupt);

    let config = StoreConfig { handles: vec![handle], ..StoreConfig::new(1, KEY_GROUPS) };
    let (store, states) = session.open_store(config).unwrap();
    assert_eq!(states.len(), 2);
    let bytes = 2_u64.to_be_bytes();
    let target = Target { key: Key::new(&bytes, KEY_GROUPS), namespace: &[], user_data: 0 };
    states.value(store, "w").unwrap().request_get(&mut batch, &target).unwrap();
    session.submit(&mut batch).unwrap();
    session.poll(None, &mut done).unwrap();
    assert_eq!(done.value(&done.items[0]), bytes);
}

#[test]
fn an_engine_that_closes_ends_the_polls_of_its_sessions() {
    let (engine, mut session) = open("close", ShardThread::Owned);
    let (store, _) = open_store(&mut session, 1);
    let host = std::thread::spawn(move || {
        let mut done = Completions::default();
        loop {
            if let Err(error) = session.run_control(ControlOp::Drain(store)) {
                // A bell that rang for the first error may end one poll with nothing.
                let mut polls = std::iter::repeat_with(|| session.poll(None, &mut done));
                return (error, polls.find_map(Result::err).expect("it ends"));
            }
        }
    });
    std::thread::sleep(Duration::from_millis(20));
    engine.close(Duration::from_secs(10)).unwrap();
    let (first, second) = host.join().unwrap();
    assert_eq!((first.kind, second.kind), (ErrorKind::Closed, ErrorKind::Closed));
}

#[test]
fn a_store_whose_opening_nobody_took_is_closed_when_its_session_leaves() {
    let (engine, mut session) = open("untaken", ShardThread::Owned);
    session.start_control(opening(StoreConfig::new(1, KEY_GROUPS)).unwrap()).unwrap();
    let stores = || engine.statistics().shards[0].stores.len();
    wait_until("it is open", || stores() == 1);
    drop(session);
    wait_until("it is closed", || stores() == 0);
}

#[test]
fn a_store_that_opens_after_its_session_left_is_closed() {
    let name = "memory://sessions-left?latency=100ms";
    let (memory_bytes, io) = (48 << 20, aquifer_tests::io_mode());
    let engine = Engine::open(Config { memory_bytes, io, ..Config::new(name) }).unwrap();
    let (mut leaves, mut stays) = (engine.session(0).unwrap(), engine.session(0).unwrap());
    let (store, _) = open_store(&mut stays, 1);
    let handle = stays.checkpoint(store).unwrap();
    stays.run_control(ControlOp::Close(store)).unwrap();
    let config = StoreConfig { handles: vec![handle.clone()], ..StoreConfig::new(1, KEY_GROUPS) };
    let gets = engine.statistics().dfs.gets;
    leaves.start_control(opening(config).unwrap()).unwrap();
    drop(leaves);
    // What begins behind that ends behind the opening.
    wait_until("the manifest is there", || engine.statistics().dfs.gets > gets);
    stays.run_control(ControlOp::List(handle)).unwrap();
    wait_until("it is closed", || engine.statistics().shards[0].stores.is_empty());
}
