//! Openings of one store that fight for it without a coordinator: some are stopped and go on later,
//! some die, and what they put is applied late or twice.
//!
//! `AQUIFER_SEEDS=n` runs n seeds, `AQUIFER_SEED` is the first one.

mod fight;
mod servers;

use aquifer::shard::values::ControlOp;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectKind, ObjectName};
use aquifer_tests::sim::faults::Fault;
use aquifer_tests::sim::rng::Rng;
use aquifer_tests::sim::strike::{Call, FATES, Fate};
use fight::{Doing, FAULTS, Fight, Opening, Seen};

/// Seeds of an ordinary run.
const SEEDS: u64 = 150;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn of_openings_that_fight_each_begins_with_what_was_acknowledged_last() {
    let first = number("AQUIFER_SEED").unwrap_or(1);
    let mut seen = Seen::default();
    for seed in first..first + number("AQUIFER_SEEDS").unwrap_or(SEEDS) {
        let fight = std::panic::AssertUnwindSafe(|| {
            let mut fight = Fight::of_seed(seed);
            fight.run();
            fight.finish();
            fight.seen
        });
        let Ok(one) = std::panic::catch_unwind(fight) else { panic!("seed {seed}") };
        seen.openings += one.openings;
        seen.committed += one.committed;
        seen.fenced += one.fenced;
        seen.unknown += one.unknown;
        seen.risen += one.risen;
        seen.longest = seen.longest.max(one.longest);
        FAULTS.iter().for_each(|&(fault, _)| seen.met[fault] += one.met[fault]);
    }
    println!("{seen:?}");
    for (fault, _) in FAULTS {
        assert!(seen.met[fault] > 0, "a fight that never met {fault:?}");
    }
    let Seen { openings, committed, fenced, unknown, risen, longest, .. } = seen;
    let met = openings.min(committed).min(fenced).min(unknown).min(risen);
    assert!(met > 0 && longest > 20, "a fight that met too little: {seen:?}");
}

/// What the calls of an opening of the script are, if nothing goes wrong.
fn calls_of(opening: u64) -> Vec<Call> {
    let mut fight = Fight::calm(2);
    for _ in 0..opening {
        fight.open();
        fight.commit(5);
        fight.openings.pop().into_iter().for_each(|opening| fight.die(opening));
    }
    assert_eq!(fight.seen.committed, 5 * opening);
    fight.calls
}

#[test]
fn every_call_goes_wrong_once_and_no_checkpoint_is_lost() {
    let mut met = 0;
    for opening in 1..=2 {
        for (at, call) in calls_of(opening).into_iter().enumerate() {
            for fate in FATES.into_iter().filter(|&fate| call.may_meet(fate)) {
                for late in [false, true] {
                    let mut fight = Fight::calm(2);
                    fight.strike = Some((opening, at, fate));
                    fight.script(late);
                    met += 1;
                    // What fails once is asked once more.
                    let whole = fight.seen.committed == 13;
                    let once = format!("opening {opening}, call {at} ({call:?}, {fate:?})");
                    assert!(whole || call != Call::Create, "{once}: {:?}", fight.seen);
                    assert_eq!((fight.seen.unknown, fight.seen.fenced), (0, 0), "{once}");
                }
            }
        }
    }
    assert!(met > 200, "{met}");
}

#[test]
fn a_root_whose_reply_was_lost_is_committed_once() {
    let calls = calls_of(1);
    let creates = calls.iter().enumerate().filter(|&(_, call)| *call == Call::Create);
    for (at, _) in creates {
        let mut fight = Fight::calm(2);
        fight.strike = Some((1, at, Fate::ReplyLost));
        fight.open();
        fight.commit(5);
        let by = |number: &u64| fight.dfs.roots.chain[number].incarnation.host_epoch;
        assert_eq!(fight.seen.committed, 5, "call {at}");
        // The one that took the store over, and one for each checkpoint.
        assert!((1..=6).all(|number| by(&number) == 1) && fight.dfs.roots.newest() == 6);
    }
}

/// The one opening cuts a checkpoint whose root never gets a reply, and is asked for more.
fn unknown(fight: &mut Fight) -> usize {
    fight.open();
    fight.commit(2);
    fight.openings[0].sim.faults[Fault::CreateLate] = 10_000;
    fight.commit(1);
    assert_eq!((fight.seen.committed, fight.seen.unknown), (2, 1));
    let cut = fight.checkpoints.len() - 1;
    let said = refused(fight, ErrorKind::UnknownCommit);
    assert!(said.contains("it begins with this checkpoint, or with the one before"), "{said}");
    cut
}

