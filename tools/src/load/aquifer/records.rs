//! Read-modify-writes as records of a controller.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use aquifer::aec::Context;
use aquifer::state::ValueState;

use crate::load::dataset::Dataset;
use crate::load::target::Outcome;

/// What the records share with the target.
pub(super) struct Records {
    data: Dataset,
    /// Of the engine that is open.
    state: Cell<ValueState>,
    /// Tags of records that ended.
    ended: RefCell<Vec<u64>>,
    /// Buffers for new values, of records that ended: so a record allocates nothing.
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Records {
    pub(super) fn new(data: Dataset, state: ValueState) -> Self {
        let (ended, spare) = (RefCell::default(), RefCell::default());
        Self { data, state: Cell::new(state), ended, spare }
    }

    /// Names the state of an engine that was opened again.
    pub(super) fn set_state(&self, state: ValueState) {
        self.state.set(state);
    }

    /// One record: changes the value of its key to the next one.
    pub(super) async fn change(
        self: Rc<Self>,
        ctx: Context,
        tag: u64,
    ) -> aquifer::types::Result<()> {
        let (key, state) = (ctx.key(), self.state.get());
        let mut next = self.spare.borrow_mut().pop().unwrap_or_default();
        state.get_with(&ctx, |now| self.data.next_value(&key, now, &mut next)).await?;
        state.put(&ctx, &next).await?;
        self.spare.borrow_mut().push(next);
        self.ended.borrow_mut().push(tag);
        Ok(())
    }

    /// Reports the records that ended since the last call, and returns how many.
    pub(super) fn hand_out(&self, done: &mut dyn FnMut(u64, Outcome<'_>)) -> usize {
        let mut ended = self.ended.borrow_mut();
        let count = ended.len();
        ended.drain(..).for_each(|tag| done(tag, Outcome::Done));
        count
    }
}
