use super::*;
use crate::io::http::target::tests::target;
use crate::io::values::ObjectSlot;
use crate::limits::{ENDPOINT_IN_FLIGHT_MAX, HTTP_IN_FLIGHT_MIN, PAGE_BYTES};
use crate::mem::pool::Buf;

const SECOND: Nanos = 1_000_000_000;

/// Connections whose kernel is the test.
pub(crate) struct Rig {
    pub(crate) connections: Connections,
    target: Arc<Target>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self { connections: Connections::default(), target: Arc::new(target("/a").unwrap()) }
    }

    pub(crate) fn ask(&mut self, number: u64) {
        self.ask_as(number, false);
    }

    fn ask_as(&mut self, number: u64, again: bool) {
        let buf = Buf::map(PAGE_BYTES).unwrap();
        let (token, object, offset) = (Token(number), ObjectSlot(0), number * PAGE_BYTES as u64);
        let op = Op { again, ..Op::new(token, object, offset, buf) };
        self.connections.submit(op, self.target.clone());
    }

    /// Begins what comes next; the connections, by the order of their steps.
    pub(crate) fn begin(&mut self, now: Nanos) -> Vec<Token> {
        self.connections.start(now);
        let steps: Vec<Token> = self.connections.steps.drain(..).collect();
        for &token in &steps {
            self.link(token).in_kernel = true;
        }
        steps
    }

    pub(crate) fn link(&mut self, token: Token) -> &mut Link {
        self.connections.links.get_mut(token).expect("a live connection")
    }

    /// One request alone, up to where its answer is awaited.
    pub(crate) fn sent(&mut self, number: u64, now: Nanos) -> Token {
        self.ask(number);
        let token = self.begin(now)[0];
        if self.link(token).connection.step() == Step::Connect {
            self.connections.completed(token, 0, now);
            assert_eq!(self.begin(now), [token]);
        }
        assert_eq!(self.link(token).connection.step(), Step::Exchange);
        token
    }

    fn answer(&mut self, token: Token, bytes: &[u8], now: Nanos) {
        self.link(token).connection.room()[..bytes.len()].copy_from_slice(bytes);
        self.connections.completed(token, bytes.len() as i32, now);
    }

    pub(crate) fn serve(&mut self, token: Token, now: Nanos) {
        let offset = self.link(token).request.as_ref().unwrap().op.offset;
        self.serve_as(token, offset / PAGE_BYTES as u64, now);
    }

    /// Serves the request of that number.
    pub(crate) fn serve_as(&mut self, token: Token, number: u64, now: Nanos) {
        let offset = number * PAGE_BYTES as u64;
        let head = format!(
            "HTTP/1.1 206 P\r\nContent-Range: bytes {offset}-{}/*\r\nContent-Length: 4096\r\n\r\n",
            offset + 4095
        );
        let body = [(offset / 4096) as u8; PAGE_BYTES];
        self.answer(token, &[head.as_bytes(), &body].concat(), now);
    }

    fn refuse(&mut self, token: Token, now: Nanos) {
        let refusal = b"HTTP/1.1 503 S\r\nContent-Length: 0\r\nRetry-After: 3\r\n\r\n";
        self.answer(token, refusal, now);
    }

    pub(crate) fn outcomes(&mut self) -> Vec<(u64, Outcome)> {
        let ended = self.connections.ended.drain(..);
        ended.map(|ended| (ended.op.token.0, ended.outcome)).collect()
    }

    pub(crate) fn failure(&mut self) -> String {
        let outcomes = self.outcomes();
        let [(_, Outcome::Failed { why, .. })] = &outcomes[..] else { panic!("{outcomes:?}") };
        why.clone()
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let mut rig = Rig::new();
    let first = rig.sent(1, 0);
    rig.serve(first, 0);
    let [EndedGet { op, outcome: Outcome::Done }] = &rig.connections.ended[..] else { panic!() };
    assert_eq!(op.buf.bytes(), [1; PAGE_BYTES]);
    assert_eq!(rig.outcomes(), [(1, Outcome::Done)]);
    assert_eq!(rig.sent(2, 0), first);
    // Two more, and both idle: the one that was used last comes first.
    let second = rig.sent(3, 0);
    rig.serve(second, 0);
    rig.serve(first, 0);
    assert_eq!(rig.sent(4, 0), first);
    assert_eq!(rig.sent(5, 0), second);
    assert_eq!(rig.connections.counters.connects, 2);
    assert_eq!(rig.connections.counters.requests, 5);
}