/// The first opening answers nothing any more, and deletes nothing. What it says.
fn refused(fight: &mut Fight, kind: ErrorKind) -> String {
    let mut opening = fight.openings.swap_remove(0);
    let (store, _) = opening.store.unwrap();
    let deletes = |opening: &Opening| {
        opening.sim.strike.calls.iter().filter(|&&call| call == Call::Delete).count()
    };
    let before = deletes(&opening);
    let handle = fight.handles.keys().next().unwrap().clone();
    let ops = [
        ControlOp::Checkpoint(store),
        ControlOp::Drain(store),
        ControlOp::Release(store, handle),
        ControlOp::Close(store),
    ];
    std::mem::swap(&mut fight.dfs, &mut opening.sim.dfs);
    let mut errors: Vec<Error> = Vec::new();
    for (op, number) in ops.into_iter().zip(10..) {
        opening.sim.control(0, number, op);
        for _ in 0..100 {
            let ended = opening.sim.turn(true).controls;
            errors.extend(ended.into_iter().filter_map(|done| done.result.err()));
        }
    }
    std::mem::swap(&mut fight.dfs, &mut opening.sim.dfs);
    let kinds: Vec<ErrorKind> = errors.iter().map(|error| error.kind).collect();
    // To close it is all that is left to do.
    assert_eq!(kinds, [kind; 3], "{errors:?}");
    assert_eq!(deletes(&opening), before, "it deletes");
    let counters = opening.sim.counters();
    let lost = (counters.commits_fenced, counters.commits_unknown);
    assert_eq!(lost, if kind == ErrorKind::Fenced { (1, 0) } else { (0, 1) });
    fight.die(opening);
    errors[0].text.to_string()
}

#[test]
fn a_commit_that_is_not_known_is_found_by_the_next_opening_or_never_was() {
    let mut fight = Fight::calm(4);
    let cut = unknown(&mut fight);
    for _ in 0..100 {
        fight.dfs.float_ashore(&mut Rng::new(1));
    }
    fight.finish();
    assert_eq!(fight.found.last().unwrap().1, cut, "its put was applied late");

    let mut fight = Fight::calm(4);
    let cut = unknown(&mut fight);
    fight.open();
    fight.commit(1);
    let (_, found) = *fight.found.last().unwrap();
    assert_eq!(found, cut - 1, "its put was not applied yet");
    fight.openings.pop().into_iter().for_each(|opening| fight.die(opening));
    // And now comes too late.
    fight.finish();
}

/// How many tables and manifests of the opening before it one deletes that begins behind three
/// checkpoints, of which it keeps two, and cuts others.
fn deleted(older_is_gone: bool) -> usize {
    let mut fight = Fight::calm(2);
    fight.open();
    fight.commit(3);
    fight.openings.pop().into_iter().for_each(|opening| fight.die(opening));
    if older_is_gone {
        let newest = fight.dfs.roots.newest();
        let older = fight.dfs.roots.chain[&newest].kept[1].manifest;
        fight.dfs.delete(&older);
    }
    let is_data = |name: &&ObjectName| name.kind != ObjectKind::Root;
    let before: Vec<ObjectName> = fight.dfs.names().filter(is_data).copied().collect();
    fight.open();
    fight.commit(6);
    assert_eq!((fight.seen.committed, fight.found.last().unwrap().1), (9, 3));
    fight.openings.pop().into_iter().for_each(|opening| fight.die(opening));
    before.iter().filter(|name| fight.dfs.object(name).is_err()).count()
}

#[test]
fn a_store_begins_with_its_newest_checkpoint_though_an_older_one_is_gone() {
    assert!(deleted(false) > 0);
    assert_eq!(deleted(true), 0, "nobody knows what the older one needs");
}

#[test]
fn an_opening_that_lost_the_store_is_told_and_stays_away() {
    let mut fight = Fight::calm(4);
    fight.open();
    fight.commit(2);
    let first = fight.openings.pop().unwrap();
    fight.open();
    fight.commit(2);
    let second = fight.openings.pop().unwrap();
    fight.openings.push(first);
    fight.commit(1);
    assert_eq!((fight.seen.committed, fight.seen.fenced), (4, 1));
    let said = refused(&mut fight, ErrorKind::Fenced);
    assert!(said.contains("of host epoch 2") && said.contains("see that one host"), "{said}");
    fight.openings.push(second);
    fight.commit(2);
    assert_eq!(fight.seen.committed, 6, "the owner goes on");
    fight.openings.pop().into_iter().for_each(|opening| fight.die(opening));
    fight.finish();
}

#[test]
fn an_opening_that_was_asleep_does_not_take_a_free_name_for_a_commit() {
    let mut fight = Fight::calm(2);
    fight.open();
    fight.commit(3);
    // It sleeps in the middle of a checkpoint, before its root is put.
    while !matches!(fight.openings[0].doing, Doing::Cutting(_)) {
        fight.turn(0);
    }
    let asleep = fight.openings.pop().unwrap();
    fight.open();
    fight.commit(12);
    let other = fight.openings.pop().unwrap();
    fight.openings.push(asleep);
    fight.commit(1);
    assert_eq!(fight.dfs.roots.risen, 1, "the name was free again");
    assert_eq!((fight.seen.committed, fight.seen.unknown), (15, 1));
    let said = refused(&mut fight, ErrorKind::UnknownCommit);
    assert!(said.contains("took store") && said.contains("of host epoch 2, and is at"), "{said}");
    assert!(said.contains("see that one host has the store"), "{said}");
    fight.die(other);
    fight.finish();
}
