//! Every call that a script makes of the DFS goes wrong once, in every way that it can. Requests
//! may fail then, and are right when asked again; nothing else is to be seen of it.
//!
//! `AQUIFER_NTH=n` strikes every call of n scripts; an ordinary run strikes every call of one, and
//! some of another, whose merges go to compactors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aquifer::shard::ShardLimits;
use aquifer::shard::values::{ControlOp, ControlResult, OpenStore};
use aquifer::state::request::StoreId;
use aquifer::types::{Incarnation, ObjectName};
use aquifer_tests::client::{Client, small_limits};
use aquifer_tests::model::mixture::{everything, group_of, write};
use aquifer_tests::model::oracle::{KEY_GROUPS, Model, Op, States, compare, declared};
use aquifer_tests::sim::driver::Answer;
use aquifer_tests::sim::rng::Rng;
use aquifer_tests::sim::strike::{Call, FATES, Fate};

/// Scripts of an ordinary run.
const SCRIPTS: u64 = 2;
/// Of most calls of the last it strikes one in so many.
const SPARSE: usize = 9;

/// Writes between two steps of the host: a script has more than twenty of these.
const WRITES: usize = 20;
/// Turns after which an answer that is not very late is there.
const A_WHILE: usize = 60;

struct Part {
    store: StoreId,
    states: States,
    range: (u16, u16),
    incarnation: Incarnation,
}

/// A checkpoint of all stores.
struct Whole {
    handles: Vec<Vec<u8>>,
    model: Model,
}

/// A host, of one store or some with a part of the key groups each.
struct Host {
    client: Client,
    rng: Rng,
    model: Model,
    parts: Vec<Part>,
    // What it keeps, oldest first.
    kept: Vec<Whole>,
    // What handles named that the last store had claimed.
    claimed: BTreeSet<ObjectName>,
    openings: u64,
    failures: usize,
}

impl Host {
    fn new(seed: u64, at: Option<(usize, Fate)>) -> Self {
        let limits = ShardLimits {
            flush_bytes: 2 << 10,
            table_bytes_target: 8 << 10,
            errand_bytes_min: seed.is_multiple_of(2).then_some(0),
            ..small_limits()
        };
        let mut client = Client::seeded(limits, seed);
        client.sim.strike.at = at;
        let (model, rng) = (Model::default(), Rng::new(seed));
        let (parts, kept, claimed) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut host =
            Self { client, rng, model, parts, kept, claimed, openings: 100, failures: 0 };
        host.open(1, &[]);
        host
    }

    /// What is struck may fail once, and then changes nothing.
    fn control(&mut self, op: impl Fn(u64) -> ControlOp) -> ControlResult {
        self.openings += 1;
        let error = match self.client.ask(op(self.openings)) {
            Ok(result) => return result,
            Err(error) => error,
        };
        self.may_fail(&error.to_string());
        self.check();
        for handle in self.kept.iter().flat_map(|whole| &whole.handles) {
            self.client.sim.dfs.reachable(handle).expect("a kept checkpoint is whole");
        }
        self.openings += 1;
        self.client.ask(op(self.openings)).expect("asked again it is done")
    }

    fn may_fail(&mut self, what: &str) {
        assert!(self.client.sim.strike.struck.is_some(), "nothing was struck: {what}");
        self.failures += 1;
    }

    /// In place of the stores before.
    fn open(&mut self, count: u16, handles: &[Vec<u8>]) {
        let start = |at: u16| at * KEY_GROUPS as u16 / count;
        let mut parts = Vec::new();
        for at in 0..count {
            let range = (start(at), start(at + 1) - 1);
            let opened = self.control(|nonce| {
                ControlOp::Open(Box::new(OpenStore {
                    number: 1 + u64::from(at),
                    incarnation: Incarnation { host_epoch: 7, nonce: nonce.into() },
                    seed: nonce,
                    key_groups: KEY_GROUPS,
                    range,
                    states: declared(),
                    handles: handles.to_vec(),
                    keep: 0,
                }))
            });
            let incarnation = Incarnation { host_epoch: 7, nonce: self.openings.into() };
            let ControlResult::Opened(store, table) = opened else { panic!("{opened:?}") };
            let states = States::of(store, &table).expect("declared");
            parts.push(Part { store, states, range, incarnation });
        }
        self.parts = parts;
    }

