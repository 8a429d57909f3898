use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use crate::aec::keys::KeyTable;
use crate::aec::tests_toy::{POISON, Random, Toy};
use crate::aec::{Bytes, Context, Controller, Options, join};
use crate::limits::{KEY_GROUPS_MAX, RECORD_OPERATIONS_MAX, TURN_BATCH_BYTES_MAX, VALUE_BYTES_MAX};
use crate::state::request::{Batch, Completions, Status, StoreId};
use crate::state::{Key, StateKind, StateTable, ValueState};
use crate::types::Result;
use crate::types::error::ErrorKind;

fn value() -> ValueState {
    let mut table = StateTable::default();
    table.declare("value", StateKind::Value).unwrap();
    table.value(StoreId(0), "value").unwrap()
}

// The host's side of a controller.
#[derive(Default)]
struct Host {
    toy: Toy,
    batch: Batch,
    done: Completions,
}

impl Host {
    fn turn<R, F, Fut>(&mut self, controller: &mut Controller<R, F, Fut>) -> usize
    where
        F: FnMut(Context, R) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        controller.turn(&mut self.done, &mut self.batch);
        let requests = self.batch.requests.len();
        self.toy.submit(&mut self.batch);
        requests
    }

    fn drain<R, F, Fut>(&mut self, controller: &mut Controller<R, F, Fut>)
    where
        F: FnMut(Context, R) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        while !controller.is_idle() {
            self.turn(controller);
            self.toy.answer_all(&mut self.done);
        }
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let refuse = |in_flight_max, key_groups| {
        let options = Options { in_flight_max, key_groups };
        Controller::new(options, |_: Context, (): ()| async { Ok(()) }).unwrap_err().kind
    };
    assert_eq!(refuse(0, 128), ErrorKind::Invalid);
    assert_eq!(refuse(1, 0), ErrorKind::Invalid);
    assert_eq!(refuse(1, KEY_GROUPS_MAX + 1), ErrorKind::Invalid);
}

#[test]
fn the_limit_hands_the_record_back_and_parked_records_count() {
    let value = value();
    let options = Options { in_flight_max: 3, ..Options::default() };
    let mut controller = Controller::new(options, |ctx: Context, bytes: Vec<u8>| async move {
        value.put(&ctx, &bytes).await
    })
    .unwrap();
    let mut host = Host::default();
    for _ in 0..3 {
        controller.offer(b"k", b"v".to_vec()).unwrap();
    }
    assert_eq!(controller.offer(b"other", b"back".to_vec()), Err(b"back".to_vec()));
    assert_eq!((controller.in_flight(), controller.parked()), (3, 2));
    assert_eq!(host.turn(&mut controller), 1, "one record of a key at a time");
    host.toy.answer_all(&mut host.done);
    assert_eq!(host.turn(&mut controller), 1, "the next starts in the turn that ends the first");
    assert_eq!((controller.in_flight(), controller.parked()), (2, 1));
    controller.offer(b"other", b"v".to_vec()).unwrap();
    host.drain(&mut controller);
    let counters = controller.counters();
    assert_eq!((counters.records, counters.parked, counters.requests), (4, 2, 4));
    assert_eq!(counters.in_flight_max, 3);
    assert!(counters.in_flight_mean() > 0.0);
}

#[test]
fn submitted_writes_keep_the_record_in_flight() {
    let value = value();
    let ended = Rc::new(Cell::new(0));
    let mut controller = Controller::new(Options::default(), |ctx: Context, n: u8| {
        let ended = Rc::clone(&ended);
        async move {
            value.put(&ctx, &[n]).submit().await?;
            value.put(&ctx, &[n, n]).submit().await?;
            ended.set(ended.get() + 1);
            Ok(())
        }
    })
    .unwrap();
    let mut host = Host::default();
    controller.offer(b"k", 1).unwrap();
    controller.offer(b"k", 2).unwrap();
    assert_eq!(host.turn(&mut controller), 2);
    assert_eq!((ended.get(), controller.in_flight()), (1, 2));
    host.toy.answer(&mut Random(0), 1, &mut host.done);
    assert_eq!(host.turn(&mut controller), 0, "one write is still on its way");
    host.toy.answer(&mut Random(0), 1, &mut host.done);
    assert_eq!(host.turn(&mut controller), 2);
    host.drain(&mut controller);
    assert_eq!(host.toy.rows.values().next().unwrap(), &[2, 2]);
}

