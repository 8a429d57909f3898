use super::*;
use crate::io::http::connection::Step;
use crate::io::http::connections::Outcome;
use crate::io::http::connections::tests::Rig;
use crate::limits::{HEDGE_WINDOW, HTTP_CONNECT_NS_MAX, HTTP_RESPONSE_NS_MAX};

const MS: Nanos = 1_000_000;

/// A rig that hedges and knows a server which answers within ten milliseconds, at `now`.
fn trained() -> (Rig, Nanos) {
    let mut rig = Rig::new();
    rig.connections.set_hedge();
    let mut now = 0;
    for number in 0..u64::from(HEDGE_WINDOW) {
        let token = rig.sent(number, now);
        now += 10 * MS;
        rig.serve(token, now);
    }
    rig.outcomes();
    (rig, now)
}

/// One request whose answer is late, and the one that was sent beside it.
fn hedged() -> (Rig, [Token; 2], Nanos) {
    let (mut rig, now) = trained();
    let first = rig.sent(7, now);
    let late = rig.connections.next_look().unwrap();
    assert!((now + 9 * MS..now + 11 * MS).contains(&late), "{}", late - now);
    rig.connections.look(late);
    assert_eq!(rig.connections.counters.hedges, 1);
    let second = rig.begin(late)[0];
    assert_ne!(first, second);
    assert_eq!(rig.link(second).connection.step(), Step::Connect);
    rig.connections.completed(second, 0, late);
    rig.begin(late);
    (rig, [first, second], late)
}

fn busy(rig: &Rig) -> usize {
    rig.connections.places[0].busy
}

#[test]
fn the_first_answer_serves_and_the_other_request_is_dropped() {
    for winner in [0, 1] {
        let (mut rig, tokens, now) = hedged();
        assert_eq!(busy(&rig), 2);
        rig.serve_as(tokens[winner], 7, now + MS);
        assert_eq!(rig.connections.ended.len(), 1);
        assert_eq!(rig.connections.ended[0].op.buf.bytes()[0], 7);
        assert_eq!(rig.outcomes(), [(7, Outcome::Done)]);
        assert_eq!(rig.connections.counters.hedges_won, winner as u64);
        assert_eq!((busy(&rig), rig.connections.pending()), (0, 0));
        // The kernel lets go of the other one, which is not used again.
        let other = tokens[1 - winner];
        assert_eq!(rig.connections.cancels, [other]);
        rig.connections.completed(other, -libc::ECANCELED, now + MS);
        assert!(rig.connections.links.get(other).is_none());
        assert_eq!(rig.sent(8, now + MS), tokens[winner]);
    }
}

#[test]
fn a_request_that_fails_leaves_the_read_to_the_other() {
    for loser in [0, 1] {
        let (mut rig, tokens, now) = hedged();
        rig.connections.completed(tokens[loser], -libc::ECONNRESET, now);
        assert_eq!(rig.outcomes(), []);
        assert_eq!((busy(&rig), rig.connections.pending()), (1, 1));
        assert!(rig.connections.links.get(tokens[loser]).is_none());
        rig.serve_as(tokens[1 - loser], 7, now);
        assert_eq!(rig.outcomes(), [(7, Outcome::Done)]);
        assert_eq!(rig.connections.counters.hedges_won, 0);
    }
}

#[test]
fn when_both_fail_the_read_fails_once() {
    let (mut rig, tokens, now) = hedged();
    for token in tokens {
        rig.connections.completed(token, -libc::ECONNRESET, now);
    }
    assert!(rig.failure().contains("broke"));
    assert_eq!((busy(&rig), rig.connections.pending()), (0, 0));
}

#[test]
fn both_are_given_up_when_they_take_too_long() {
    let (mut rig, _, now) = hedged();
    rig.connections.look(now + HTTP_RESPONSE_NS_MAX + HTTP_CONNECT_NS_MAX);
    assert!(rig.failure().contains("did not answer"));
    assert_eq!((busy(&rig), rig.connections.pending()), (0, 0));
    assert_eq!(rig.connections.cancels.len(), 2);
}

#[test]
fn few_are_sent_twice_however_many_are_late() {
    let (mut rig, now) = trained();
    (1000..1100).for_each(|number| rig.ask(number));
    rig.begin(now);
    rig.connections.look(now + 1000 * MS);
    let counters = rig.connections.counters;
    assert_eq!(counters.hedges, counters.requests / HEDGE_BUDGET_DIVISOR);
    // Those that were left alone do not keep the shard awake.
    assert!(rig.connections.next_look().unwrap() > now + 1000 * MS);
}

#[test]
fn nothing_is_sent_twice_by_who_does_not_want_it_or_does_not_know_the_server() {
    let mut rig = Rig::new();
    let first = rig.sent(1, 0);
    rig.connections.look(1000 * MS);
    rig.serve(first, 1000 * MS);
    rig.connections.set_hedge();
    rig.sent(2, 1000 * MS);
    rig.connections.look(2000 * MS);
    assert_eq!(rig.connections.counters.hedges, 0);
}
