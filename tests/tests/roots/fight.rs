//! The fight: openings with a shard each over one DFS, and what must hold of what they find.

use std::collections::BTreeMap;

use aquifer::checkpoint::handle::Handle;
use aquifer::shard::ShardLimits;
use aquifer::shard::values::{ControlOp, ControlResult, OpenStore};
use aquifer::state::request::{Batch, StoreId};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Incarnation, Result};
use aquifer_tests::client::small_limits;
use aquifer_tests::model::oracle::{KEY_GROUPS, Op, RowKey, State, States, declared};
use aquifer_tests::sim::dfs::Dfs;
use aquifer_tests::sim::driver::{Answer, Arrived, Sim};
use aquifer_tests::sim::faults::{ByFault, Fault, FaultMix};
use aquifer_tests::sim::rng::Rng;
use aquifer_tests::sim::strike::{Call, Fate};

const KEYS: u8 = 6;
/// Turns of all openings of a seed.
const TURNS: usize = 4000;
const OPENINGS_MAX: usize = 3;

/// What may go wrong in a fight, with the rate at most, chances in ten thousand.
pub const FAULTS: [(Fault, usize); 13] = [
    (Fault::CreateLate, 3000),
    (Fault::CreateTwice, 6000),
    (Fault::LookStale, 5000),
    (Fault::PutError, 2000),
    (Fault::PutLostReply, 4000),
    (Fault::PutLate, 1000),
    (Fault::PutTwice, 2000),
    (Fault::SealLate, 500),
    (Fault::SealTwice, 2000),
    (Fault::LoadError, 1000),
    (Fault::DeleteLost, 2000),
    (Fault::DeleteLate, 2000),
    (Fault::Slow, 2000),
];

fn limits(root_spacing: u64) -> ShardLimits {
    ShardLimits {
        flush_bytes: 2 << 10,
        table_bytes_target: 8 << 10,
        root_spacing,
        ..small_limits()
    }
}

/// What the keys hold: the checkpoint that wrote each last.
type Content = Vec<u64>;

fn row(key: u8) -> RowKey {
    RowKey { state: State::Value, key, namespace: 0, map_key: Vec::new() }
}

fn value(checkpoint: u64) -> Vec<u8> {
    [&checkpoint.to_le_bytes()[..], &[checkpoint as u8; 300]].concat()
}

/// A checkpoint that an opening asked for.
pub struct Checkpoint {
    content: Content,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody heard of it, or it is said not to be known.
    Unknown,
    /// It was acknowledged.
    Committed,
    /// It failed.
    Refused,
}

pub enum Doing {
    /// The newest root that was acknowledged when it began.
    Opening {
        acknowledged: u64,
    },
    /// It asked for all keys.
    Reading(Vec<Option<Answer>>),
    Writing {
        answers: usize,
    },
    Cutting(usize),
    /// It was told that the store is not its own.
    Over,
}

/// One opening of the store, with a shard of its own.
pub struct Opening {
    pub sim: Sim,
    incarnation: Incarnation,
    pub store: Option<(StoreId, States)>,
    content: Content,
    pub doing: Doing,
    stopped: bool,
}

#[derive(Debug, Default)]
pub struct Seen {
    pub openings: u64,
    pub committed: u64,
    pub fenced: u64,
    pub unknown: u64,
    pub risen: u64,
    pub longest: u64,
    pub met: ByFault<u64>,
}

pub struct Fight {
    pub dfs: Dfs,
    rng: Rng,
    faults: FaultMix,
    spacing: u64,
    pub openings: Vec<Opening>,
    begun: u64,
    // By number, from 1; the first stands for the empty store.
    pub checkpoints: Vec<Checkpoint>,
    // Checkpoints by their handle, and the root of the last one acknowledged.
    pub handles: BTreeMap<Vec<u8>, usize>,
    acknowledged: u64,
    // The root and the checkpoint of each opening.
    pub found: Vec<(u64, usize)>,
    pub seen: Seen,
    // The call of an opening, by its number, that is struck.
    pub strike: Option<(u64, usize, Fate)>,
    // All calls of the opening that died last.
    pub calls: Vec<Call>,
}

