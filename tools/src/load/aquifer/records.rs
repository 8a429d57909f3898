//! Read-modify-writes as records of a controller, and the reads of a workload that mixes both.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use aquifer::aec::Context;
use aquifer::state::ValueState;
use aquifer::types::Error;

use super::opening::Live;
use crate::load::dataset::Dataset;
use crate::load::target::Outcome;

/// An operation as a record of its key.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) tag: u64,
    /// Whether it changes the value that it reads.
    pub(super) changes: bool,
}

/// A record that ended, and the value that a read has found.
struct Ended {
    record: Record,
    found: Option<Vec<u8>>,
}

/// What the records share with the target.
pub(super) struct Records {
    data: Dataset,
    /// Of the one store of the engine that is open; none where records are entries of maps.
    state: Cell<Option<ValueState>>,
    ended: RefCell<Vec<Ended>>,
    /// Buffers for values, of records that ended: so a record allocates nothing.
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Records {
    pub(super) fn new(data: Dataset) -> Self {
        let (state, ended, spare) = (Cell::default(), RefCell::default(), RefCell::default());
        Self { data, state, ended, spare }
    }

    /// Names the state of an engine that was opened.
    pub(super) fn set_home(&self, live: &Live) {
        self.state.set(live.value());
    }

    /// One record: reads the value of its key, or changes it to the next one.
    pub(super) async fn run(
        self: Rc<Self>,
        ctx: Context,
        record: Record,
    ) -> aquifer::types::Result<()> {
        let Some(state) = self.state.get() else {
            return Err(Error::invalid("entries of maps, and several stores, take no records"));
        };
        let key = ctx.key();
        let mut value = self.spare.borrow_mut().pop().unwrap_or_default();
        let there = state
            .get_with(&ctx, |now| {
                if record.changes {
                    self.data.next_value(&key, now, &mut value);
                } else {
                    value.clear();
                    value.extend_from_slice(now.unwrap_or_default());
                }
                now.is_some()
            })
            .await?;
        let found = if record.changes {
            state.put(&ctx, &value).await?;
            self.spare.borrow_mut().push(value);
            None
        } else {
            there.then_some(value)
        };
        self.ended.borrow_mut().push(Ended { record, found });
        Ok(())
    }

    /// Reports the records that ended since the last call, and returns how many.
    pub(super) fn hand_out(&self, done: &mut dyn FnMut(u64, Outcome<'_>)) -> usize {
        let mut ended = self.ended.borrow_mut();
        let count = ended.len();
        for Ended { record, found } in ended.drain(..) {
            let outcome = match &found {
                Some(value) => Outcome::Value(value),
                None if record.changes => Outcome::Done,
                None => Outcome::Absent,
            };
            done(record.tag, outcome);
            self.spare.borrow_mut().extend(found);
        }
        count
    }
}