#[test]
fn a_request_that_met_a_closed_connection_is_sent_on_a_new_one_at_once() {
    for result in [0, -libc::ECONNRESET, -libc::EPIPE] {
        let mut rig = Rig::new();
        let (a, b) = (rig.sent(1, 0), rig.sent(2, 0));
        rig.serve(a, 0);
        rig.serve(b, 0);
        rig.outcomes();
        assert_eq!(rig.sent(3, 0), b);
        rig.connections.completed(b, result, 0);
        assert_eq!(rig.outcomes(), []);
        assert!(rig.connections.links.is_empty(), "the older one is closed as well");
        let fresh = rig.begin(0)[0];
        rig.connections.completed(fresh, 0, 0);
        rig.begin(0);
        rig.serve(fresh, 0);
        assert_eq!(rig.outcomes(), [(3, Outcome::Done)]);
        assert_eq!(rig.connections.counters.stale, 1);
    }
}

#[test]
fn what_a_connection_brought_wrong_is_asked_for_on_a_new_one() {
    let mut rig = Rig::new();
    let first = rig.sent(1, 0);
    rig.serve(first, 0);
    rig.ask_as(1, true);
    let second = rig.begin(0)[0];
    assert_ne!(second, first);
    assert_eq!(rig.link(second).connection.step(), Step::Connect);
}

#[test]
fn a_new_connection_that_says_nothing_is_a_failure() {
    let mut rig = Rig::new();
    let token = rig.sent(1, 0);
    rig.connections.completed(token, 0, 0);
    assert!(rig.failure().contains("closed the connection"));
    let token = rig.sent(1, 0);
    rig.connections.completed(token, -libc::ECONNRESET, 0);
    let why = rig.failure();
    assert!(why.contains("127.0.0.1:9 broke") && why.contains("reset"), "{why}");
    rig.ask(1);
    let token = rig.begin(0)[0];
    rig.connections.completed(token, -libc::ECONNREFUSED, 0);
    let why = rig.failure();
    assert!(why.contains("connecting to 127.0.0.1:9") && why.contains("refused"), "{why}");
    assert!(rig.connections.links.is_empty() && rig.connections.pending() == 0);
}

#[test]
fn what_a_thread_left_behind_is_sent_again_at_once() {
    let mut rig = Rig::new();
    let token = rig.sent(1, 0);
    rig.connections.completed(token, -libc::ECANCELED, 0);
    assert_eq!(rig.outcomes(), []);
    let token = rig.begin(0)[0];
    rig.connections.completed(token, 0, 0);
    rig.begin(0);
    rig.serve(token, 0);
    assert_eq!(rig.outcomes(), [(1, Outcome::Done)]);
}