impl Fight {
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut faults = FaultMix { latency_max: rng.pick(&[1, 20, 200]), ..FaultMix::calm() };
        for (fault, often) in FAULTS {
            faults[fault] = if rng.chance(6000) { rng.below(often) as u32 } else { 0 };
        }
        Self::new(rng.pick(&[2, 3, 4]), faults, rng)
    }

    pub fn calm(spacing: u64) -> Self {
        Self::new(spacing, FaultMix::calm(), Rng::new(1))
    }

    fn new(spacing: u64, faults: FaultMix, rng: Rng) -> Self {
        let mut dfs = Dfs::default();
        dfs.roots.spacing = spacing;
        let content = vec![0; usize::from(KEYS)];
        Self {
            dfs,
            rng,
            faults,
            spacing,
            openings: Vec::new(),
            begun: 0,
            checkpoints: vec![Checkpoint { content, outcome: Outcome::Committed }],
            handles: BTreeMap::new(),
            acknowledged: 0,
            found: Vec::new(),
            seen: Seen::default(),
            strike: None,
            calls: Vec::new(),
        }
    }

    fn violation(&self, what: &str) {
        panic!("{what}; the roots: {}", self.dfs.roots.shown());
    }

    pub fn open(&mut self) {
        self.begun += 1;
        let nonce = u128::from(self.begun) << 64 | u128::from(self.rng.next_u64());
        let incarnation = Incarnation { host_epoch: self.begun, nonce };
        let mut sim = Sim::new(limits(self.spacing), self.faults.clone(), self.rng.fork());
        let struck = self.strike.filter(|&(opening, ..)| opening == self.begun);
        sim.strike.at = struck.map(|(_, call, fate)| (call, fate));
        let open = OpenStore {
            number: 1,
            incarnation,
            seed: self.rng.next_u64(),
            key_groups: KEY_GROUPS,
            range: (0, (KEY_GROUPS - 1) as u16),
            states: declared(),
            handles: Vec::new(),
            keep: self.rng.between(1, 3),
        };
        sim.control(0, 1, ControlOp::Open(Box::new(open)));
        self.openings.push(Opening {
            sim,
            incarnation,
            store: None,
            content: Vec::new(),
            doing: Doing::Opening { acknowledged: self.acknowledged },
            stopped: false,
        });
    }

    pub fn turn(&mut self, at: usize) {
        let mut opening = self.openings.swap_remove(at);
        std::mem::swap(&mut self.dfs, &mut opening.sim.dfs);
        let Arrived { answers, controls } = opening.sim.turn(true);
        std::mem::swap(&mut self.dfs, &mut opening.sim.dfs);
        for (number, answer) in answers {
            self.answered(&mut opening, number, answer);
        }
        for done in controls {
            self.ended(&mut opening, done.result);
        }
        if !matches!(opening.doing, Doing::Over) || self.faults.is_calm() {
            self.openings.push(opening);
        } else if self.rng.chance(5000) {
            self.die(opening);
        } else {
            // Its jobs go on for a while.
            opening.stopped = true;
            self.openings.push(opening);
        }
    }

    pub fn die(&mut self, mut opening: Opening) {
        std::mem::swap(&mut self.dfs, &mut opening.sim.dfs);
        opening.sim.leave();
        for (fault, _) in FAULTS {
            self.seen.met[fault] += opening.sim.met[fault];
        }
        self.calls = std::mem::take(&mut opening.sim.strike.calls);
        std::mem::swap(&mut self.dfs, &mut opening.sim.dfs);
    }

    fn answered(&mut self, opening: &mut Opening, number: u64, answer: Answer) {
        match &mut opening.doing {
            Doing::Reading(answers) => {
                answers[number as usize] = Some(answer);
                if answers.iter().all(Option::is_some) {
                    let answers = answers.drain(..).flatten().collect();
                    self.read(opening, answers);
                }
            }
            Doing::Writing { answers } => {
                if let Answer::Failed(kind, text) = &answer {
                    self.violation(&format!("a write failed: {kind:?}: {text}"));
                }
                *answers -= 1;
                if *answers == 0 {
                    self.cut(opening);
                }
            }
            _ => {}
        }
    }

    /// All keys were read: what it began with is a checkpoint that was not refused.
    fn read(&mut self, opening: &mut Opening, answers: Vec<Answer>) {
        let mut content = Content::new();
        for answer in answers {
            content.push(match answer {
                Answer::Absent => 0,
                Answer::Value(bytes) => {
                    let number = u64::from_le_bytes(*bytes.first_chunk().unwrap());
                    assert_eq!(bytes, value(number));
                    number
                }
                other => {
                    let newest = &self.dfs.roots.chain[&self.dfs.roots.newest()];
                    let struck = opening.sim.strike.struck.is_some();
                    if newest.incarnation == opening.incarnation && !struck {
                        self.violation(&format!("the store's owner cannot read: {other:?}"));
                    }
                    // Another has taken the store over, and deleted what this one had.
                    opening.doing = Doing::Over;
                    return;
                }
            });
        }
        let number = content[0] as usize;
        let Checkpoint { content: expected, outcome } = &self.checkpoints[number];
        if content != *expected || *outcome == Outcome::Refused {
            self.violation(&format!("{content:?} was found, of checkpoint {number}: {outcome:?}"));
        }
        let root = self.dfs.roots.taken(opening.incarnation).expect("it took the store over");
        self.found.push((root, number));
        self.seen.openings += 1;
        opening.content = content;
        self.write(opening);
    }

    fn write(&mut self, opening: &mut Opening) {
        let number = self.checkpoints.len() as u64;
        let mut batch = Batch::default();
        let keys: Vec<u8> = (0..KEYS).filter(|&key| key == 0 || self.rng.chance(4000)).collect();
        for (at, &key) in keys.iter().enumerate() {
            let put = Op::Put(row(key), value(number));
            let (_, states) = opening.store.as_ref().expect("it is open");
            states.request(&mut batch, &put, at as u64).expect("within the limits");
            opening.content[usize::from(key)] = number;
        }
        let (content, outcome) = (opening.content.clone(), Outcome::Unknown);
        self.checkpoints.push(Checkpoint { content, outcome });
        opening.sim.submit(0, batch);
        opening.doing = Doing::Writing { answers: keys.len() };
    }

    /// Turns the one opening until it has committed so many more, or has ended.
    pub fn commit(&mut self, count: u64) {
        let target = self.seen.committed + count;
        for _ in 0..10_000 {
            let over = self.openings.iter().all(|opening| matches!(opening.doing, Doing::Over));
            if self.seen.committed >= target || over {
                return;
            }
            self.turn(0);
        }
        panic!("it does not end");
    }

    /// Two openings commit five times each, and a third is right; the second finds what comes late
    /// or goes before it.
    pub fn script(&mut self, late: bool) {
        for _ in 0..2 {
            self.open();
            self.commit(5);
            self.openings.pop().into_iter().for_each(|opening| self.die(opening));
            if late {
                self.dfs.float_ashore(&mut self.rng);
            }
        }
        self.finish();
    }

    fn cut(&mut self, opening: &mut Opening) {
        let (store, _) = opening.store.expect("it is open");
        opening.sim.control(0, 2, ControlOp::Checkpoint(store));
        opening.doing = Doing::Cutting(opening.content[0] as usize);
    }

    fn ended(&mut self, opening: &mut Opening, result: Result<ControlResult>) {
        match (&opening.doing, result) {
            (&Doing::Opening { acknowledged }, Ok(ControlResult::Opened(store, table))) => {
                let root = self.dfs.roots.taken(opening.incarnation);
                if root.is_none_or(|root| root <= acknowledged) {
                    self.violation(&format!("{root:?} is no root behind {acknowledged}"));
                }
                let states = States::of(store, &table).expect("declared");
                let mut batch = Batch::default();
                for key in 0..KEYS {
                    let get = Op::Get(row(key));
                    states.request(&mut batch, &get, u64::from(key)).expect("within the limits");
                }
                opening.store = Some((store, states));
                opening.sim.submit(0, batch);
                opening.doing = Doing::Reading(vec![None; usize::from(KEYS)]);
            }
            (&Doing::Cutting(number), Ok(ControlResult::Handle(handle))) => {
                self.checkpoints[number].outcome = Outcome::Committed;
                self.seen.committed += 1;
                match self.dfs.roots.committed(opening.incarnation, &handle) {
                    Some(root) => self.acknowledged = self.acknowledged.max(root),
                    None => self.violation(&format!("checkpoint {number} has no root")),
                }
                self.handles.insert(handle, number);
                self.write(opening);
            }
            (&Doing::Cutting(number), Err(error)) => match error.kind {
                ErrorKind::UnknownCommit => {
                    self.seen.unknown += 1;
                    opening.doing = Doing::Over;
                }
                kind => {
                    self.checkpoints[number].outcome = Outcome::Refused;
                    if kind == ErrorKind::Fenced {
                        self.seen.fenced += 1;
                        opening.doing = Doing::Over;
                    } else {
                        self.write(opening);
                    }
                }
            },
            (Doing::Opening { .. }, Err(_)) => opening.doing = Doing::Over,
            (_, result) => panic!("{result:?}"),
        }
    }
}

