use super::*;
use crate::checkpoint::root::obsolete;
use crate::types::Incarnation;

fn root(number: u64) -> Root {
    let incarnation = Incarnation { host_epoch: 1, nonce: number.into() };
    Root { store: 5, number, incarnation, kept: Vec::new() }
}

// What is left of the roots up to a number.
fn there(newest: u64, spacing: u64, number: u64) -> bool {
    let gone = (1..=newest).any(|n| obsolete(n, spacing) == Some(number));
    (1..=newest).contains(&number) && !gone
}

// The newest root as it is found, and the looks that took.
fn search(mut search: Newest, there: impl Fn(u64) -> bool) -> (u64, usize) {
    let mut hunt = search.aim();
    for looks in 0..1000 {
        hunt = match hunt {
            Hunt::Look(n) if there(n) => search.looked(Found::Root(root(n))),
            Hunt::Look(_) => search.looked(Found::Nothing),
            Hunt::Newest(found) => return (found.map_or(0, |root| root.number), looks),
            Hunt::Failed(error) => panic!("{error}"),
        };
    }
    panic!("it does not end")
}

#[test]
fn the_newest_root_is_found_whatever_was_deleted() {
    for spacing in [1, 2, 4, 64] {
        for newest in 0..6 * spacing + 3 {
            let there = |number| there(newest, spacing, number);
            let found = search(Newest::new(5, spacing, None), there);
            assert_eq!(found.0, newest, "spacing {spacing}");
            for floor in (1..=newest).filter(|&n| there(n)) {
                let found = search(Newest::new(5, spacing, Some(root(floor))), there);
                assert_eq!(found.0, newest, "spacing {spacing}, {floor} is known");
            }
        }
    }
}

#[test]
fn a_search_takes_few_looks() {
    let there = |newest: u64| move |number| (1..=newest).contains(&number);
    let looks = |newest| search(Newest::new(5, 64, None), there(newest)).1;
    assert!(looks(0) <= 7 && looks(1) <= 7, "{} {}", looks(0), looks(1));
    assert!(looks(3_000_000) <= 38, "{}", looks(3_000_000));
    assert!(looks((1 << 56) - 1) <= 107, "{}", looks((1 << 56) - 1));
}

#[test]
fn a_dead_root_that_appears_again_is_not_found() {
    let back = |number| number == 2 || there(17, 4, number);
    assert!(!there(17, 4, 2));
    assert_eq!(search(Newest::new(5, 4, None), back).0, 17);
    assert_eq!(search(Newest::new(5, 4, Some(root(2))), back).0, 17);
}

#[test]
fn a_root_that_is_not_shown_yet_makes_it_find_an_older_one() {
    // The store shows no root behind 4.
    let stale = |number| number <= 4 && there(9, 4, number);
    assert_eq!(search(Newest::new(5, 4, None), stale).0, 4);
    // A put found that 5 is taken: the search does not fall back behind it.
    assert_eq!(search(Newest::new(5, 4, Some(root(5))), stale).0, 5);
}

#[test]
fn what_cannot_be_read_ends_the_search() {
    let mut newest = Newest::new(5, 4, None);
    assert!(matches!(newest.aim(), Hunt::Look(4)));
    let unclear = || Found::Unclear(Error::corrupt("damaged"));
    for _ in 1..ROOT_TRIES_MAX {
        assert!(matches!(newest.looked(unclear()), Hunt::Look(4)));
    }
    assert!(matches!(newest.looked(unclear()), Hunt::Failed(e) if e.kind == ErrorKind::Corrupt));
    // A boundary that was seen and is gone: somebody else deletes here.
    let mut newest = Newest::new(5, 4, Some(root(8)));
    let mut hunt = newest.aim();
    while let Hunt::Look(_) = hunt {
        hunt = newest.looked(Found::Nothing);
    }
    assert!(matches!(hunt, Hunt::Failed(e) if e.kind == ErrorKind::MissingObject));
}
