use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use super::*;
use crate::io::read_driver::ReadDriver;
use crate::io::reads::{Read, Wait};
use crate::io::retry::Patience;
use crate::io::ring_open::RingMode;
use crate::io::test_support::{Folder, name};
use crate::io::values::{IoDone, IoRequest, JobDone, JobIo, JobRequest, JobState};
use crate::io::{clock, entropy};
use crate::limits::PAGE_BYTES;
use crate::mem::pool::Buf;
use crate::mem::pool::Pool;
use crate::mem::slab::Slab;

/// A job made of a closure.
type TestJob = Box<dyn FnMut(&mut JobIo) -> JobState + Send>;

fn executor(kind: IoKind) -> &'static Executor<TestJob> {
    static EXECUTORS: Executors<TestJob> = Executors::new(|job, io| job(io));
    EXECUTORS.of(kind)
}

const KINDS: [IoKind; 2] = [IoKind::Uring, IoKind::Portable];

fn token() -> Token {
    Slab::default().insert(())
}

fn reach(dfs: Dfs) -> Reach {
    Reach { dfs, compactors: Arc::default(), cache: None }
}

fn link(kind: IoKind, url: &str) -> (ExecutorLink<TestJob>, Doorbell) {
    let bell = Doorbell::new().unwrap();
    let link = executor(kind).link(&bell, &reach(Dfs::open(url).unwrap())).unwrap();
    (link, bell)
}

fn start(link: &mut ExecutorLink<TestJob>, job: TestJob) {
    assert!(link.start(Order::Job { token: token(), job }).is_ok());
}

