//! Stores that open from checkpoints of other stores. Chains of rescales agree with one model of
//! all key groups, wherever the process is lost on the way; a rescale writes nothing, and nobody
//! deletes what somebody needs. `AQUIFER_RESCALES=n` makes n chains.

use std::collections::BTreeSet;

use aquifer::checkpoint::handle::Handle;
use aquifer::lsm::manifest::Manifest;
use aquifer::shard::values::{ControlOp, ControlResult, OpenStore};
use aquifer::sst::Table;
use aquifer::state::request::StoreId;
use aquifer::state::{StateKind, StateTable};
use aquifer::types::error::ErrorKind;
use aquifer::types::key::key_parts;
use aquifer::types::{Error, Incarnation, ObjectKind, ObjectName};
use aquifer_tests::client::{Client, small_limits};
use aquifer_tests::model::mixture::{everything, group_of, run_parts, write};
use aquifer_tests::model::oracle::{KEY_GROUPS, Model, Op, States, compare, declared};
use aquifer_tests::sim::driver::Answer;
use aquifer_tests::sim::faults::Fault;
use aquifer_tests::sim::rng::Rng;

/// Chains of an ordinary run.
const CHAINS: u64 = 8;
/// Rescales of a chain.
const STEPS: usize = 30;
/// Most stores of a job in a chain.
const STORES: usize = 6;
/// Times that chains lose their process, at the least and on average.
const LOSSES: u64 = 10;
const WRITES: usize = 120;
const LAST_GROUP: u16 = (KEY_GROUPS - 1) as u16;

type Range = (u16, u16);

fn opening(nonce: u64, range: Range, handles: &[Vec<u8>]) -> OpenStore {
    OpenStore {
        number: nonce,
        incarnation: Incarnation { host_epoch: 7, nonce: u128::from(nonce) },
        seed: nonce,
        key_groups: KEY_GROUPS,
        range,
        states: declared(),
        handles: handles.to_vec(),
        keep: 0,
    }
}

/// A store of the job, with the checkpoints of it that the host keeps, oldest first.
struct Part {
    store: StoreId,
    states: States,
    incarnation: Incarnation,
    range: Range,
    handles: Vec<Vec<u8>>,
}

/// The host: stores that hold all key groups together.
struct Job {
    client: Client,
    rng: Rng,
    model: Model,
    parts: Vec<Part>,
    // What the stores were opened from, until each has a checkpoint of its own.
    borrowed: Vec<Vec<u8>>,
    // The last checkpoint that all stores have completed, and what it holds.
    complete: (Vec<Vec<u8>>, Model),
    losses: u64,
    nonces: u64,
}

impl Job {
    fn new(seed: u64) -> Self {
        let (client, rng) = (Client::new(small_limits()), Rng::new(seed));
        let (model, parts, borrowed) = (Model::default(), Vec::new(), Vec::new());
        let (complete, losses) = ((Vec::new(), Model::default()), 0);
        let mut job = Self { client, rng, model, parts, borrowed, complete, losses, nonces: 100 };
        job.open(1, &[]);
        job
    }

    /// What opens `count` stores that hold all key groups together.
    fn openings(&mut self, count: usize, handles: &[Vec<u8>]) -> Vec<OpenStore> {
        let mut cuts = BTreeSet::from([0, LAST_GROUP + 1]);
        while cuts.len() < count + 1 {
            cuts.insert(self.rng.between(1, LAST_GROUP.into()) as u16);
        }
        let cuts: Vec<u16> = cuts.into_iter().collect();
        self.nonces += count as u64;
        let openings = (self.nonces - count as u64 + 1..).zip(cuts.windows(2));
        openings.map(|(nonce, cut)| opening(nonce, (cut[0], cut[1] - 1), handles)).collect()
    }

