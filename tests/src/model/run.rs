//! Runs the program of a seed: operations, checkpoints, releases, drains, crashes and restores,
//! each answer compared with the model at the moment the request was submitted.

use std::collections::{BTreeMap, BTreeSet};

use aquifer::checkpoint::handle::Handle;
use aquifer::shard::values::{ControlDone, ControlOp, ControlResult, OpenStore};
use aquifer::state::request::{Batch, StoreId};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Incarnation, ObjectName};

use crate::model::asked::{Asked, Outcome};
use crate::model::oracle::{KEY_GROUPS, Model, Op, States, declared};
use crate::model::report::Report;
use crate::model::shape::Shape;
use crate::sim::driver::{Answer, Arrived, Sabotage, Sim};
use crate::sim::faults::{Fault, FaultMix};
use crate::sim::rng::Rng;

/// Turns without an end of which a run counts as stuck.
const TURNS_MAX: usize = 400_000;
/// Attempts at opening a store under faults.
const OPENS_MAX: usize = 300;

/// A store of the program; it is open between the steps of the program.
#[derive(Debug)]
pub(super) struct StoreRun {
    pub number: u64,
    pub open: Option<(StoreId, States)>,
    pub model: Model,
    // The model before the last write: what `Sabotage::LateSnapshot` takes for the cut.
    before: Model,
    pub incarnation: Incarnation,
    /// What it claimed of older ones.
    pub claimed: BTreeSet<ObjectName>,
}

/// A checkpoint that the host keeps.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub store: usize,
    pub handle: Vec<u8>,
    pub model: Model,
}

/// What a store is opened from: mostly one of its checkpoints.
pub(super) fn some_kept(kept: &[Kept], store: usize, rng: &mut Rng) -> Option<Kept> {
    let mine: Vec<&Kept> = kept.iter().filter(|kept| kept.store == store).collect();
    if mine.is_empty() || rng.chance(300) {
        return None;
    }
    Some(rng.pick(&mine).clone())
}