#[test]
fn a_request_that_takes_too_long_is_given_up_and_its_memory_kept() {
    let mut rig = Rig::new();
    let token = rig.sent(1, 0);
    assert_eq!(rig.connections.next_look(), Some(HTTP_CONNECT_NS_MAX));
    rig.connections.look(HTTP_CONNECT_NS_MAX);
    assert_eq!(rig.outcomes(), [], "it is connected");
    assert_eq!(rig.connections.next_look(), Some(HTTP_RESPONSE_NS_MAX));
    rig.connections.look(HTTP_RESPONSE_NS_MAX);
    assert!(rig.failure().contains("127.0.0.1:9 did not answer within 5000 ms"));
    assert_eq!(rig.connections.cancels, [token]);
    assert!(rig.link(token).in_kernel);
    rig.connections.completed(token, -libc::ECANCELED, 0);
    assert!(rig.connections.links.is_empty());
    assert_eq!(rig.connections.counters.timeouts, 1);
    // One that does not connect.
    rig.ask(1);
    let token = rig.begin(0)[0];
    rig.connections.look(HTTP_CONNECT_NS_MAX);
    assert!(rig.failure().contains("did not let itself be connected to within 3500 ms"));
    // The kernel was faster than the cancellation.
    rig.connections.completed(token, 0, 0);
    assert!(rig.connections.links.is_empty());
}

#[test]
fn connections_that_nobody_needs_are_closed() {
    let mut rig = Rig::new();
    let (a, b) = (rig.sent(1, 0), rig.sent(2, 0));
    rig.serve(a, SECOND);
    rig.serve(b, 2 * SECOND);
    rig.connections.look(HTTP_RESPONSE_NS_MAX);
    assert_eq!(rig.connections.next_look(), Some(SECOND + HTTP_IDLE_NS_MAX));
    rig.connections.look(SECOND + HTTP_IDLE_NS_MAX);
    assert_eq!(rig.connections.links.tokens().collect::<Vec<_>>(), [b]);
    rig.connections.look(2 * SECOND + HTTP_IDLE_NS_MAX);
    assert!(rig.connections.links.is_empty());
    assert_eq!(rig.connections.next_look(), None);
}

#[test]
fn a_server_that_refuses_gets_fewer_requests_and_more_again() {
    let mut rig = Rig::new();
    (0..600).for_each(|i| rig.ask(i));
    let mut busy = rig.begin(0);
    assert_eq!(busy.len(), HTTP_CONNECTIONS_MAX);
    busy.iter().for_each(|token| rig.connections.completed(*token, 0, 0));
    rig.begin(0);
    // All that were under way are refused: half as many from then on, not fewer.
    let refused: Vec<Token> = std::mem::take(&mut busy);
    refused.iter().for_each(|token| rig.refuse(*token, SECOND));
    let outcomes = rig.outcomes();
    assert_eq!(outcomes.len(), HTTP_CONNECTIONS_MAX);
    let Outcome::Failed { why, wait } = &outcomes[0].1 else { panic!("{outcomes:?}") };
    assert!(why.contains("503") && *wait == 3 * SECOND, "{why}");
    // Nobody asks while the server wants patience.
    assert_eq!(rig.begin(4 * SECOND - 1), []);
    assert!(rig.connections.next_look().is_some_and(|look| look <= 4 * SECOND));
    assert_eq!(rig.begin(4 * SECOND).len(), 600 - HTTP_CONNECTIONS_MAX);
    (0..600).for_each(|i| rig.ask(i));
    assert_eq!(rig.connections.places[0].limit.allowed(), HTTP_CONNECTIONS_MAX / 2);
    rig.begin(4 * SECOND);
    assert_eq!(rig.connections.places[0].busy, HTTP_CONNECTIONS_MAX / 2);
    assert_eq!(rig.connections.counters.refused, HTTP_CONNECTIONS_MAX as u64);
    // Every so many answers allow one more.
    let mut limit = std::mem::take(&mut rig.connections.places[0].limit);
    for allowed in [256, 257] {
        assert_eq!(limit.allowed(), allowed);
        (0..allowed).for_each(|_| limit.served());
    }
    assert_eq!(limit.allowed(), 258);
    for at in 10..30 {
        limit.refused(at * SECOND, at * SECOND);
    }
    assert_eq!(limit.allowed(), HTTP_IN_FLIGHT_MIN);
}