    fn open(&mut self, count: usize, handles: &[Vec<u8>]) {
        for open in self.openings(count, handles) {
            let (incarnation, range) = (open.incarnation, open.range);
            let opened = self.client.ask(ControlOp::Open(Box::new(open))).unwrap();
            let ControlResult::Opened(store, table) = opened else { panic!("{opened:?}") };
            let wrote = self.names().iter().any(|name| name.incarnation == incarnation);
            assert!(!wrote, "an opening wrote objects");
            let states = States::of(store, &table).unwrap();
            self.parts.push(Part { store, states, incarnation, range, handles: Vec::new() });
        }
    }

    /// Each store serves the operations of its key groups; every answer is the model's.
    fn run(&mut self, ops: &[Op]) {
        let parts = self.parts.iter().map(|part| (part.range, part.store, part.states));
        run_parts(&mut self.client, &mut self.model, parts, ops);
    }

    fn write(&mut self) {
        let ops: Vec<Op> = (0..WRITES).map(|_| write(&mut self.rng)).collect();
        self.run(&ops);
    }

    fn done(&mut self, op: ControlOp) {
        assert_eq!(self.client.ask(op).unwrap(), ControlResult::Done);
    }

    fn names(&self) -> BTreeSet<ObjectName> {
        self.client.sim.dfs.names().copied().collect()
    }

    /// A checkpoint of all stores: from now on the host gives it up with the next one.
    fn checkpoint(&mut self) {
        for at in 0..self.parts.len() {
            let cut = ControlOp::Checkpoint(self.parts[at].store);
            let ControlResult::Handle(handle) = self.client.ask(cut).unwrap() else { panic!() };
            self.client.sim.dfs.retain(&handle);
            self.parts[at].handles.push(handle);
            self.check_tables(at);
        }
        let newest = self.parts.iter().map(|part| part.handles[part.handles.len() - 1].clone());
        self.complete = (newest.collect(), self.model.clone());
        for handle in std::mem::take(&mut self.borrowed) {
            self.client.sim.dfs.give_up(&handle);
            let before = self.names();
            let ask = ControlOp::Release(self.parts[0].store, handle);
            self.done(ask);
            self.client.turns(50);
            let gone = before.difference(&self.names()).copied().collect::<Vec<_>>();
            let of_others =
                |name: &ObjectName| self.parts.iter().all(|p| p.incarnation != name.incarnation);
            assert!(!gone.iter().any(of_others), "a borrower deleted {gone:?}");
        }
    }

    /// What a store wrote holds no row of other key groups.
    fn check_tables(&mut self, at: usize) {
        let part = &self.parts[at];
        let handle = Handle::decode(part.handles.last().unwrap().as_slice()).unwrap();
        let dfs = &self.client.sim.dfs;
        let manifest = dfs.object(&handle.manifest).unwrap();
        let manifest = Manifest::decode(&handle.manifest, manifest.as_slice()).unwrap();
        for table_ref in manifest.tables.iter().filter(|t| t.name.incarnation == part.incarnation) {
            let bytes = dfs.object(&table_ref.name).unwrap();
            let meta = table_ref.meta_offset as usize..;
            let meta = &bytes[meta][..table_ref.meta_len as usize];
            let table = Table::decode(*table_ref, meta).unwrap();
            for key in [table.smallest(), table.largest()].into_iter().filter(|k| !k.is_empty()) {
                let group = key_parts(key).unwrap().group;
                assert!(
                    (part.range.0..=part.range.1).contains(&group),
                    "{group} of {:?}",
                    part.range
                );
            }
        }
    }