/// Waits for an answer, as a shard would: nudging, for ten seconds at most.
fn answer(link: &mut ExecutorLink<TestJob>) -> Finished<TestJob> {
    let start = Instant::now();
    loop {
        if let Some(finished) = link.finished() {
            return finished;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "the executor hangs");
        link.nudge(clock::now()).unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The parts of a job's answer.
fn job_of(finished: Finished<TestJob>) -> (Result<TestJob>, Vec<(ObjectName, OpenObject)>) {
    let Finished::Job { job, opened, .. } = finished else { panic!("a job") };
    (job, opened)
}

#[test]
fn a_link_is_let_go_when_its_shard_leaves() {
    for round in 0..1000 {
        let (mut link, _bell) = link(KINDS[round % KINDS.len()], "memory://left");
        // The executors drop their ends of these rings with the link.
        let mut kept = Vec::new();
        for lane in &mut link.lanes {
            let (_, another) = RingBuffer::new(1);
            kept.push(std::mem::replace(&mut lane.finished, another));
        }
        drop(link);
        let start = Instant::now();
        while !kept.iter().all(Consumer::is_abandoned) {
            assert!(start.elapsed() < Duration::from_secs(10), "an executor keeps the link");
            std::thread::yield_now();
        }
    }
}

fn urls(folder: &Folder) -> [String; 2] {
    [folder.url().to_owned(), format!("memory://jobs-{:x}", entropy::nonce().unwrap())]
}

fn piece(at: u8) -> Vec<u8> {
    vec![at; 3 * PAGE_BYTES]
}

/// Writes two objects of `pieces` pieces at a time, then seals them.
fn writing(pieces: u8) -> TestJob {
    let mut started = false;
    let mut sealed = 0;
    Box::new(move |io| {
        if !started {
            started = true;
            for object in [name(1), name(2)] {
                for at in 0..pieces {
                    io.requests.push(JobRequest::Append { object, bytes: piece(at) });
                }
                io.requests.push(JobRequest::Seal { object });
            }
            return JobState::Waiting;
        }
        for done in io.done.drain(..) {
            match done {
                JobDone::Appended { bytes, result } => {
                    result.unwrap();
                    assert!(bytes.is_empty() && bytes.capacity() > 0);
                }
                JobDone::Sealed { result, .. } => {
                    result.unwrap();
                    sealed += 1;
                }
                other => panic!("nothing else was asked for: {other:?}"),
            }
        }
        if sealed == 2 { JobState::Finished } else { JobState::Waiting }
    })
}

/// Reads the pieces of object 1 and compares them.
fn reading(pieces: u8) -> TestJob {
    let mut asked = false;
    let mut left = pieces;
    Box::new(move |io| {
        if !asked {
            asked = true;
            for at in 0..pieces {
                let offset = (usize::from(at) * 3 * PAGE_BYTES) as u64;
                let (tag, len) = (u32::from(at), 3 * PAGE_BYTES);
                io.requests.push(JobRequest::Read {
                    tag,
                    object: name(1),
                    offset,
                    len,
                    buf: Buf::map(len).unwrap(),
                });
            }
            return JobState::Working;
        }
        for done in io.done.drain(..) {
            let JobDone::Read { tag, result } = done else { panic!("nothing was written") };
            assert_eq!(result.unwrap().bytes(), piece(u8::try_from(tag).unwrap()));
            left -= 1;
        }
        if left == 0 { JobState::Finished } else { JobState::Waiting }
    })
}

#[test]
fn jobs_write_and_read_objects() {
    for kind in KINDS {
        let folder = Folder::new();
        for url in urls(&folder) {
            let (mut link, _bell) = link(kind, &url);
            start(&mut link, writing(20));
            let (job, opened) = job_of(answer(&mut link));
            assert!(job.is_ok());
            assert_eq!(opened.len(), 2);
            // What a job sealed is read through the ring of its shard.
            let mut ring = ReadDriver::open(kind, RingMode::Owned).unwrap();
            for (_, object) in opened {
                let object = ring.open_object(object);
                let buf = Pool::default().take(3 * PAGE_BYTES).unwrap();
                let offset = 7 * 3 * PAGE_BYTES as u64;
                ring.submit(Read { token: token(), object, offset, buf, again: false }, 0);
                let mut done = Vec::new();
                while done.is_empty() {
                    ring.turn(0, Wait::Until { deadline: None }, &mut done).unwrap();
                }
                let IoDone::Read { buf, result, .. } = &done[0] else { panic!("a read") };
                result.clone().unwrap();
                assert_eq!(buf.bytes(), piece(7));
            }
            start(&mut link, reading(20));
            let (job, _) = job_of(answer(&mut link));
            assert!(job.is_ok());
            assert_eq!(link.owed(), 0);
        }
        let counters = executor(kind).counters();
        assert!(counters.iter().map(|core| core.written_bytes).sum::<u64>() >= 4 * 60 * 4096);
    }
}

#[test]
fn appends_of_any_size_keep_their_order() {
    for kind in KINDS {
        let folder = Folder::new();
        let pieces: Vec<Vec<u8>> = [3, 3, 700, 1, 1, 256, 256]
            .iter()
            .enumerate()
            .map(|(at, pages)| vec![at as u8 + 1; pages * PAGE_BYTES])
            .collect();
        for url in urls(&folder) {
            let (mut link, _bell) = link(kind, &url);
            let mut left = Some(pieces.clone());
            start(
                &mut link,
                Box::new(move |io| {
                    let Some(pieces) = left.take() else {
                        let sealed = |done: &JobDone| matches!(done, JobDone::Sealed { .. });
                        let over = io.done.drain(..).any(|done| sealed(&done));
                        return if over { JobState::Finished } else { JobState::Waiting };
                    };
                    let object = name(4);
                    let append = |bytes| JobRequest::Append { object, bytes };
                    io.requests.extend(pieces.into_iter().map(append));
                    io.requests.push(JobRequest::Seal { object });
                    JobState::Waiting
                }),
            );
            assert!(job_of(answer(&mut link)).0.is_ok());
            let whole = Dfs::open(&url).unwrap().load(&name(4), 1 << 30).unwrap();
            assert!(whole == pieces.concat());
        }
    }
}

#[test]
fn control_orders_are_carried_out() {
    for kind in KINDS {
        let folder = Folder::new();
        for url in urls(&folder) {
            let (mut link, _bell) = link(kind, &url);
            let load = |bytes_max| {
                Order::Io(IoRequest::Load {
                    token: token(),
                    name: name(3),
                    bytes_max,
                    expected: true,
                })
            };
            let bytes = b"manifest".to_vec();
            assert!(
                link.start(Order::Io(IoRequest::Put { token: token(), name: name(3), bytes }))
                    .is_ok()
            );
            let Finished::Io(IoDone::Put { result, .. }) = answer(&mut link) else {
                panic!("a put")
            };
            result.unwrap();
            for (bytes_max, expected) in
                [(100, Ok(b"manifest".to_vec())), (3, Err(ErrorKind::TooLarge))]
            {
                assert!(link.start(load(bytes_max)).is_ok());
                let Finished::Io(IoDone::Load { result, .. }) = answer(&mut link) else {
                    panic!("a load")
                };
                assert_eq!(result.map_err(|e| e.kind), expected);
            }
            assert!(link.start(Order::Io(IoRequest::Delete { name: name(3) })).is_ok());
            assert_eq!(link.owed(), 0);
            let deadline = Instant::now() + Duration::from_secs(10);
            loop {
                assert!(link.start(load(100)).is_ok());
                let Finished::Io(IoDone::Load { result, .. }) = answer(&mut link) else {
                    panic!("a load")
                };
                if result.is_err_and(|e| e.kind == ErrorKind::MissingObject) {
                    break;
                }
                assert!(Instant::now() < deadline, "the object was not deleted");
            }
        }
    }
}

#[test]
fn a_panicking_job_ends_as_an_error() {
    for kind in KINDS {
        let folder = Folder::new();
        let (mut link, _bell) = link(kind, folder.url());
        start(
            &mut link,
            Box::new(|io| {
                if io.done.is_empty() {
                    io.requests.push(JobRequest::Append { object: name(1), bytes: piece(1) });
                    return JobState::Waiting;
                }
                panic!("planted");
            }),
        );
        let (job, opened) = job_of(answer(&mut link));
        let error = job.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Poisoned);
        assert!(error.text.contains("planted"), "{error}");
        assert!(opened.is_empty());
        // The executor lives, and the object can be written anew.
        start(&mut link, writing(1));
        let (job, _) = job_of(answer(&mut link));
        assert!(job.is_ok());
    }
}

#[test]
fn a_job_that_waits_for_nothing_ends_as_an_error() {
    for kind in KINDS {
        let (mut link, _bell) = link(kind, "memory://idle");
        start(&mut link, Box::new(|_| JobState::Waiting));
        let (job, _) = job_of(answer(&mut link));
        assert!(job.err().unwrap().text.contains("asked for nothing"));
    }
}

#[test]
fn an_object_that_cannot_be_opened_is_a_failure_of_its_request() {
    for kind in KINDS {
        let folder = Folder::new();
        for url in urls(&folder) {
            let (mut link, _bell) = link(kind, &url);
            start(
                &mut link,
                Box::new(|io| match io.done.pop() {
                    None => {
                        io.requests.push(JobRequest::Open { object: name(8), bytes: 0 });
                        JobState::Waiting
                    }
                    Some(JobDone::Opened { result, .. }) => {
                        let error = result.unwrap_err();
                        assert_eq!(error.kind, ErrorKind::MissingObject);
                        assert!(error.text.contains(&name(8).to_string()), "{error}");
                        JobState::Finished
                    }
                    Some(other) => panic!("{other:?}"),
                }),
            );
            let (job, opened) = job_of(answer(&mut link));
            assert!(job.is_ok());
            assert!(opened.is_empty());
        }
    }
}

#[test]
fn reads_loads_and_puts_are_tried_again() {
    for kind in KINDS {
        let folder = Folder::new();
        for url in urls(&folder) {
            let pieces: Vec<u8> = (0..20).flat_map(piece).collect();
            Dfs::open(&url).unwrap().put(&name(1), &pieces).unwrap();
            let (mut link, _bell) = link(kind, &format!("{url}?fail=0.5&seed=7"));
            for round in 0..8 {
                let (token, bytes_max) = (Token(round), 1 << 20);
                let order =
                    Order::Io(IoRequest::Put { token, name: name(100 + round), bytes: piece(2) });
                assert!(link.start(order).is_ok());
                let Finished::Io(IoDone::Put { result, .. }) = answer(&mut link) else {
                    panic!("a put ends")
                };
                result.unwrap();
                assert!(
                    link.start(Order::Io(IoRequest::Load {
                        token,
                        name: name(100 + round),
                        bytes_max,
                        expected: true
                    }))
                    .is_ok()
                );
                let Finished::Io(IoDone::Load { result, .. }) = answer(&mut link) else {
                    panic!("a load ends")
                };
                assert!(result.unwrap() == piece(2));
            }
            start(&mut link, reading(20));
            assert!(job_of(answer(&mut link)).0.is_ok());
        }
    }
}

#[test]
fn what_fails_is_tried_again_for_as_long_as_the_host_is_patient() {
    let dfs = Dfs::open("memory://patience?fail=1").unwrap();
    let dfs = dfs.with_patience(Patience::new(Duration::from_secs(1)).unwrap());
    let bell = Doorbell::new().unwrap();
    let mut link = executor(IoKind::Uring).link(&bell, &reach(dfs.clone())).unwrap();
    let load = IoRequest::Load { token: token(), name: name(1), bytes_max: 1, expected: true };
    assert!(link.start(Order::Io(load)).is_ok());
    let Finished::Io(IoDone::Load { result, .. }) = answer(&mut link) else { panic!("a load") };
    let error = result.unwrap_err();
    assert!(error.text.contains("failed 8 times in 1.0 s"), "{error}");
    assert_eq!(dfs.counters().retries, 7);
}

#[test]
fn failures_reach_the_job_and_seal_nothing() {
    for kind in KINDS {
        let folder = Folder::new();
        for url in urls(&folder) {
            let (mut link, _bell) = link(kind, &format!("{url}?fail=1"));
            let failures = Arc::new(AtomicU32::new(0));
            let counted = failures.clone();
            let mut asked = false;
            start(
                &mut link,
                Box::new(move |io| {
                    if !asked {
                        asked = true;
                        let object = name(9);
                        io.requests.push(JobRequest::Append { object, bytes: piece(1) });
                        io.requests.push(JobRequest::Seal { object });
                        return JobState::Waiting;
                    }
                    for done in io.done.drain(..) {
                        let failed = match done {
                            JobDone::Read { result, .. } => result.is_err(),
                            JobDone::Cached { result, .. } => result.is_err(),
                            JobDone::Appended { result, .. }
                            | JobDone::Sealed { result, .. }
                            | JobDone::Opened { result, .. } => result.is_err(),
                            JobDone::Errand { .. } => panic!("nobody was sent"),
                        };
                        counted.fetch_add(u32::from(failed), Ordering::Relaxed);
                    }
                    if counted.load(Ordering::Relaxed) == 2 {
                        JobState::Finished
                    } else {
                        JobState::Waiting
                    }
                }),
            );
            let (job, opened) = job_of(answer(&mut link));
            assert!(job.is_ok());
            assert!(opened.is_empty());
            assert_eq!(failures.load(Ordering::Relaxed), 2);
            let error = Dfs::open(&url).unwrap().load(&name(9), 1 << 20).unwrap_err();
            assert_eq!(error.kind, ErrorKind::MissingObject);
        }
    }
}

#[test]
fn computing_jobs_do_not_starve_the_others() {
    for kind in KINDS {
        let (mut link, _bell) = link(kind, "memory://starve");
        Dfs::open("memory://starve").unwrap().put(&name(1), b"x").unwrap();
        let steps = Arc::new(AtomicU32::new(0));
        let enough = Arc::new(AtomicBool::new(false));
        let (counted, told) = (steps.clone(), enough.clone());
        // Computes in steps of a fraction of a millisecond and never waits.
        start(
            &mut link,
            Box::new(move |_| {
                let step = Instant::now();
                while step.elapsed() < Duration::from_micros(200) {
                    std::hint::spin_loop();
                }
                counted.fetch_add(1, Ordering::Relaxed);
                if told.load(Ordering::Relaxed) { JobState::Finished } else { JobState::Working }
            }),
        );
        for _ in 0..20 {
            let load = Order::Io(IoRequest::Load {
                token: token(),
                name: name(1),
                bytes_max: 1,
                expected: true,
            });
            assert!(link.start(load).is_ok());
            let Finished::Io(IoDone::Load { result, .. }) = answer(&mut link) else {
                panic!("a load")
            };
            result.unwrap();
        }
        enough.store(true, Ordering::Relaxed);
        assert!(job_of(answer(&mut link)).0.is_ok());
        // Each load needs the kernel's attention. Left to the preempt timer it would come once in
        // 500 steps.
        let steps = steps.load(Ordering::Relaxed);
        assert!(steps < 20 * 200, "{steps} steps of a computing job beside 20 loads");
    }
}

/// Glommio parks with runnable tasks if its preempt timer fires before the first task ran; with
/// short timers that is for ever, within two seconds. The chosen timer must survive the same.
#[test]
fn the_chosen_preempt_timer_does_not_hang() {
    let (done, outcome) = mpsc::channel();
    std::thread::spawn(move || {
        let yields = Runtime::new(IoKind::Uring).unwrap().run(async {
            let end = Instant::now() + Duration::from_secs(2);
            let spinning = || async move {
                let mut yields = 0u64;
                while Instant::now() < end {
                    glommio::executor().yield_now().await;
                    yields += 1;
                }
                yields
            };
            let tasks: Vec<_> = (0..4).map(|_| glommio::spawn_local(spinning())).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await;
            }
            sum
        });
        done.send(yields).unwrap();
    });
    let yields = outcome.recv_timeout(Duration::from_secs(10)).expect("the executor hangs");
    assert!(yields > 1_000, "{yields} yields in two seconds");
}

