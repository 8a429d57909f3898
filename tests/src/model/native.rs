//! Programs through the Rust interface of the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use aquifer::shard::engine::{Config, Engine, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer::state::request::{Batch, Completions, StoreId};
use aquifer::types;

use crate::model::asked::Outcome;
use crate::model::oracle::{Op, States};
use crate::model::real::{About, End, Host};
use crate::model::report::Report;
use crate::sim::driver::Answer;
use crate::sim::rng::Rng;

/// See the module.
pub(super) struct Native {
    lanes: Vec<Lane>,
    engine: Engine,
}

/// A session, and where its shard is.
struct Lane {
    session: Session,
    shard: usize,
    batch: Batch,
    done: Completions,
    // Numbers of control requests in flight, by those of the session.
    controls: BTreeMap<u64, u64>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn answer(result: types::Result<ControlResult>) -> Answer {
    match result {
        Ok(ControlResult::Handle(handle)) => Answer::Value(handle),
        Ok(_) => Answer::Done,
        Err(error) => Answer::Failed(error.kind, error.text.to_string()),
    }
}

impl Host for Native {
    type Store = (StoreId, States);

    fn start(config: &Config, shards: &[usize]) -> Outcome<Self> {
        let engine = Engine::open(config.clone()).map_err(text)?;
        let lane = |&shard: &usize| {
            let session = engine.session(shard).map_err(text)?;
            let (batch, done) = Default::default();
            Ok(Lane { session, shard, batch, done, controls: BTreeMap::new() })
        };
        Ok(Self { lanes: shards.iter().map(lane).collect::<Outcome<_>>()?, engine })
    }

    fn open_store(&mut self, session: usize, config: StoreConfig) -> Outcome<Self::Store> {
        let (id, table) = self.lanes[session].session.open_store(config).map_err(text)?;
        Ok((id, States::of(id, &table).map_err(text)?))
    }

    fn close_store(&mut self, session: usize, (id, _): Self::Store) -> Outcome<()> {
        self.lanes[session].session.run_control(ControlOp::Close(id)).map_err(text)?;
        Ok(())
    }

    fn split(op: Op) -> Vec<Op> {
        vec![op]
    }

    fn add(&mut self, session: usize, store: Self::Store, op: &Op, number: u64) -> Outcome<()> {
        let asked = store.1.request(&mut self.lanes[session].batch, op, number);
        asked.map_err(|error| format!("{op:?}: {error}"))
    }

    fn submit(&mut self, session: usize) -> Outcome<bool> {
        let Lane { session, batch, .. } = &mut self.lanes[session];
        session.submit(batch).map_err(text)?;
        Ok(batch.requests.is_empty())
    }

    fn start_about(
        &mut self,
        session: usize,
        (id, _): Self::Store,
        about: About,
        number: u64,
    ) -> Outcome<()> {
        let op = match about {
            About::Checkpoint => ControlOp::Checkpoint(id),
            About::Release(handle) => ControlOp::Release(id, handle),
            About::Drain => ControlOp::Drain(id),
        };
        let lane = &mut self.lanes[session];
        let control = lane.session.start_control(op).map_err(text)?;
        lane.controls.insert(control, number);
        Ok(())
    }

    fn poll(&mut self, session: usize, patience: Duration, _: &mut Rng) -> Outcome<Vec<End>> {
        let Lane { session, done, controls, .. } = &mut self.lanes[session];
        session.poll(Some(patience), done).map_err(text)?;
        let mut ends: Vec<End> =
            done.items.iter().map(|item| (item.user_data, Answer::of(done, item))).collect();
        while let Some(control) = session.finished_control() {
            let number = controls.remove(&control.user_data);
            let number = number.ok_or("a control request ended and nobody waits for it")?;
            ends.push((number, answer(control.result)));
        }
        Ok(ends)
    }

    fn stop(self, rng: &mut Rng, report: &mut Report) -> Outcome<Option<Vec<End>>> {
        let mut counted = Vec::new();
        for lane in &self.lanes {
            if !counted.contains(&lane.shard) {
                report.add(&lane.session.statistics().map_err(text)?.counters);
                counted.push(lane.shard);
            }
        }
        let compactors = self.engine.statistics().compactors;
        report.errands_done += compactors.merges;
        report.errands_returned += compactors.returned;
        // A host may drop them in any order.
        let Self { lanes, engine } = self;
        if rng.chance(5000) {
            drop(engine);
        } else {
            drop(lanes);
        }
        Ok(None)
    }
}
