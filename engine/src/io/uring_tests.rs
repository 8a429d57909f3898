use super::*;
use crate::io::read_driver::{IoKind, ReadDriver};
use crate::io::reads::tests::{Rig, dfs_with, pages};
use crate::io::test_support::{Folder, name};
use crate::limits::PAGE_BYTES;
use crate::types::error::ErrorKind;

const OWNED: (IoKind, RingMode) = (IoKind::Uring, RingMode::Owned);

fn ring(rig: &mut Rig) -> &mut Uring {
    let ReadDriver::Uring(ring) = &mut rig.driver else { panic!("a ring") };
    ring
}

#[test]
fn reads_of_one_page_go_to_registered_memory() {
    for mode in [RingMode::Owned, RingMode::Inline] {
        let mut rig = Rig::new((IoKind::Uring, mode));
        assert!(ring(&mut rig).read_memory.is_some());
    }
}

#[test]
fn objects_beyond_the_registered_table_are_read_through_descriptors() {
    let folder = Folder::new();
    let dfs = dfs_with(folder.url(), &pages(2));
    let mut rig = Rig::new(OWNED);
    ring(&mut rig).registered_max = 1;
    let slots = [0, 1, 2].map(|_| rig.driver.open_object(dfs.open_object(&name(1), 0).unwrap()));
    for slot in slots {
        rig.read(slot, PAGE_BYTES as u64, PAGE_BYTES, 0);
        assert_eq!(rig.answers(1)[0].1.as_ref().unwrap()[..], pages(2)[PAGE_BYTES..]);
        rig.driver.close_object(slot);
    }
}

#[test]
fn an_awake_ring_is_rung_without_a_system_call() {
    let mut rig = Rig::new(OWNED);
    let bell = rig.driver.doorbell();
    rig.turn(0, Wait::No);
    let enters = rig.driver.counters().enters;
    bell.ring();
    bell.ring();
    // It must look again instead of parking, once.
    rig.turn(0, Wait::Until { deadline: None });
    assert_eq!(rig.driver.counters().enters, enters);
    rig.turn(0, Wait::Until { deadline: Some(1) });
    assert_eq!(rig.driver.counters().enters, enters + 1);
}

#[test]
fn an_idle_turn_makes_no_system_call() {
    let mut rig = Rig::new(OWNED);
    rig.turn(0, Wait::No);
    let enters = rig.driver.counters().enters;
    for _ in 0..100 {
        rig.turn(0, Wait::No);
    }
    assert_eq!(rig.driver.counters().enters, enters);
}

#[test]
fn an_owned_ring_refuses_other_threads() {
    let mut ring = Uring::open(RingMode::Owned).unwrap();
    let refused = std::thread::spawn(move || {
        let turned = ring.turn(0, Wait::No, &mut Vec::new());
        // Dropping it here waits for nothing: nothing is in flight.
        drop(ring);
        turned
    });
    assert_eq!(refused.join().unwrap().unwrap_err().kind, ErrorKind::Invalid);
}
