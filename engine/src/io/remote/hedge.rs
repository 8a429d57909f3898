//! Reads by the thread of stores that take longer than nearly all: the store is asked once more,
//! and the first answer counts. As on the ring (`io/http/hedge.rs`), a few in a hundred at most.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::io::clock;
use crate::io::handoff::locked;
use crate::io::tail::Tail;
use crate::limits::HEDGE_BUDGET_DIVISOR;
use crate::types::Result;

/// See the module; one for each store of an engine.
#[derive(Debug, Default)]
pub(super) struct Hedge {
    on: AtomicBool,
    tail: Mutex<Tail>,
    reads: AtomicU64,
    hedges: AtomicU64,
    won: AtomicU64,
}

impl Hedge {
    /// From now on.
    pub(super) fn turn_on(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// Reads that were asked for once more, and of these, those that were answered first.
    pub(super) fn counters(&self) -> (u64, u64) {
        (self.hedges.load(Ordering::Relaxed), self.won.load(Ordering::Relaxed))
    }

    /// Reads by `ask`, which is called once or twice. An answer that fails leaves the read to the
    /// other.
    pub(super) async fn read<T, F: Future<Output = Result<T>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T> {
        if !self.on.load(Ordering::Relaxed) {
            return ask().await;
        }
        let begun = clock::now();
        let answer = self.first_of(&ask).await;
        if answer.is_ok() {
            self.tail().answered(clock::now() - begun);
        }
        answer
    }

    async fn first_of<T, F: Future<Output = Result<T>>>(&self, ask: &impl Fn() -> F) -> Result<T> {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        let late_after = self.tail().late_after();
        let first = pin!(ask());
        let Some(late_after) = late_after else { return first.await };
        let late = pin!(tokio::time::sleep(Duration::from_nanos(late_after)));
        let first = match select(first, late).await {
            Either::Left((answer, _)) => return answer,
            Either::Right(((), first)) => first,
        };
        // One thread runs all of this, so nobody counts in between.
        let hedges = self.hedges.load(Ordering::Relaxed) + 1;
        if hedges * HEDGE_BUDGET_DIVISOR > reads {
            return first.await;
        }
        self.hedges.store(hedges, Ordering::Relaxed);
        match select(first, pin!(ask())).await {
            Either::Left((Ok(answer), _)) => Ok(answer),
            Either::Left((Err(_), second)) => second.await.inspect(|_| self.count_won()),
            Either::Right((Ok(answer), _)) => {
                self.count_won();
                Ok(answer)
            }
            Either::Right((Err(_), first)) => first.await,
        }
    }

    fn count_won(&self) {
        self.won.fetch_add(1, Ordering::Relaxed);
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        locked(&self.tail)
    }
}

#[cfg(test)]
#[path = "hedge_tests.rs"]
mod tests;