#[test]
fn failures_name_the_key_and_the_first_cause() {
    let value = value();
    let mut controller = Controller::new(Options::default(), |ctx: Context, how: u8| async move {
        match how {
            0 => value.put(&ctx, POISON).await,
            1 => value.put(&ctx, POISON).submit().await,
            2 => value.put(&ctx, &vec![0; VALUE_BYTES_MAX + 1]).await,
            3 => value.put(&ctx, POISON).await.or(Ok(())),
            _ => value.put(&ctx, b"fine").await,
        }
    })
    .unwrap();
    let mut host = Host::default();
    for how in 0..5 {
        controller.offer(&[how], how).unwrap();
        controller.offer(&[how], 9).unwrap();
    }
    host.drain(&mut controller);
    let mut failures: Vec<_> = controller.failures().collect();
    failures.sort_by_key(|failure| failure.key.clone());
    let found: Vec<_> = failures.iter().map(|f| (f.key[0], f.error.kind)).collect();
    let (corrupt, large) = (ErrorKind::Corrupt, ErrorKind::TooLarge);
    assert_eq!(found, [(0, corrupt), (1, corrupt), (2, large)]);
    assert_eq!(failures[0].group, Key::new(&[0], 128).group);
    assert_eq!(controller.failures().count(), 0);
    assert_eq!(host.toy.rows.len(), 5, "later records of the failed keys ran");
}

#[test]
fn a_record_submits_so_many_operations_and_the_rest_waits() {
    let value = value();
    let many = RECORD_OPERATIONS_MAX as usize * 2 + 5;
    let mut controller = Controller::new(Options::default(), |ctx: Context, (): ()| async move {
        for i in 0..many {
            value.put(&ctx, &i.to_le_bytes()).submit().await?;
        }
        Ok(())
    })
    .unwrap();
    let mut host = Host::default();
    controller.offer(b"k", ()).unwrap();
    let mut requests = Vec::new();
    while !controller.is_idle() {
        requests.push(host.turn(&mut controller));
        host.toy.answer_all(&mut host.done);
    }
    let limit = RECORD_OPERATIONS_MAX as usize;
    assert_eq!(requests, [limit, limit, 5, 0]);
    assert_eq!(host.toy.rows.values().next().unwrap(), &(many - 1).to_le_bytes());
}

#[test]
fn a_full_batch_ends_the_turn_and_the_next_goes_on() {
    let value = value();
    let mut controller = Controller::new(Options::default(), |ctx: Context, (): ()| async move {
        value.put(&ctx, &vec![1; VALUE_BYTES_MAX]).await
    })
    .unwrap();
    for key in 0..5_u8 {
        controller.offer(&[key], ()).unwrap();
    }
    let mut host = Host::default();
    let first = host.turn(&mut controller);
    assert_eq!(first, TURN_BATCH_BYTES_MAX.div_ceil(VALUE_BYTES_MAX));
    assert_eq!(host.turn(&mut controller), 2);
    assert_eq!(host.turn(&mut controller), 1);
    host.drain(&mut controller);
}

#[test]
fn an_answer_read_in_a_later_turn_is_kept() {
    let value = value();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut controller = Controller::new(Options::default(), |ctx: Context, (): ()| {
        let seen = Rc::clone(&seen);
        async move {
            value.put(&ctx, b"before").await?;
            let mut early = pin!(value.get(&ctx));
            assert!(poll_fn(|task| Poll::Ready(early.as_mut().poll(task))).await.is_pending());
            let mut failed = pin!(value.put(&ctx, POISON));
            assert!(poll_fn(|task| Poll::Ready(failed.as_mut().poll(task))).await.is_pending());
            value.put(&ctx, b"after").await?;
            value.put(&ctx, b"later").await?;
            let before = early.await?.unwrap();
            seen.borrow_mut().push(before);
            assert_eq!(failed.await.unwrap_err().kind, ErrorKind::Corrupt);
            Ok(())
        }
    })
    .unwrap();
    controller.offer(b"k", ()).unwrap();
    Host::default().drain(&mut controller);
    assert_eq!(controller.failures().count(), 0);
    assert_eq!(*seen.borrow(), [Bytes::from_slice(b"before")]);
}

#[test]
fn a_dropped_operation_goes_on_and_its_failed_write_fails_the_record() {
    let value = value();
    let mut controller =
        Controller::new(Options::default(), |ctx: Context, late: bool| async move {
            let mut first = Box::pin(value.put(&ctx, POISON));
            let mut second = Box::pin(value.get(&ctx));
            let polled = poll_fn(|task| Poll::Ready(first.as_mut().poll(task))).await;
            assert!(polled.is_pending());
            let polled = poll_fn(|task| Poll::Ready(second.as_mut().poll(task))).await;
            assert!(polled.is_pending());
            if late {
                value.get(&ctx).await?;
            }
            drop((first, second));
            value.put(&ctx, b"x").await
        })
        .unwrap();
    let mut host = Host::default();
    controller.offer(b"early", false).unwrap();
    controller.offer(b"late", true).unwrap();
    host.drain(&mut controller);
    assert_eq!(controller.failures().count(), 2);
    assert_eq!(host.toy.rows.len(), 2);
    assert_eq!(controller.counters().strays, 0);
}