    /// Gives up all checkpoints but the newest. What remains of the open stores is what those need.
    fn release(&mut self) {
        for at in 0..self.parts.len() {
            let store = self.parts[at].store;
            self.done(ControlOp::Drain(store));
        }
        self.checkpoint();
        for at in 0..self.parts.len() {
            let (store, newest) = (self.parts[at].store, self.parts[at].handles.len() - 1);
            let older: Vec<Vec<u8>> = self.parts[at].handles.drain(..newest).collect();
            for handle in older {
                self.client.sim.dfs.give_up(&handle);
                self.done(ControlOp::Release(store, handle));
            }
        }
        self.client.turns(300);
        let dfs = &self.client.sim.dfs;
        let mine =
            |name: &&ObjectName| self.parts.iter().any(|p| p.incarnation == name.incarnation);
        let left: Vec<_> = dfs.names().filter(mine).filter(|name| !dfs.is_retained(name)).collect();
        assert!(left.is_empty(), "no checkpoint needs {left:?}");
    }

    /// Opens `count` stores from the last checkpoint of all there are.
    fn rescale(&mut self, count: usize) {
        self.checkpoint();
        let mut old = std::mem::take(&mut self.parts);
        let mut handles: Vec<Vec<u8>> =
            old.iter().map(|p| p.handles.last().unwrap().clone()).collect();
        let turn = self.rng.below(handles.len());
        handles.rotate_left(turn);
        // The process may die, and the old stores may go on for a while beside the new ones.
        let end = self.rng.below(3);
        if end == 0 {
            self.client.crash();
            old.clear();
        } else if end == 1 {
            self.close(&mut old);
        }
        self.open(count, &handles);
        self.borrowed = handles;
        self.run(&everything());
        for part in &old {
            self.done(ControlOp::Drain(part.store));
        }
        self.close(&mut old);
        self.run(&everything());
    }

    /// Perhaps the process is lost, in the midst of something. The host goes back to the last
    /// checkpoint that all stores have, with other stores.
    fn may_be_lost(&mut self) {
        if self.rng.below(4) > 0 {
            return;
        }
        self.losses += 1;
        let (handles, model) = self.complete.clone();
        let under_way = match self.rng.below(4) {
            0 => Vec::new(),
            1 => self.parts.iter().map(|part| ControlOp::Checkpoint(part.store)).collect(),
            2 => self.parts.iter().map(|part| ControlOp::Drain(part.store)).collect(),
            _ => {
                let count = self.rng.between(1, STORES);
                let openings = self.openings(count, &handles);
                openings.into_iter().map(|open| ControlOp::Open(Box::new(open))).collect()
            }
        };
        for part in &self.parts {
            let (first, last) = part.range;
            let writes = std::iter::repeat_with(|| write(&mut self.rng)).take(WRITES / 4);
            let mine = writes.filter(|op| (first..=last).contains(&group_of(op)));
            let mine: Vec<Op> = mine.collect();
            self.client.turn_to((part.store, part.states));
            self.client.submit(0, &mine);
        }
        for (number, op) in (0..).zip(under_way) {
            self.client.sim.control(0, number, op);
        }
        self.client.turns(self.rng.below(30));
        self.client.crash();
        // Nobody has what only lost stores could delete.
        for part in std::mem::take(&mut self.parts) {
            let lost = part.handles.iter().filter(|handle| !handles.contains(handle));
            lost.for_each(|handle| self.client.sim.dfs.give_up(handle));
        }
        self.model = model;
        let count = self.rng.between(1, STORES);
        self.open(count, &handles);
        self.borrowed = handles;
        self.run(&everything());
    }

    fn close(&mut self, parts: &mut Vec<Part>) {
        for part in parts.drain(..) {
            self.done(ControlOp::Close(part.store));
        }
    }

    fn finish(self) -> Client {
        let violations = self.client.sim.dfs.violations();
        assert!(violations.is_empty(), "{violations:#?}");
        self.client
    }
}

fn chain(seed: u64, counts: impl Iterator<Item = usize>) -> Job {
    let mut job = Job::new(seed);
    for count in counts {
        job.may_be_lost();
        job.write();
        match job.rng.below(4) {
            0 => job.release(),
            1 => job.checkpoint(),
            _ => {}
        }
        job.write();
        job.may_be_lost();
        job.rescale(count);
    }
    job.release();
    job
}

