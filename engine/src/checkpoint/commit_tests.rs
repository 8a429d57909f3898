use super::*;
use crate::types::Incarnation;

const SPACING: u64 = 4;

fn root(number: u64, nonce: u128) -> Root {
    let incarnation = Incarnation { host_epoch: 1, nonce };
    Root { store: 5, number, incarnation, kept: Vec::new() }
}

fn unclear() -> Found {
    Found::Unclear(Error::new(ErrorKind::Io, "no answer"))
}

fn commit(number: u64) -> Commit {
    Commit::new(root(number, 1), SPACING)
}

#[test]
fn a_root_is_committed_once_it_is_seen_and_nothing_above() {
    let mut commit = commit(5);
    assert!(matches!(commit.put(true), Next::Look { number: 5, put: true }));
    let next = commit.looked(Found::Root(root(5, 1)));
    assert!(matches!(next, Next::Look { number: 8, put: false }));
    assert!(matches!(commit.looked(Found::Nothing), Next::End(End::Committed)));
}

#[test]
fn a_reply_that_was_lost_changes_nothing() {
    let mut commit = commit(5);
    assert!(matches!(commit.put(false), Next::Look { number: 5, put: false }));
    let next = commit.looked(Found::Root(root(5, 1)));
    assert!(matches!(next, Next::Look { number: 8, put: false }));
    assert!(matches!(commit.looked(Found::Nothing), Next::End(End::Committed)));
}

#[test]
fn the_root_of_another_opening_ends_it() {
    for put in [true, false] {
        let mut commit = commit(5);
        commit.put(put);
        commit.looked(Found::Root(root(5, 2)));
        let end = commit.looked(Found::Nothing);
        assert!(matches!(end, Next::End(End::Taken(there)) if there == root(5, 2)));
    }
}

#[test]
fn a_boundary_above_says_that_the_name_may_have_been_free_again() {
    for nonce in [1, 2] {
        let mut commit = commit(5);
        commit.put(true);
        commit.looked(Found::Root(root(5, nonce)));
        let end = commit.looked(Found::Root(root(8, 2)));
        assert!(matches!(end, Next::End(End::Passed(above)) if above == root(8, 2)));
    }
}

#[test]
fn a_boundary_itself_is_never_deleted() {
    for (nonce, mine) in [(1, true), (2, false)] {
        let mut commit = commit(8);
        commit.put(true);
        let end = commit.looked(Found::Root(root(8, nonce)));
        assert!(matches!(end, Next::End(End::Committed)) == mine);
        assert!(matches!(end, Next::End(End::Taken(_))) != mine);
    }
}

#[test]
fn what_is_not_there_is_put_again_and_in_the_end_unknown() {
    for found in [|| Found::Nothing, unclear] {
        let mut commit = commit(5);
        for _ in 1..ROOT_TRIES_MAX {
            commit.put(false);
            assert!(matches!(commit.looked(found()), Next::Create));
        }
        commit.put(false);
        assert!(matches!(commit.looked(found()), Next::End(End::Unknown(_))));
    }
    // One that appears is as good as one that was there at once.
    let mut commit = commit(5);
    commit.put(false);
    commit.looked(Found::Nothing);
    commit.put(false);
    commit.looked(Found::Root(root(5, 1)));
    assert!(matches!(commit.looked(Found::Nothing), Next::End(End::Committed)));
}

#[test]
fn a_boundary_that_cannot_be_looked_for_leaves_it_unknown() {
    let mut commit = commit(5);
    commit.put(true);
    commit.looked(Found::Root(root(5, 1)));
    for _ in 1..ROOT_TRIES_MAX {
        assert!(matches!(commit.looked(unclear()), Next::Look { number: 8, put: false }));
    }
    assert!(matches!(commit.looked(unclear()), Next::End(End::Unknown(_))));
}