/// A control request in flight.
#[derive(Debug)]
pub(super) enum PendingControl {
    /// The model at the cut.
    Checkpoint {
        store: usize,
        model: Model,
    },
    Drain,
    Other,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Run {
    pub sim: Sim,
    pub shape: Shape,
    pub rng: Rng,
    pub stores: Vec<StoreRun>,
    pub kept: Vec<Kept>,
    pub report: Report,
    pub calm: bool,
    asked: Asked,
    controls: BTreeMap<u64, PendingControl>,
    finished: BTreeMap<u64, ControlDone>,
    next_number: u64,
    next_nonce: u128,
    writes: u64,
    poisoned: bool,
    // A job that breaks takes its store with it.
    may_poison: bool,
    // Objects are damaged, or were.
    pub damaged: bool,
    // A write was refused for it: the model does not know which of what follows took effect.
    refused: bool,
}

/// Runs a seed.
///
/// # Errors
/// What the engine did wrong, for people.
pub fn run(seed: u64, sabotage: Sabotage) -> Outcome<Report> {
    let caught = std::panic::catch_unwind(|| {
        let mut run = Run::new(seed, sabotage);
        let outcome = run.program().and_then(|()| run.finish());
        outcome.map(|()| run.end_report())
    });
    match caught {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}

/// The shape of a seed, for people.
#[must_use]
pub fn describe(seed: u64) -> String {
    let run = Run::new(seed, Sabotage::None);
    format!("{:#?}\n{:#?}", run.shape, run.sim.faults)
}

impl Run {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut rng = Rng::new(seed);
        let shape = Shape::draw(&mut rng.fork());
        let mut faults = FaultMix::draw(&mut rng.fork());
        if sabotage != Sabotage::None {
            // Nothing else may explain what is found.
            faults = FaultMix { latency_max: faults.latency_max, ..FaultMix::calm() };
        }
        let may_poison = faults[Fault::JobBreaks] > 0;
        let mut sim = Sim::new(shape.limits, faults, rng.fork());
        sim.sabotage = sabotage;
        let stores = (0..shape.stores)
            .map(|at| StoreRun {
                number: 100 + at as u64,
                open: None,
                model: Model::default(),
                before: Model::default(),
                incarnation: Incarnation { host_epoch: 0, nonce: 0 },
                claimed: BTreeSet::new(),
            })
            .collect();
        Self {
            sim,
            shape,
            rng,
            stores,
            kept: Vec::new(),
            report: Report::default(),
            calm: false,
            asked: Asked::default(),
            controls: BTreeMap::new(),
            finished: BTreeMap::new(),
            next_number: 0,
            next_nonce: 0,
            writes: 0,
            poisoned: false,
            may_poison,
            damaged: false,
            refused: false,
        }
    }

    fn end_report(mut self) -> Report {
        self.report.trace = self.sim.trace().0;
        self.report.met = self.sim.met;
        self.report.errands_done = self.sim.errands.done;
        self.report.errands_returned = self.sim.errands.returned;
        self.report.errands_late = self.sim.errands.late;
        self.report.tablets_max = self.sim.dfs.tablets_max() as u64;
        self.report
    }

    /// Adds the counters of a shard that ends.
    pub(super) fn add_counters(&mut self) {
        self.report.add(&self.sim.counters());
        let ssd = self.sim.statistics().ssd;
        self.report.ssd_hits += ssd.hits;
        self.report.ssd_damaged += ssd.damaged;
        self.report.ssd_failures += ssd.failures;
    }

    fn program(&mut self) -> Outcome<()> {
        for store in 0..self.stores.len() {
            self.open(store, None)?;
        }
        for _ in 0..self.shape.batches {
            if self.poisoned || self.rng.chance(self.shape.crash) {
                self.crash()?;
            }
            if self.sim.damage() {
                self.damaged = true;
                self.asked.all_may_fail();
            }
            let store = self.rng.below(self.stores.len());
            if self.rng.chance(self.shape.reopen) {
                self.reopen(store)?;
            }
            if self.rng.chance(self.shape.checkpoint) {
                self.start_checkpoint(store);
            }
            if self.rng.chance(self.shape.release) {
                self.release();
            }
            if self.rng.chance(self.shape.drain) {
                let id = self.id(store);
                self.start_control(ControlOp::Drain(id), PendingControl::Drain);
            }
            self.submit_batch()?;
            for _ in 0..self.rng.pick(&[0, 1, 1, 3, 20]) {
                self.turn(false)?;
            }
            if self.asked.len() > 4000 {
                self.settle("the backlog of requests")?;
            }
        }
        Ok(())
    }

    pub(super) fn id(&self, store: usize) -> StoreId {
        self.stores[store].open.expect("stores are open between steps").0
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn start_control(&mut self, op: ControlOp, pending: PendingControl) -> u64 {
        let user_data = self.number();
        self.controls.insert(user_data, pending);
        self.sim.control(0, user_data, op);
        user_data
    }

    fn submit_batch(&mut self) -> Outcome<()> {
        let mut batch = Batch::default();
        for _ in 0..self.rng.between(1, self.shape.batch_max) {
            let store = self.rng.below(self.stores.len());
            let op = self.shape.op(&mut self.rng, &self.stores[store].model);
            self.add(&mut batch, store, &op)?;
        }
        let session = self.rng.below(self.shape.sessions) as u16;
        self.sim.submit(session, batch);
        Ok(())
    }

    /// Adds an operation to a batch and to the model.
    pub(super) fn add(&mut self, batch: &mut Batch, store: usize, op: &Op) -> Outcome<()> {
        let user_data = self.number();
        let lost = self.is_lost(op);
        let slot = &mut self.stores[store];
        if self.sim.sabotage == Sabotage::LateSnapshot && !op.reads() {
            slot.before = slot.model.clone();
        }
        let expected = slot.model.apply(op);
        if lost {
            return Ok(());
        }
        let (_, states) = slot.open.expect("stores are open between steps");
        states.request(batch, op, user_data).map_err(|error| format!("{op:?}: {error}"))?;
        let may_fail = op.reads() && (self.damaged || self.sim.faults.reads_fail());
        self.asked.add(user_data, store, op, expected, may_fail);
        Ok(())
    }

    fn is_lost(&mut self, op: &Op) -> bool {
        let meant = match self.sim.sabotage {
            Sabotage::LostWrite => matches!(op, Op::Put(..) | Op::Append(..) | Op::Add(..)),
            Sabotage::LostDelete => matches!(op, Op::Delete(_) | Op::Clear(_)),
            _ => false,
        };
        self.writes += u64::from(meant);
        meant && self.writes.is_multiple_of(20)
    }

    /// One turn, with everything it brought checked.
    pub(super) fn turn(&mut self, wait: bool) -> Outcome<()> {
        if self.rng.chance(100) {
            self.sim.dfs.float_ashore(&mut self.rng);
        }
        let mut arrived = self.sim.turn(wait);
        self.spoil(&mut arrived);
        self.note_refusals(&arrived);
        for (number, answer) in arrived.answers {
            self.check(number, &answer)?;
        }
        for done in arrived.controls {
            self.control_done(done)?;
        }
        match self.sim.dfs.violations().first() {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    // Jobs that damage keeps from their end have writes refused, as an outage has. The host goes
    // back to a checkpoint then.
    fn note_refusals(&mut self, arrived: &Arrived) {
        let is_it = |(number, answer): &(u64, Answer)| {
            matches!(answer, Answer::Failed(..)) && self.asked.writes(*number)
        };
        let refused = arrived.answers.iter().filter(|one| is_it(one)).count() as u64;
        if self.damaged && refused > 0 {
            self.report.refused_writes += refused;
            self.refused = true;
            self.poisoned = true;
        }
    }

    fn check(&mut self, number: u64, answer: &Answer) -> Outcome<()> {
        let asked = self.asked.take(number)?;
        self.report.requests += 1;
        if let Answer::Failed(kind, _) = answer {
            self.report.failed += 1;
            let of_damage = matches!(kind, ErrorKind::Corrupt | ErrorKind::MissingObject);
            self.report.damage_seen += u64::from(self.damaged && of_damage);
            if *kind == ErrorKind::Poisoned && self.may_poison {
                self.poisoned = true;
                return Ok(());
            }
        }
        if self.refused {
            return Ok(());
        }
        asked.judge(number, answer)
    }

    fn spoil(&self, arrived: &mut Arrived) {
        let sabotage = self.sim.sabotage;
        for (number, answer) in &mut arrived.answers {
            match answer {
                Answer::Value(value) if sabotage == Sabotage::WrongValue && *number % 20 == 0 => {
                    if let Some(first) = value.first_mut() {
                        *first ^= 1;
                    }
                }
                Answer::Entries(rows, more) if sabotage == Sabotage::LostEntry => {
                    rows.clear();
                    *more = false;
                }
                _ => {}
            }
        }
        if sabotage == Sabotage::LostAnswer && arrived.answers.len() > 3 {
            arrived.answers.pop();
        }
        if sabotage == Sabotage::DoubleAnswer
            && let Some(last) = arrived.answers.last().cloned()
        {
            arrived.answers.push(last);
        }
    }

    fn control_done(&mut self, done: ControlDone) -> Outcome<()> {
        let Some(pending) = self.controls.remove(&done.user_data) else {
            return Err(format!("control {} ended and nobody waits for it", done.user_data));
        };
        match (pending, &done.result) {
            (PendingControl::Checkpoint { store, model }, Ok(ControlResult::Handle(handle))) => {
                if self.refused {
                    // Given up as soon as it is made.
                    return Ok(());
                }
                self.sim.dfs.retain(handle);
                self.report.checkpoints += 1;
                let handle = handle.clone();
                self.kept.push(Kept { store, handle, model });
            }
            (PendingControl::Drain, Ok(ControlResult::Done)) => {}
            (PendingControl::Checkpoint { .. } | PendingControl::Drain, Err(error)) => {
                self.poisoned |= error.kind == ErrorKind::Poisoned;
                if self.calm && error.kind != ErrorKind::Closed {
                    return Err(format!("a control request failed without a fault: {error}"));
                }
            }
            (PendingControl::Other, _) => {
                self.finished.insert(done.user_data, done);
            }
            (pending, result) => {
                return Err(format!("{pending:?} was answered with {result:?}"));
            }
        }
        Ok(())
    }

    /// Turns until everything asked for was answered.
    pub(super) fn settle(&mut self, what: &str) -> Outcome<()> {
        let mut idle = 0;
        for _ in 0..TURNS_MAX {
            if self.asked.is_empty() && self.controls.is_empty() {
                return Ok(());
            }
            self.turn(true)?;
            idle = if self.sim.is_idle() { idle + 1 } else { 0 };
            if idle > 5 {
                break;
            }
        }
        let first = self.asked.first();
        Err(format!(
            "{what}: stuck with {} requests and {:.200?}; the first: {first:.200?}; {:?}",
            self.asked.len(),
            format!("{:?}", self.controls),
            self.sim.counters()
        ))
    }

    /// Turns until nothing is on its way.
    pub(super) fn idle(&mut self) -> Outcome<()> {
        for _ in 0..TURNS_MAX {
            // The first turn brings out what can be done at once.
            self.turn(true)?;
            if self.sim.is_idle() {
                return Ok(());
            }
        }
        Err(format!("background work never ends: {:?}", self.sim.counters()))
    }

    pub(super) fn control(
        &mut self,
        op: ControlOp,
    ) -> Outcome<aquifer::types::Result<ControlResult>> {
        let user_data = self.start_control(op, PendingControl::Other);
        self.settle("a control request")?;
        let done = self.finished.remove(&user_data);
        done.map(|done| done.result).ok_or_else(|| "a control request got lost".to_owned())
    }

    pub(super) fn start_checkpoint(&mut self, store: usize) {
        let id = self.id(store);
        let slot = &self.stores[store];
        let late = self.sim.sabotage == Sabotage::LateSnapshot;
        let model = if late { slot.before.clone() } else { slot.model.clone() };
        self.start_control(ControlOp::Checkpoint(id), PendingControl::Checkpoint { store, model });
    }

    fn release(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let at = self.rng.below(self.kept.len());
        self.release_at(at);
    }

    pub(super) fn release_at(&mut self, at: usize) {
        let kept = self.kept.swap_remove(at);
        self.sim.dfs.give_up(&kept.handle);
        let id = self.id(kept.store);
        self.start_control(ControlOp::Release(id, kept.handle), PendingControl::Other);
    }

    /// Opens a store, empty or from a checkpoint, as often as faults make it fail. One whose
    /// manifest is damaged must fail, and the store begins empty.
    pub(super) fn open(&mut self, store: usize, mut from: Option<Kept>) -> Outcome<()> {
        for _ in 0..OPENS_MAX {
            self.next_nonce += 1;
            let incarnation =
                Incarnation { host_epoch: self.next_nonce as u64, nonce: self.next_nonce };
            let open = OpenStore {
                number: self.stores[store].number,
                incarnation,
                seed: self.rng.next_u64(),
                key_groups: KEY_GROUPS,
                range: (0, (KEY_GROUPS - 1) as u16),
                states: declared(),
                handles: from.iter().map(|kept| kept.handle.clone()).collect(),
                keep: 0,
            };
            let result = self.control(ControlOp::Open(Box::new(open)))?;
            let damaged = from.as_ref().is_some_and(|kept| self.is_damaged(kept));
            match result {
                Ok(_) if damaged => return Err("a damaged manifest was opened".to_owned()),
                Ok(ControlResult::Opened(id, table)) => {
                    let states = States::of(id, &table).map_err(|error| error.to_string())?;
                    self.report.restores += u64::from(from.is_some());
                    let slot = &mut self.stores[store];
                    slot.open = Some((id, states));
                    slot.model = from.map(|kept| kept.model).unwrap_or_default();
                    slot.before = slot.model.clone();
                    slot.incarnation = incarnation;
                    slot.claimed.clear();
                    return self.claim(store);
                }
                Ok(other) => return Err(format!("an open was answered with {other:?}")),
                Err(error) if self.calm => return Err(format!("an open failed: {error}")),
                Err(_) if damaged => {
                    self.report.refused_opens += 1;
                    from = None;
                }
                Err(_) => {}
            }
        }
        Err("a store never opened".to_owned())
    }

    fn is_damaged(&self, kept: &Kept) -> bool {
        let handle = Handle::decode(&kept.handle[..]).expect("a store gave it");
        self.sim.dfs.is_damaged(&handle.manifest)
    }

    // Hands a store all checkpoints of it that are kept.
    fn claim(&mut self, store: usize) -> Outcome<()> {
        let of_store = self.kept.iter().filter(|kept| kept.store == store);
        let handles: Vec<Vec<u8>> = of_store.map(|kept| kept.handle.clone()).collect();
        if !self.shape.claims || handles.is_empty() {
            return Ok(());
        }
        // Jobs of the store that was closed before may read on: they end first.
        self.idle()?;
        let id = self.id(store);
        match self.control(ControlOp::Claim(id, handles.clone()))? {
            Ok(_) => {
                for handle in &handles {
                    let names = self.sim.dfs.reachable(handle).map_err(|e| e.to_string())?;
                    self.stores[store].claimed.extend(names);
                }
                self.report.claims += 1;
                Ok(())
            }
            Err(error) if self.calm => Err(format!("a claim failed: {error}")),
            Err(_) => Ok(()),
        }
    }

    /// True if a store answers that it is poisoned.
    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    pub(super) fn crash(&mut self) -> Outcome<()> {
        if self.poisoned {
            // A poisoned store still answers what it was asked.
            self.settle("a poisoned store")?;
        }
        self.poisoned = false;
        self.refused = false;
        self.report.crashes += 1;
        self.add_counters();
        self.asked.clear();
        self.controls.clear();
        self.sim.crash(self.shape.limits);
        if self.sim.sabotage == Sabotage::DeletedTable {
            self.sim.dfs.lose_tables();
        }
        for store in 0..self.stores.len() {
            let from = some_kept(&self.kept, store, &mut self.rng);
            self.open(store, from)?;
        }
        Ok(())
    }

    // Closes a store with requests in flight and opens it from a checkpoint; others go on.
    fn reopen(&mut self, store: usize) -> Outcome<()> {
        let id = self.id(store);
        self.asked.may_fail(store);
        self.start_control(ControlOp::Close(id), PendingControl::Other);
        let from = some_kept(&self.kept, store, &mut self.rng);
        if self.rng.chance(5000) {
            self.turn(false)?;
        }
        self.open(store, from)
    }
}