    fn run(&mut self, ops: &[Op]) {
        for at in 0..self.parts.len() {
            let Part { store, states, range: (first, last), .. } = self.parts[at];
            let mine = ops.iter().filter(|op| (first..=last).contains(&group_of(op)));
            let mine: Vec<Op> = mine.cloned().collect();
            self.client.turn_to((store, states));
            let mut again = Vec::new();
            for (op, answer) in mine.iter().zip(self.client.run(&mine)) {
                let expected = self.model.apply(op);
                if let (true, Answer::Failed(kind, text)) = (op.reads(), &answer) {
                    self.may_fail(&format!("{kind:?}: {text}"));
                    again.push(op.clone());
                } else if let Err(difference) = compare(&expected, &answer) {
                    panic!("{op:?}: {difference}");
                }
            }
            for (op, answer) in again.iter().zip(self.client.run(&again)) {
                if let Err(difference) = compare(&self.model.apply(op), &answer) {
                    panic!("asked again, {op:?}: {difference}");
                }
            }
        }
    }

    /// Everything is read, and is what the model says.
    fn check(&mut self) {
        if !self.parts.is_empty() {
            self.run(&everything());
        }
    }

    fn write(&mut self, times: usize) {
        for _ in 0..times {
            let mut ops: Vec<Op> = (0..WRITES).map(|_| write(&mut self.rng)).collect();
            let reads = everything();
            ops.extend((0..4).map(|_| reads[self.rng.below(reads.len())].clone()));
            self.run(&ops);
        }
    }

    fn drain(&mut self) {
        for at in 0..self.parts.len() {
            let store = self.parts[at].store;
            assert_eq!(self.control(|_| ControlOp::Drain(store)), ControlResult::Done);
        }
    }

    fn checkpoint(&mut self) {
        let mut handles = Vec::new();
        for at in 0..self.parts.len() {
            let store = self.parts[at].store;
            let cut = self.control(|_| ControlOp::Checkpoint(store));
            let ControlResult::Handle(handle) = cut else { panic!("{cut:?}") };
            self.client.sim.dfs.retain(&handle);
            handles.push(handle);
        }
        self.kept.push(Whole { handles, model: self.model.clone() });
    }

    /// Gives up all checkpoints but the last; the stores hold them by number of the key groups.
    fn release(&mut self) {
        for whole in self.kept.drain(..self.kept.len() - 1).collect::<Vec<_>>() {
            for handle in whole.handles {
                self.client.sim.dfs.give_up(&handle);
                for at in 0..self.parts.len() {
                    let store = self.parts[at].store;
                    self.control(|_| ControlOp::Release(store, handle.clone()));
                }
            }
        }
    }

    /// The process dies with requests and a checkpoint on their way; another goes on.
    fn lose(&mut self, count: u16) {
        let ops: Vec<Op> = (0..WRITES).map(|_| write(&mut self.rng)).collect();
        let Part { store, states, range: (first, last), .. } = self.parts[0];
        self.client.turn_to((store, states));
        let mine = ops.into_iter().filter(|op| (first..=last).contains(&group_of(op)));
        self.client.submit(1000, &mine.collect::<Vec<_>>());
        self.client.sim.control(0, 1, ControlOp::Checkpoint(store));
        self.client.turns(12);
        self.client.crash();
        self.parts.clear();
        let last = self.kept.last().expect("it had a checkpoint");
        self.model = last.model.clone();
        let handles = last.handles.clone();
        self.open(count, &handles);
        self.client.sim.late_calls_arrive();
        self.check();
    }

    /// The stores take over all that the host keeps.
    fn claim(&mut self) {
        let handles: Vec<Vec<u8>> = self.kept.iter().flat_map(|w| w.handles.clone()).collect();
        let store = self.parts[0].store;
        self.control(|_| ControlOp::Claim(store, handles.clone()));
        for handle in handles {
            self.claimed.extend(self.client.sim.dfs.reachable(&handle).expect("it is kept"));
        }
    }

    /// Some four hundred operations, and all that a host does between them.
    fn script(mut self) -> Self {
        self.write(2);
        self.checkpoint();
        self.write(2);
        self.drain();
        self.checkpoint();
        self.release();
        self.write(2);
        self.lose(1);
        self.claim();
        self.write(3);
        self.checkpoint();
        self.release();
        self.write(1);
        self.checkpoint();
        self.lose(2);
        self.write(3);
        self.drain();
        self.checkpoint();
        self.claimed.clear();
        self.lose(1);
        self.claim();
        self.write(3);
        self.drain();
        self.checkpoint();
        self.release();
        self.write(4);
        self.finish();
        self
    }