#[test]
fn chains_of_rescales_agree_with_the_model() {
    let chains = std::env::var("AQUIFER_RESCALES").ok().map(|n| n.parse().expect("a number"));
    let (chains, mut losses) = (chains.unwrap_or(CHAINS), 0);
    for seed in 1..=chains {
        let mut rng = Rng::new(seed);
        let job = chain(seed, (0..STEPS).map(|_| rng.between(1, STORES)));
        losses += job.losses;
        assert!(job.finish().sim.dfs.tablets_max() > 4, "seed {seed}");
    }
    println!("{chains} chains of {STEPS} rescales, the process was lost {losses} times");
    assert!(losses >= LOSSES * chains);
}

#[test]
fn a_job_grows_shrinks_and_is_one_store_again() {
    chain(1, [2, 4, 3, 1, 1, 16, 1].into_iter()).finish();
}

#[test]
fn a_rescale_without_writes_ends_where_it_began() {
    let mut job = Job::new(1);
    (0..10).for_each(|_| job.write());
    job.release();
    let tables = |job: &mut Job| {
        let handle = Handle::decode(job.parts[0].handles.last().unwrap().as_slice()).unwrap();
        let manifest = job.client.sim.dfs.object(&handle.manifest).unwrap();
        let manifest = Manifest::decode(&handle.manifest, manifest.as_slice()).unwrap();
        (manifest.tables, manifest.tablets)
    };
    let before = tables(&mut job);
    assert!(before.1.len() > 2, "{before:?}");
    let stored = |job: &Job| {
        let tables = |name: &ObjectName| name.kind == ObjectKind::Sst;
        job.names().into_iter().filter(tables).collect::<Vec<_>>()
    };
    let objects = stored(&job);
    for count in [2, 4, 3, 1] {
        job.rescale(count);
        assert_eq!(stored(&job), objects);
    }
    job.checkpoint();
    assert_eq!(tables(&mut job), before);
    job.finish();
}

/// Two stores of half the key groups each, and their checkpoints.
fn halves() -> (Job, Vec<Vec<u8>>) {
    let mut job = Job::new(3);
    job.write();
    job.rescale(2);
    job.write();
    job.checkpoint();
    let handles = job.parts.iter().map(|part| part.handles[0].clone()).collect();
    (job, handles)
}

fn refused(job: &mut Job, open: OpenStore) -> Error {
    job.client.ask(ControlOp::Open(Box::new(open))).expect_err("it is refused")
}

#[track_caller]
fn says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind, kind, "{error}");
    assert!(parts.iter().all(|part| error.text.contains(part)), "{error}");
}

#[test]
fn checkpoints_that_do_not_make_one_store_are_refused() {
    let (mut job, handles) = halves();
    let all = (0, LAST_GROUP);
    let mut open = |open: OpenStore| refused(&mut job, open);
    let twice = [&handles[..], &handles[..1]].concat();
    let overlap = open(opening(1, all, &twice));
    let name = Handle::decode(handles[0].as_slice()).unwrap().manifest.to_string();
    says(&overlap, ErrorKind::Invalid, &["both hold", &name]);
    let gap = open(opening(2, all, &handles[1..]));
    says(&gap, ErrorKind::Invalid, &["no checkpoint holds key groups 0 to"]);
    let other = OpenStore { key_groups: 32, ..opening(3, all, &handles) };
    says(&open(other), ErrorKind::Invalid, &["16 key groups", "32", "maximal parallelism"]);
    for range in [(5, 4), (0, LAST_GROUP + 1)] {
        says(&open(opening(4, range, &handles)), ErrorKind::Invalid, &["the first is at most"]);
    }
    let foreign = [handles[0].clone(), b"not a handle".to_vec()];
    says(&open(opening(5, all, &foreign)), ErrorKind::Corrupt, &["not a checkpoint handle"]);
    job.run(&everything());
    job.finish();
}

