use std::cell::Cell;
use std::future::{pending, ready};

use super::*;
use crate::limits::HEDGE_WINDOW;
use crate::types::Error;

fn run<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
}

async fn quick(hedge: &Hedge) {
    for _ in 0..HEDGE_WINDOW {
        hedge.read(|| ready(Ok(()))).await.unwrap();
    }
}

/// The first request never answers, the second says `then`.
async fn late(hedge: &Hedge, then: u8) -> (u8, u32) {
    let asked = Cell::new(0);
    let answer = hedge.read(|| {
        asked.set(asked.get() + 1);
        let is_first = asked.get() == 1;
        async move { if is_first { pending().await } else { Ok(then) } }
    });
    (answer.await.unwrap(), asked.get())
}

#[test]
fn what_takes_long_is_asked_for_once_more() {
    run(async {
        let hedge = Hedge::default();
        hedge.turn_on();
        quick(&hedge).await;
        assert_eq!(late(&hedge, 7).await, (7, 2));
        assert_eq!(hedge.counters(), (1, 1));
    });
}

#[test]
fn an_answer_that_fails_leaves_the_read_to_the_other() {
    run(async {
        let hedge = Hedge::default();
        hedge.turn_on();
        quick(&hedge).await;
        let failed = || Err(Error::new(crate::types::error::ErrorKind::Io, "reset"));
        for is_first in [true, false] {
            let (asked, second) = (Cell::new(0), tokio::sync::Notify::new());
            let answer = hedge.read(|| {
                asked.set(asked.get() + 1);
                let (number, second) = (asked.get(), &second);
                let fails = (number == 1) == is_first;
                async move {
                    // Both are under way before one of them fails.
                    match number {
                        1 => second.notified().await,
                        _ => second.notify_one(),
                    }
                    tokio::task::yield_now().await;
                    if fails { failed() } else { Ok(1) }
                }
            });
            assert_eq!(answer.await.unwrap(), 1, "{is_first}");
        }
        assert_eq!(hedge.counters(), (2, 1));
    });
}

#[test]
fn few_are_asked_for_once_more_and_none_where_nobody_wants_it() {
    run(async {
        let hedge = Hedge::default();
        hedge.turn_on();
        quick(&hedge).await;
        let most = u64::from(HEDGE_WINDOW) / (HEDGE_BUDGET_DIVISOR - 1);
        for _ in 0..most + 5 {
            let hangs = tokio::time::timeout(Duration::from_millis(5), late(&hedge, 7));
            drop(hangs.await);
        }
        let (hedges, _) = hedge.counters();
        assert!((most / 2..=most + 1).contains(&hedges), "{hedges}");

        let off = Hedge::default();
        quick(&off).await;
        let hangs = tokio::time::timeout(Duration::from_millis(5), late(&off, 7));
        assert!(hangs.await.is_err());
        assert_eq!(off.counters(), (0, 0));
    });
}