impl Fight {
    /// Lets openings begin, turn, stop, go on and die as the seed has it.
    pub fn run(&mut self) {
        for _ in 0..TURNS {
            let alive = self.openings.iter().filter(|o| !matches!(o.doing, Doing::Over)).count();
            if alive == 0 || alive < OPENINGS_MAX && self.rng.chance(50) {
                self.open();
            }
            let at = self.rng.below(self.openings.len());
            if self.rng.chance(if self.openings[at].stopped { 100 } else { 150 }) {
                self.openings[at].stopped ^= true;
            }
            if self.rng.chance(20) {
                let opening = self.openings.swap_remove(at);
                self.die(opening);
                continue;
            }
            if self.rng.chance(100) {
                self.dfs.float_ashore(&mut self.rng);
            }
            if !self.openings[at].stopped {
                self.turn(at);
            }
        }
        while let Some(opening) = self.openings.pop() {
            self.die(opening);
        }
    }

    /// Opens the store once nothing goes wrong any more, and commits.
    pub fn finish(&mut self) {
        for _ in 0..1000 {
            self.dfs.float_ashore(&mut self.rng);
        }
        self.faults = FaultMix::calm();
        self.open();
        let committed = self.seen.committed;
        self.commit(3);
        assert_eq!(self.seen.committed, committed + 3, "nothing goes wrong, and it ended");
        self.check();
    }

    /// What every opening began with is what the root before its own says, and no checkpoint that
    /// was acknowledged lies between.
    fn check(&mut self) {
        let chain = &self.dfs.roots.chain;
        self.seen.risen = self.dfs.roots.risen;
        self.seen.longest = self.dfs.roots.newest();
        let newest = |root: u64| chain[&root].kept.first().map(Handle::encode);
        for &(root, found) in &self.found {
            assert_ne!(self.checkpoints[found].outcome, Outcome::Refused, "checkpoint {found}");
            let handle = newest(root);
            if let Some(&number) = handle.as_ref().and_then(|handle| self.handles.get(handle)) {
                assert_eq!(number, found, "root {root}");
            } else if handle.is_some() {
                assert_eq!(self.checkpoints[found].outcome, Outcome::Unknown);
            } else {
                assert_eq!(found, 0);
            }
            let first = (1..=root).find(|&number| newest(number) == handle).unwrap();
            let others = (first..=root).filter(|&number| newest(number) != handle);
            let skipped = others.count();
            assert_eq!(skipped, 0, "roots between {first} and {root} keep something else");
        }
        assert_eq!(self.dfs.violations(), &[] as &[String], "{}", self.dfs.roots.shown());
    }
}