#[test]
fn a_manifest_that_is_damaged_is_named_and_nothing_is_opened() {
    let (mut job, handles) = halves();
    job.client.sim.faults[Fault::ReadFlip] = 10_000;
    let error = refused(&mut job, opening(1, (0, LAST_GROUP), &handles));
    says(&error, ErrorKind::Corrupt, &["manifest-"]);
    job.client.sim.faults[Fault::ReadFlip] = 0;
    // The manifest that was still on its way is not taken for another's.
    job.client.turns(100);
    let handles: Vec<Vec<u8>> = job.parts.iter().map(|part| part.handles[0].clone()).collect();
    let open = opening(2, (0, LAST_GROUP), &handles);
    assert!(job.client.ask(ControlOp::Open(Box::new(open))).is_ok());
    job.run(&everything());
    job.finish();
}

#[test]
fn states_must_agree() {
    let mut client = Client::new(small_limits());
    let half = |at: u16| if at == 0 { (0, 7) } else { (8, LAST_GROUP) };
    let mut cut = |nonce: u64, at: u16, states: &[(&str, StateKind)]| {
        let mut table = StateTable::default();
        for (name, kind) in states {
            table.declare(name, *kind).unwrap();
        }
        let open = OpenStore { states: table, ..opening(nonce, half(at), &[]) };
        let opened = client.ask(ControlOp::Open(Box::new(open))).unwrap();
        let ControlResult::Opened(store, _) = opened else { panic!("{opened:?}") };
        let cut = client.ask(ControlOp::Checkpoint(store)).unwrap();
        let ControlResult::Handle(handle) = cut else { panic!("{cut:?}") };
        handle
    };
    let (value, list) = (StateKind::Value, StateKind::List);
    let a = cut(1, 0, &[("a", value)]);
    let both = cut(2, 1, &[("a", value), ("b", list)]);
    let kind = cut(3, 1, &[("a", list)]);
    let order = cut(4, 1, &[("b", list), ("a", value)]);
    let mut open = |nonce, other: &Vec<u8>| {
        let states = StateTable::default();
        let handles = [a.clone(), other.clone()];
        let open = OpenStore { states, ..opening(nonce, (0, LAST_GROUP), &handles) };
        client.ask(ControlOp::Open(Box::new(open)))
    };
    let ControlResult::Opened(_, table) = open(5, &both).unwrap() else { panic!() };
    assert_eq!(table.len(), 2);
    says(&open(6, &kind).unwrap_err(), ErrorKind::Invalid, &["`a` (value)", "`a` (list)"]);
    says(
        &open(7, &order).unwrap_err(),
        ErrorKind::Invalid,
        &["`a` (value)", "`b` (list)", "order"],
    );
}

#[test]
fn a_store_takes_no_row_of_other_key_groups() {
    let mut job = Job::new(5);
    (0..4).for_each(|_| job.write());
    job.checkpoint();
    let handle = job.parts[0].handles.clone();
    let open = opening(1, (4, 9), &handle);
    let opened = job.client.ask(ControlOp::Open(Box::new(open))).unwrap();
    let ControlResult::Opened(store, table) = opened else { panic!("{opened:?}") };
    job.client.turn_to((store, States::of(store, &table).unwrap()));
    // Whoever asks for them all the same finds nothing.
    let gets: Vec<Op> = everything().into_iter().filter(Op::reads).collect();
    let answers = job.client.run(&gets);
    let foreign = |op: &Op| !(4..=9).contains(&group_of(op));
    let mut found = 0;
    for (op, answer) in gets.iter().zip(&answers).filter(|(op, _)| matches!(op, Op::Get(_))) {
        if foreign(op) {
            assert_eq!(*answer, Answer::Absent, "{op:?}");
        } else {
            compare(&job.model.apply(op), answer).unwrap();
            found += usize::from(*answer != Answer::Absent);
        }
    }
    assert!(found > 10);
    job.finish();
}