#[test]
fn a_full_link_gives_the_order_back() {
    for kind in KINDS {
        let (mut link, _bell) = link(kind, "memory://full?latency=50ms");
        let load = || {
            Order::Io(IoRequest::Load {
                token: token(),
                name: name(1),
                bytes_max: 1,
                expected: true,
            })
        };
        let taken = (0..).take_while(|_| link.start(load()).is_ok()).count();
        assert_eq!(taken, LINK_ORDERS_MAX * link.lanes.len());
        answer(&mut link);
        assert!(link.start(load()).is_ok());
        while link.owed() > 0 {
            answer(&mut link);
        }
    }
}

#[test]
fn a_parked_shard_and_its_executor_wake_each_other() {
    for kind in KINDS {
        let dfs = Dfs::open("memory://wake").unwrap();
        dfs.put(&name(1), b"x").unwrap();
        let mut ring = ReadDriver::open(kind, RingMode::Owned).unwrap();
        let mut link = executor(kind).link(&ring.doorbell(), &reach(dfs)).unwrap();
        for _ in 0..2_000 {
            assert!(
                link.start(Order::Io(IoRequest::Load {
                    token: token(),
                    name: name(1),
                    bytes_max: 1,
                    expected: true
                }))
                .is_ok()
            );
            // No deadline and no nudge: a lost wake-up hangs the test.
            while link.finished().is_none() {
                ring.turn(0, Wait::Until { deadline: None }, &mut Vec::new()).unwrap();
            }
        }
    }
}