#[test]
fn a_context_beyond_its_record_is_refused() {
    let value = value();
    let kept = Rc::new(RefCell::new(None::<Context>));
    let mut controller = Controller::new(Options::default(), |ctx: Context, (): ()| {
        let kept = Rc::clone(&kept);
        async move {
            let Some(old) = kept.take() else {
                assert_eq!((&ctx.key()[..], ctx.group()), (&b"a"[..], Key::new(b"a", 128).group));
                *kept.borrow_mut() = Some(ctx);
                return Ok(());
            };
            assert!(old.key().is_empty());
            value.put(&old, b"x").await
        }
    })
    .unwrap();
    let mut host = Host::default();
    for key in [b"a", b"b"] {
        controller.offer(key, ()).unwrap();
        host.drain(&mut controller);
    }
    let failures: Vec<_> = controller.failures().collect();
    assert_eq!((failures.len(), failures[0].error.kind), (1, ErrorKind::Invalid));
    assert!(failures[0].error.text.contains("has ended"), "{}", failures[0].error);
}

#[test]
fn completions_of_strangers_are_counted_and_do_nothing() {
    let value = value();
    let mut controller = Controller::new(Options::default(), |ctx: Context, (): ()| async move {
        value.get(&ctx).await.map(drop)
    })
    .unwrap();
    let mut host = Host::default();
    controller.offer(b"k", ()).unwrap();
    controller.turn(&mut host.done, &mut host.batch);
    let user_data = host.batch.requests[0].user_data;
    host.done.push(user_data ^ (1 << 32), Status::Absent);
    host.done.push(user_data, Status::Absent);
    host.done.push(user_data, Status::Absent);
    host.done.push(12345, Status::Done);
    host.batch.clear();
    host.turn(&mut controller);
    assert!(controller.is_idle());
    assert_eq!(controller.counters().strays, 3);
}

#[test]
fn dropping_the_controller_drops_records_in_flight() {
    let value = value();
    let alive = Rc::new(());
    let mut controller = Controller::new(Options::default(), |ctx: Context, (): ()| {
        let alive = Rc::clone(&alive);
        async move {
            let (a, b) = join(value.get(&ctx), value.put(&ctx, b"x")).await;
            drop(alive);
            a.map(drop).and(b)
        }
    })
    .unwrap();
    for key in 0..10_u8 {
        controller.offer(&[key % 5], ()).unwrap();
    }
    controller.turn(&mut Completions::default(), &mut Batch::default());
    assert_eq!(Rc::strong_count(&alive), 6);
    drop(controller);
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn a_panic_of_user_code_reaches_the_host_and_leaves_its_buffers() {
    let value = value();
    let mut controller =
        Controller::new(Options::default(), |ctx: Context, boom: bool| async move {
            value.put(&ctx, b"x").submit().await?;
            value.get_with(&ctx, |_| assert!(!boom, "user code")).await
        })
        .unwrap();
    let mut host = Host::default();
    for key in 0..4_u8 {
        controller.offer(&[key], key == 2).unwrap();
    }
    host.turn(&mut controller);
    host.toy.answer_all(&mut host.done);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        controller.turn(&mut host.done, &mut host.batch);
    }));
    assert!(caught.is_err());
    assert!(host.done.items.is_empty());
    host.turn(&mut controller);
    assert_eq!(controller.in_flight(), 1, "only the record that panicked never ends");
    drop(controller);
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn combinators_with_wakers_of_their_own_are_woken() {
    let value = value();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut controller = Controller::new(Options::default(), |ctx: Context, (): ()| {
        let (waker, count) = (waker.clone(), Arc::clone(&count));
        async move {
            for _ in 0..RECORD_OPERATIONS_MAX - 1 {
                value.put(&ctx, b"x").submit().await?;
            }
            // Polled only when woken, as a set of futures does. The second finds no room.
            let (mut a, mut b) = (pin!(value.get(&ctx)), pin!(value.get(&ctx)));
            let (mut a_done, mut b_done, mut seen) = (false, false, usize::MAX);
            poll_fn(|_| {
                let mut task = TaskContext::from_waker(&waker);
                let woken = count.0.load(Ordering::Relaxed);
                if woken != seen {
                    seen = woken;
                    a_done = a_done || a.as_mut().poll(&mut task).is_ready();
                    b_done = b_done || b.as_mut().poll(&mut task).is_ready();
                }
                if a_done && b_done { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            Ok(())
        }
    })
    .unwrap();
    controller.offer(b"k", ()).unwrap();
    Host::default().drain(&mut controller);
    assert!(count.0.load(Ordering::Relaxed) >= 3);
}

#[test]
fn the_key_table_equals_a_map() {
    let mut random = Random(5);
    let (mut table, mut model) = (KeyTable::default(), std::collections::BTreeMap::new());
    for lane in 0..200_000 {
        // Few home places and equal tags, so that runs and collisions are common.
        let hash = (random.below(24) << 27) | (random.below(4) << 62) | random.below(3);
        let hash = hash.wrapping_mul(if random.below(2) == 0 { 1 } else { 5 });
        let known = model.get(&hash).copied();
        let holds = |found: u32| model.get(&hash) == Some(&found);
        assert_eq!(table.find(hash, holds), known);
        match known {
            Some(known) => {
                table.remove(hash, known);
                model.remove(&hash);
            }
            None => {
                table.insert(hash, lane);
                model.insert(hash, lane);
            }
        }
    }
    assert!(model.len() > 64, "the table has grown");
}