    /// Nothing is left but what the last checkpoint needs, and what nobody owns.
    fn finish(&mut self) {
        self.check();
        self.drain();
        self.checkpoint();
        self.release();
        self.client.turns(A_WHILE);
        self.client.sim.late_calls_arrive();
        self.check();
        let sim = &self.client.sim;
        let own = self.parts[0].incarnation;
        let owned = |name: &&ObjectName| name.incarnation == own || self.claimed.contains(name);
        let left = sim.dfs.names().filter(owned).filter(|name| !sim.dfs.is_retained(name));
        let left: Vec<_> = left.filter(|name| !sim.strike.orphans.contains(name)).collect();
        assert!(left.is_empty(), "left, and no checkpoint needs it: {left:?}");
        let violations = sim.dfs.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

/// A call of a script that goes wrong.
struct Point {
    seed: u64,
    // All of the script.
    calls: Arc<[Call]>,
    at: usize,
    fate: Fate,
}

impl Point {
    /// True if the host saw anything of it.
    fn strike(&self) -> bool {
        let Self { seed, calls, at, fate } = self;
        let run = || Host::new(*seed, Some((*at, *fate))).script();
        let host = std::panic::catch_unwind(run).unwrap_or_else(|_| {
            panic!("script {seed}, call {at} of {}, a {:?}: {fate:?}", calls.len(), calls[*at])
        });
        assert_eq!(host.client.sim.strike.struck, Some(calls[*at]), "call {at} is another");
        host.failures > 0
    }
}

/// By what was struck: how often, and how often the host saw it.
type Met = BTreeMap<(Call, Fate), (usize, usize)>;

fn strike_all(points: &[Point]) -> Met {
    let (next, met) = (AtomicUsize::new(0), Mutex::new(Met::new()));
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let seen = point.strike();
                    let mut met = met.lock().expect("nobody panics with it");
                    let entry = met.entry((point.calls[point.at], point.fate)).or_default();
                    entry.0 += 1;
                    entry.1 += usize::from(seen);
                }
            });
        }
    });
    met.into_inner().expect("nobody panics with it")
}

#[test]
fn every_call_may_go_wrong() {
    let campaign = std::env::var("AQUIFER_NTH").ok().map(|n| n.parse().expect("a number"));
    let mut all = Vec::new();
    let mut of_all = 0;
    for seed in 1..=campaign.unwrap_or(SCRIPTS) {
        let calls: Arc<[Call]> = Host::new(seed, None).script().client.sim.strike.calls.into();
        let points = (0..calls.len()).flat_map(|at| FATES.map(|fate| (at, fate)));
        let points: Vec<_> = points.filter(|(at, fate)| calls[*at].may_meet(*fate)).collect();
        of_all += points.len();
        // Of what checkpoints and restores ask for, and of compactors, all is struck, the rest all
        // over the script.
        let is_rare =
            |(at, _): &(usize, Fate)| matches!(calls[*at], Call::Put | Call::Load | Call::Errand);
        let (mut some, others): (Vec<_>, Vec<_>) = points.into_iter().partition(is_rare);
        let step = if campaign.is_some() || seed < SCRIPTS { 1 } else { SPARSE };
        some.extend(others.into_iter().skip(seed as usize % step).step_by(step));
        let point = |(at, fate)| Point { seed, calls: calls.clone(), at, fate };
        all.extend(some.into_iter().map(point));
    }
    let met = strike_all(&all);
    let struck: usize = met.values().map(|(struck, _)| struck).sum();
    println!("{struck} of {of_all} points; each as (points, of them seen by the host)");
    met.iter().for_each(|(what, seen)| println!("{what:?}: {seen:?}"));
    let of_shards = [Call::Put, Call::Load, Call::Read, Call::Delete];
    let of_jobs = [Call::JobRead, Call::Append, Call::Seal, Call::Open];
    let others = [Call::SsdRead, Call::SsdWrite, Call::Errand];
    for call in of_shards.into_iter().chain(of_jobs).chain(others) {
        for fate in FATES.into_iter().filter(|fate| call.may_meet(*fate)) {
            assert!(met.contains_key(&(call, fate)), "{call:?} {fate:?} was never struck");
        }
    }
}
