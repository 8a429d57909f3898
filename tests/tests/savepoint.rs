//! Dumps of stores that random programs have written: what is imported of them answers as the
//! model does, and is exported as the same bytes, however many stores it lies in.

use std::fs;
use std::path::Path;

use aquifer::checkpoint::handle::Handle;
use aquifer::io::dfs::Dfs;
use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::lsm::manifest::Manifest;
use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::values::{ControlOp, ControlResult, OpenStore};
use aquifer::state::decode::{Entries, Items, number};
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateTable, Target};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Incarnation, ObjectName};
use aquifer_tests::client::{Client, small_limits};
use aquifer_tests::model::mixture::{everything, run_parts, write};
use aquifer_tests::model::oracle::{KEY_GROUPS, Model, Op, States, declared};
use aquifer_tests::sim::rng::Rng;
use aquifer_tools::dump::import::{Sizes, load};
use aquifer_tools::dump::{Source, export};
use aquifer_tools::objects::Root;
use indicatif::ProgressBar;

const SEEDS: u64 = 10;
const WRITES: usize = 400;

/// A table every block or two.
const SIZES: Sizes = Sizes { table_bytes: 12 << 10, tables_kept: 3 };

/// A store with its part of the key groups.
struct Part {
    range: (u16, u16),
    store: StoreId,
    states: States,
}

/// Stores that hold all key groups together, and a model of them.
struct Job {
    client: Client,
    rng: Rng,
    model: Model,
    parts: Vec<Part>,
    openings: u64,
}

impl Job {
    fn new(seed: u64) -> Self {
        let (client, rng) = (Client::new(small_limits()), Rng::new(seed));
        let (model, parts) = (Model::default(), Vec::new());
        let mut job = Self { client, rng, model, parts, openings: 100 };
        job.open(1, &[]);
        job
    }

    /// In place of the stores before.
    fn open(&mut self, count: u16, handles: &[Vec<u8>]) {
        for part in std::mem::take(&mut self.parts) {
            self.client.ask(ControlOp::Close(part.store)).unwrap();
        }
        let start = |at: u16| at * KEY_GROUPS as u16 / count;
        for at in 0..count {
            self.openings += 1;
            let range = (start(at), start(at + 1) - 1);
            let open = OpenStore {
                number: self.openings,
                incarnation: Incarnation { host_epoch: 7, nonce: self.openings.into() },
                seed: self.openings,
                key_groups: KEY_GROUPS,
                range,
                states: declared(),
                handles: handles.to_vec(),
                keep: 0,
            };
            let opened = self.client.ask(ControlOp::Open(Box::new(open))).unwrap();
            let ControlResult::Opened(store, table) = opened else { panic!("{opened:?}") };
            let states = States::of(store, &table).unwrap();
            self.parts.push(Part { range, store, states });
        }
    }

    fn run(&mut self, ops: &[Op]) {
        let parts = self.parts.iter().map(|part| (part.range, part.store, part.states));
        run_parts(&mut self.client, &mut self.model, parts, ops);
    }

    fn write(&mut self) {
        let ops: Vec<Op> = (0..WRITES).map(|_| write(&mut self.rng)).collect();
        self.run(&ops);
        if self.rng.below(3) == 0 {
            for at in 0..self.parts.len() {
                self.client.ask(ControlOp::Drain(self.parts[at].store)).unwrap();
            }
        }
    }

    /// Checkpoints of all stores, in any order.
    fn checkpoint(&mut self) -> Vec<Vec<u8>> {
        let mut handles = Vec::new();
        for part in &self.parts {
            let cut = self.client.ask(ControlOp::Checkpoint(part.store)).unwrap();
            let ControlResult::Handle(handle) = cut else { panic!("{cut:?}") };
            self.client.sim.dfs.retain(&handle);
            handles.push(handle);
        }
        let turn = self.rng.below(handles.len());
        handles.rotate_left(turn);
        handles
    }

    /// A dump of checkpoints.
    fn export(&mut self, handles: &[Vec<u8>]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        for handle in handles {
            for name in self.client.sim.dfs.reachable(handle).unwrap() {
                let path = folder.path().join(name.to_string());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, &*self.client.sim.dfs.object(&name).unwrap()).unwrap();
            }
        }
        dump(folder.path(), handles)
    }

    /// Opens what a dump holds in place of the stores before; its handle.
    fn import(&mut self, dump: &[u8]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let handle = loaded(dump, folder.path());
        let names = named(folder.path(), &handle);
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            let bytes = fs::read(folder.path().join(name.to_string())).unwrap();
            self.client.sim.dfs.put(name, bytes);
        }
        self.open(1, std::slice::from_ref(&handle));
        handle
    }
}

fn dump(root: &Path, handles: &[Vec<u8>]) -> Vec<u8> {
    let root = Root::of_url(root.to_str().unwrap()).unwrap();
    let mut out = Vec::new();
    let source = Source::load(root, handles).unwrap();
    export::to_output(&source, &mut out, &ProgressBar::hidden()).unwrap();
    out
}