#[test]
fn an_object_that_is_deleted_while_it_is_opened_fails_its_reads_alone() {
    for kind in KINDS {
        let folder = Folder::new();
        let (mut link, _bell) = link(kind, folder.url());
        start(&mut link, writing(1));
        drop(job_of(answer(&mut link)).0.unwrap());
        let path = folder.path().join(name(1).to_string());
        let kept = path.with_extension("kept");
        std::fs::rename(&path, &kept).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (told, link_path) = (stop.clone(), path.clone());
        let flicker = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                std::fs::hard_link(&kept, &link_path).unwrap();
                std::fs::remove_file(&link_path).unwrap();
            }
        });
        for _ in 0..100 {
            let mut left = 64;
            let read = move |io: &mut JobIo| {
                for tag in 0..if io.done.is_empty() { left } else { 0 } {
                    let (len, buf) = (PAGE_BYTES, Buf::map(PAGE_BYTES).unwrap());
                    io.requests.push(JobRequest::Read {
                        tag,
                        object: name(1),
                        offset: 0,
                        len,
                        buf,
                    });
                }
                for done in io.done.drain(..) {
                    let JobDone::Read { result, .. } = done else { panic!("nothing was written") };
                    if let Err(error) = result {
                        assert_eq!(error.kind, ErrorKind::MissingObject, "{error}");
                    }
                    left -= 1;
                }
                if left == 0 { JobState::Finished } else { JobState::Waiting }
            };
            start(&mut link, Box::new(read));
            drop(job_of(answer(&mut link)).0.unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        flicker.join().unwrap();
    }
}
