//! Every interleaving of the engine's protocols between threads, with every value that the memory
//! model lets a load see. The engine's own files are built here on loom's types; a lost wake-up is
//! a deadlock, which loom reports.

#[path = "../../engine/src/io"]
mod io {
    pub mod bell;
    pub mod handoff;
    pub mod queue;
    pub mod vacancy;

    pub mod sync {
        pub use std::sync::PoisonError;

        pub use loom::sync::atomic::{AtomicBool, AtomicU8, Ordering};
        pub use loom::sync::{Condvar, Mutex, MutexGuard};
        pub use loom::thread::yield_now;
    }
}

use io::bell::Bell;
use io::handoff::Handoff;
use io::queue::Queue;
use io::vacancy::Vacancy;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::sync::{Arc, Mutex};
use loom::thread::{self, Thread};

/// A thread that sleeps on a bell. Its token stands for the eventfd of a doorbell.
struct Sleeper {
    bell: Bell,
    thread: Mutex<Option<Thread>>,
}

impl Sleeper {
    fn new() -> Self {
        Self { bell: Bell::new(), thread: Mutex::new(None) }
    }

    // The calling thread is the one that sleeps from now on.
    fn settle(&self) {
        *self.thread.lock().unwrap() = Some(thread::current());
    }

    fn sleep(&self) {
        if self.bell.try_sleep() {
            thread::park();
            self.bell.wake();
        }
    }

    fn wake(&self) {
        if self.bell.ring()
            && let Some(thread) = &*self.thread.lock().unwrap()
        {
            thread.unpark();
        }
    }
}

/// What is published without any order of its own: the protocol under test must bring it.
#[derive(Default)]
struct Published([AtomicUsize; 2]);

impl Published {
    fn sum(&self) -> usize {
        self.0.iter().map(|number| number.load(Relaxed)).sum()
    }
}

// More preemptions than this make more interleavings than minutes, where three threads meet. A
// bug of these protocols needs two or three.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(run);
}

#[test]
fn a_ring_is_never_lost() {
    model(|| {
        let shared = Arc::new((Sleeper::new(), Published::default()));
        let ringers: Vec<_> = (0..2)
            .map(|ringer| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.0[ringer].store(1, Relaxed);
                    shared.0.wake();
                })
            })
            .collect();
        shared.0.settle();
        while shared.1.sum() < 2 {
            shared.0.sleep();
        }
        ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
    });
}

#[test]
fn a_session_never_sleeps_through_an_answer() {
    loom::model(|| {
        let shared = Arc::new((Sleeper::new(), Published::default()));
        let shard = Arc::clone(&shared);
        let shard = thread::spawn(move || {
            for answers in 1..=3 {
                shard.1.0[0].store(answers, Relaxed);
                shard.0.wake();
            }
        });
        shared.0.settle();
        while shared.1.sum() < 3 {
            shared.0.sleep();
        }
        shard.join().unwrap();
    });
}

#[test]
fn a_driver_that_is_awake_sees_what_rang() {
    loom::model(|| {
        let shared = Arc::new((Bell::new(), Published::default()));
        let ringer = Arc::clone(&shared);
        let ringer = thread::spawn(move || {
            ringer.1.0[0].store(1, Relaxed);
            assert!(!ringer.0.ring(), "nobody sleeps");
        });
        if shared.0.take_rung() {
            assert_eq!(shared.1.sum(), 1);
        }
        ringer.join().unwrap();
    });
}

#[test]
fn what_is_handed_over_arrives_once() {
    model(|| {
        let shared = Arc::new((Sleeper::new(), Handoff::new()));
        let givers: Vec<_> = (1..=2)
            .map(|thing| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.put(thing);
                    shared.0.wake();
                })
            })
            .collect();
        shared.0.settle();
        let mut things = Vec::new();
        loop {
            things.extend(shared.1.take());
            if things.len() == 2 {
                break;
            }
            shared.0.sleep();
        }
        things.sort_unstable();
        assert_eq!(things, [1, 2]);
        givers.into_iter().for_each(|giver| giver.join().unwrap());
        assert!(shared.1.take().is_empty());
    });
}

/// One direction of a link: a ring of one place, and the bell of who takes from it.
#[derive(Default)]
struct Ring(Mutex<Option<u32>>);

#[test]
fn a_link_brings_every_order_and_every_answer() {
    model(|| {
        let shared = Arc::new((Sleeper::new(), Sleeper::new(), Ring::default(), Ring::default()));
        let executor = Arc::clone(&shared);
        let executor = thread::spawn(move || {
            let (own, shard, orders, answers) = &*executor;
            own.settle();
            let mut left = 2;
            while left > 0 {
                let order = orders.0.lock().unwrap().take();
                match order {
                    Some(order) => {
                        *answers.0.lock().unwrap() = Some(order);
                        shard.wake();
                        left -= 1;
                    }
                    None => own.sleep(),
                }
            }
        });
        let (executor_bell, own, orders, answers) = &*shared;
        own.settle();
        for order in 1..=2 {
            *orders.0.lock().unwrap() = Some(order);
            executor_bell.wake();
            let answer = loop {
                let answer = answers.0.lock().unwrap().take();
                match answer {
                    Some(answer) => break answer,
                    None => own.sleep(),
                }
            };
            assert_eq!(answer, order);
        }
        executor.join().unwrap();
    });
}

#[test]
fn a_shard_that_found_no_place_is_told_of_one() {
    loom::model(|| {
        let shared = Arc::new((Sleeper::new(), Vacancy::new(), Ring::default()));
        let shard = Arc::clone(&shared);
        let shard = thread::spawn(move || {
            let (own, vacancy, ring) = &*shard;
            own.settle();
            let push = |answer| {
                let mut place = ring.0.lock().unwrap();
                let free = place.is_none();
                if free {
                    *place = Some(answer);
                }
                free
            };
            for answer in 1..=2 {
                while !push(answer) {
                    vacancy.want();
                    if push(answer) {
                        break;
                    }
                    own.sleep();
                }
            }
        });
        let (shard_bell, vacancy, ring) = &*shared;
        let mut taken = 0;
        while taken < 2 {
            if ring.0.lock().unwrap().take().is_some() {
                taken += 1;
                if vacancy.made() {
                    shard_bell.wake();
                }
            } else {
                thread::yield_now();
            }
        }
        shard.join().unwrap();
    });
}

#[test]
fn each_read_finds_a_thread_that_is_free() {
    model(|| {
        let queue = Arc::new(Queue::new());
        // A thread that took a read is away as long as the disk wants.
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.take())
            })
            .collect();
        queue.extend(std::iter::once(1));
        queue.extend(std::iter::once(2));
        let taken = readers.into_iter().map(|reader| reader.join().unwrap());
        assert_eq!(taken.map(Option::unwrap).sum::<i32>(), 3);
    });
}

#[test]
fn a_queue_that_closes_keeps_nobody() {
    model(|| {
        let queue = Arc::new(Queue::new());
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || while queue.take().is_some() {})
            })
            .collect();
        assert!(queue.extend(std::iter::once(())) <= 1, "one thing lacks one thread at most");
        queue.close();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}