/// The handle of what a dump holds.
fn loaded(dump: &[u8], root: &Path) -> Vec<u8> {
    let dfs = Dfs::open(root.to_str().unwrap()).unwrap();
    let path = root.join("handle");
    load(dump, &dfs, 9, &path, SIZES, &ProgressBar::hidden()).unwrap();
    fs::read(path).unwrap()
}

fn named(root: &Path, handle: &[u8]) -> Vec<ObjectName> {
    let handle = Handle::decode(handle).unwrap();
    let bytes = fs::read(root.join(handle.manifest.to_string())).unwrap();
    let manifest = Manifest::decode(&handle.manifest, &bytes).unwrap();
    manifest.tables.iter().map(|table| table.name).chain([handle.manifest]).collect()
}

#[test]
fn an_import_answers_as_the_model_and_is_exported_as_it_was() {
    for seed in 1..=SEEDS {
        let mut job = Job::new(seed);
        (0..job.rng.between(2, 6)).for_each(|_| job.write());
        for _ in 0..2 {
            let handles = job.checkpoint();
            let first = job.export(&handles);
            let handle = job.import(&first);
            job.run(&everything());
            assert!(job.export(&[handle]) == first, "seed {seed}");
            // It goes on as any store does.
            job.write();
            job.run(&everything());
        }
        let violations = job.client.sim.dfs.violations();
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
}

#[test]
fn a_dump_does_not_tell_in_how_many_stores_the_state_lay() {
    for seed in 1..=SEEDS {
        let mut job = Job::new(seed);
        job.write();
        for count in [3, 2, 5, 1] {
            let handles = job.checkpoint();
            let before = job.export(&handles);
            job.open(count, &handles);
            // Clipped tablets of shared tables.
            let handles = job.checkpoint();
            assert!(job.export(&handles) == before, "seed {seed}, {count} stores");
            job.write();
            job.run(&everything());
        }
        let handles = job.checkpoint();
        let last = job.export(&handles);
        job.import(&last);
        job.run(&everything());
    }
}

/// Runs one request against a store that was opened from the golden dump.
fn ask(states: impl Fn(&mut Batch), session: &mut aquifer::shard::session::Session) -> Completions {
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    states(&mut batch);
    session.submit(&mut batch).unwrap();
    while session.poll(None, &mut done).unwrap() == 0 {}
    done
}

#[test]
fn the_golden_dump_opens_with_all_its_states() {
    let golden = include_bytes!("../../engine/testdata/dump-v1.bin");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let handle = loaded(golden, folder.path());
    assert!(dump(folder.path(), std::slice::from_ref(&handle)) == golden);

    let (memory_bytes, io) = (MEMORY_MIN_BYTES, aquifer_tests::io_mode());
    let thread = ShardThread::Inline;
    let engine = Engine::open(Config { memory_bytes, thread, io, ..Config::new(root) }).unwrap();
    let mut session = engine.session(0).unwrap();
    let states = StateTable::default();
    let config = StoreConfig { range: (2, 258), handles: vec![handle], ..StoreConfig::new(1, 300) };
    let (store, states) = session.open_store(StoreConfig { states, ..config }).unwrap();
    let names: Vec<String> = states.iter().map(|(_, state)| state.name.clone()).collect();
    assert_eq!(names, ["value", "list", "map", "sum"]);
    let target = |group: u16, bytes: &'static [u8], namespace: &'static [u8]| Target {
        key: Key { group, bytes },
        namespace,
        user_data: 0,
    };

    let value = states.value(store, "value").unwrap();
    for (namespace, found) in [(&b""[..], &b"first"[..]), (b"window", b"")] {
        let get =
            |batch: &mut Batch| value.request_get(batch, &target(2, b"b", namespace)).unwrap();
        let done = ask(get, &mut session);
        assert_eq!((done.items[0].status, done.value(&done.items[0])), (Status::Value, found));
    }
    let list = states.list(store, "list").unwrap();
    let get = |batch: &mut Batch| list.request_get(batch, &target(2, b"aa", b"")).unwrap();
    let done = ask(get, &mut session);
    let items: Vec<&[u8]> = Items::check(done.value(&done.items[0])).unwrap().collect();
    assert_eq!(items, [&b"one"[..], b"", b"two"]);
    // One that outgrew the limit stays one, until it is replaced.
    let get = |batch: &mut Batch| list.request_get(batch, &target(258, b"c", b"")).unwrap();
    assert_eq!(ask(get, &mut session).errors[0].kind, ErrorKind::TooLarge);
    let sum = states.reducing(store, "sum").unwrap();
    for (group, key, found) in [(2, &b"b"[..], -7), (258, b"c", i64::MAX)] {
        let get = |batch: &mut Batch| sum.request_get(batch, &target(group, key, b"")).unwrap();
        let done = ask(get, &mut session);
        assert_eq!(number(done.value(&done.items[0])).unwrap(), found);
    }
    let map = states.map(store, "map").unwrap();
    let scan = |batch: &mut Batch| map.request_scan(batch, &target(2, b"b", b""), b"", 9).unwrap();
    let done = ask(scan, &mut session);
    let entries: Vec<_> = Entries::check(done.value(&done.items[0]), false).unwrap().collect();
    assert_eq!(entries, [(&b"k"[..], &b"entry"[..]), (b"k2", b"")]);
}