#[test]
fn shards_share_what_an_engine_sends_to_a_server() {
    let mut rigs: Vec<Rig> = (0..8).map(|_| Rig::new()).collect();
    let target = rigs[0].target.clone();
    for rig in &mut rigs {
        rig.target = target.clone();
        (0..HTTP_CONNECTIONS_MAX as u64).for_each(|i| rig.ask(i));
    }
    let sent: usize = rigs.iter_mut().map(|rig| rig.begin(0).len()).sum();
    assert_eq!(sent, ENDPOINT_IN_FLIGHT_MAX);
    // What those that left had is for the others.
    rigs.truncate(2);
    let more: usize = rigs.iter_mut().map(|rig| rig.begin(0).len()).sum();
    assert_eq!(more, 2 * (HTTP_CONNECTIONS_MAX - ENDPOINT_IN_FLIGHT_MAX / 8));
}

#[test]
fn a_shard_that_asks_no_more_leaves_its_share() {
    let (mut busy, mut quiet) = (Rig::new(), Rig::new());
    quiet.target = busy.target.clone();
    let share = |rig: &Rig| rig.target.endpoint.share();
    let first = quiet.sent(0, 0);
    busy.sent(0, 0);
    assert_eq!(share(&busy), ENDPOINT_IN_FLIGHT_MAX / 2);
    quiet.serve(first, 0);
    quiet.connections.look(quiet.connections.next_look().unwrap().max(100 * SECOND));
    assert_eq!(share(&busy), ENDPOINT_IN_FLIGHT_MAX);
}

#[test]
fn without_a_descriptor_the_connections_there_are_must_do() {
    let mut rig = Rig::new();
    let first = rig.sent(1, 0);
    rig.ask(2);
    let second = rig.begin(0)[0];
    rig.link(second).in_kernel = false;
    let none = io::Error::from_raw_os_error(libc::EMFILE);
    rig.connections.unopened(second, &none, 0);
    assert_eq!(rig.outcomes(), []);
    rig.serve(first, 0);
    assert_eq!(rig.begin(0), [first], "the request found the connection");
    rig.serve(first, 0);
    assert_eq!(rig.outcomes(), [(1, Outcome::Done), (2, Outcome::Done)]);
    // Without any, it fails.
    rig.connections.close_idle(0);
    rig.ask(3);
    let token = rig.begin(0)[0];
    rig.connections.unopened(token, &none, 0);
    assert!(rig.failure().contains("open files"));
}

#[test]
fn an_expired_target_is_not_asked() {
    let mut rig = Rig::new();
    let Target { endpoint, path_and_query, .. } = target("/a").unwrap();
    rig.target = Arc::new(Target::new(endpoint, path_and_query, SECOND).unwrap());
    rig.ask(1);
    assert_eq!(rig.begin(SECOND - 1).len(), 1);
    rig.ask(2);
    assert_eq!(rig.begin(SECOND), []);
    assert_eq!(rig.outcomes(), [(2, Outcome::Unusual(Unusual::Expired))]);
}

#[test]
fn an_idle_connection_makes_room_for_another_endpoint() {
    let mut rig = Rig::new();
    let first = rig.sent(0, 0);
    rig.serve(first, 0);
    (0..HTTP_CONNECTIONS_MAX as u64 + 1).for_each(|i| rig.ask(i));
    assert_eq!(rig.begin(0).len(), HTTP_CONNECTIONS_MAX);
    rig.target = Arc::new(target("/a").unwrap());
    rig.ask(9000);
    assert_eq!(rig.begin(0), [], "all are busy");
    rig.serve_connected(first);
    assert_eq!(rig.begin(0), [first], "its own endpoint comes first");
    rig.serve_connected(first);
    assert_eq!(rig.begin(0).len(), 1);
    assert!(rig.connections.links.get(first).is_none());
}

impl Rig {
    fn serve_connected(&mut self, token: Token) {
        if self.link(token).connection.step() == Step::Connect {
            self.connections.completed(token, 0, 0);
            self.begin(0);
        }
        self.serve(token, 0);
    }
}
