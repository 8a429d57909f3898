use std::cell::RefCell;

use log::{LevelFilter, Log, Metadata, Record};

use super::*;
use crate::cache::ssd::tests::Rig;

thread_local! {
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what each thread said.
struct ToThread;

impl Log for ToThread {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let _ending = SAID.try_with(|said| said.borrow_mut().push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// What this thread said since it asked last.
fn said() -> Vec<String> {
    let _there = log::set_logger(&ToThread);
    log::set_max_level(LevelFilter::Info);
    SAID.take()
}

/// Reads so much that regions are written, in every pause's time once.
fn use_for(rig: &mut Rig, pauses: u64) {
    for _ in 0..pauses {
        rig.hits(0..1000);
        rig.now += SSD_PAUSE_NS;
        rig.work();
    }
}

fn begins(said: &[String]) -> bool {
    said.len() == 1 && said[0].contains("is left alone") && said[0].contains("every 10 s: refused")
}

#[test]
fn a_disk_that_refuses_is_told_once_and_once_more_when_it_is_back() {
    let mut rig = Rig::new();
    said();
    use_for(&mut rig, 3);
    assert!(said().is_empty());
    for _ in 0..2 {
        rig.refuses = true;
        use_for(&mut rig, 10);
        assert!(rig.ssd.counters().failures > 5, "{:?}", rig.ssd.counters());
        let lines = said();
        assert!(begins(&lines), "{lines:?}");
        rig.refuses = false;
        use_for(&mut rig, 10);
        assert_eq!(said(), ["the cache on the SSD serves again"]);
    }
}

#[test]
fn a_full_disk_that_reads_is_not_back() {
    let mut trouble = Trouble::default();
    said();
    for at in 0..20 {
        let now = at * SSD_PAUSE_NS / 2;
        trouble.look(now);
        if !trouble.is_paused(now) {
            trouble.worked();
            if at < 10 {
                trouble.refused(now, "refused");
            }
        }
    }
    let lines = said();
    assert!(begins(&lines), "{lines:?}");
    trouble.written();
    trouble.look(20 * SSD_PAUSE_NS);
    assert_eq!(said(), ["the cache on the SSD serves again"]);
}

#[test]
fn a_disk_that_damages_and_writes_is_not_back() {
    let mut trouble = Trouble::default();
    said();
    for at in 0..20 {
        let now = at * SSD_PAUSE_NS;
        trouble.look(now);
        trouble.written();
        (0..SSD_FAILURES_MAX).for_each(|_| trouble.failed(now + SSD_PAUSE_NS / 2, "refused"));
    }
    let lines = said();
    assert!(begins(&lines), "{lines:?}");
}
