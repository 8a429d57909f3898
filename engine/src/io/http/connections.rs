//! The connections of a shard, without their operations: which request goes to which, what is sent
//! again, what is given up.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use socket2::{SockAddr, Socket};

use crate::io::http::connection::{Connection, End, Keep, Step};
use crate::io::http::place::{Place, Request};
use crate::io::http::response::{Answer, Asked, Unusual};
use crate::io::http::target::Target;
use crate::io::read_op::Op;
use crate::limits::{
    HTTP_CONNECT_NS_MAX, HTTP_CONNECTIONS_MAX, HTTP_IDLE_NS_MAX, HTTP_RESPONSE_NS_MAX,
    READ_TRIES_MAX,
};
use crate::mem::slab::{Slab, Token};
use crate::types::Nanos;

/// What the connections of a shard did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpCounters {
    /// Requests sent, repeated ones each time.
    pub requests: u64,
    /// Bytes that they brought.
    pub bytes: u64,
    /// Connections begun.
    pub connects: u64,
    /// Requests sent again at once: they met a connection that the server had closed.
    pub stale: u64,
    /// Requests that the server refused for the moment.
    pub refused: u64,
    /// Requests that were not answered in time.
    pub timeouts: u64,
    /// Reads that no request could serve: the thread of stores did.
    pub fallbacks: u64,
    /// Requests sent once more because they took long, beside the first.
    pub hedges: u64,
    /// Of these, those that were answered first.
    pub hedges_won: u64,
}

/// How a GET ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The buffer is filled.
    Done,
    /// It failed, and another may not.
    Failed {
        /// Why.
        why: String,
        /// How long the server asks to be left alone.
        wait: Nanos,
    },
    /// It cannot serve the read.
    Unusual(Unusual),
}

/// A read whose GET ended.
pub(crate) struct EndedGet {
    pub(crate) op: Op,
    pub(crate) outcome: Outcome,
}

/// A connection with its socket.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    /// Where it is connected to. The kernel reads it; it stays where it is when links move.
    pub(crate) to: Box<SockAddr>,
    /// Made by who connects it.
    pub(crate) socket: Option<Socket>,
    /// An operation of it was begun and has not ended: the kernel uses its memory.
    pub(crate) in_kernel: bool,
    pub(super) place: usize,
    pub(super) request: Option<Request>,
    /// A connection with the same request; the one of the two that was sent later has none itself.
    pub(super) twin: Option<Token>,
    pub(super) sent: Nanos,
    /// Of its request, or of its being kept without one.
    pub(super) deadline: Nanos,
    /// Without request, waiting for the kernel to let go of it.
    pub(super) is_over: bool,
}

impl Link {
    fn address(&self) -> String {
        self.to.as_socket().map_or_else(String::new, |address| address.to_string())
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) links: Slab<Link>,
    /// Connections that have something to do next.
    pub(crate) steps: VecDeque<Token>,
    /// Connections whose operation the kernel shall end.
    pub(crate) cancels: Vec<Token>,
    pub(crate) ended: Vec<EndedGet>,
    pub(crate) counters: HttpCounters,
    pub(super) places: Vec<Place>,
    pub(super) hedges: bool,
    pending: usize,
    next_look: Option<Nanos>,
}

impl Connections {
    /// Reads taken over whose end was not taken from `ended`.
    pub(crate) fn pending(&self) -> usize {
        self.pending + self.ended.len()
    }

    /// When `look` has something to do, at the earliest.
    pub(crate) fn next_look(&self) -> Option<Nanos> {
        self.next_look
    }

    /// Takes a read over; the next `start` finds it a connection.
    pub(crate) fn submit(&mut self, op: Op, target: Arc<Target>) {
        self.pending += 1;
        let place = self.place(&target);
        let fresh = op.again;
        place.push(Request { op, target, fresh });
    }

    fn place(&mut self, target: &Target) -> &mut Place {
        let places = &self.places;
        let known = places.iter().position(|p| Arc::ptr_eq(&p.endpoint, &target.endpoint));
        let at = known.unwrap_or_else(|| {
            let place = Place::new(target.endpoint.clone());
            if let Some(unused) = self.places.iter().position(Place::is_unused) {
                self.places[unused] = place;
                return unused;
            }
            self.places.push(place);
            self.places.len() - 1
        });
        &mut self.places[at]
    }

    /// Gives waiting requests to connections, as many as there may be.
    pub(crate) fn start(&mut self, now: Nanos) {
        for at in 0..self.places.len() {
            if self.places[at].not_before > now {
                if !self.places[at].waiting.is_empty() {
                    self.look_at(self.places[at].not_before);
                }
                continue;
            }
            while self.places[at].busy < self.places[at].allowed() {
                let Some(request) = self.places[at].waiting.pop_front() else { break };
                if request.target.expires <= now {
                    self.end(request, Outcome::Unusual(Unusual::Expired));
                    continue;
                }
                let idle = if request.fresh { None } else { self.places[at].idle.pop() };
                if idle.is_none() && !self.has_room() {
                    self.places[at].waiting.push_front(request);
                    break;
                }
                self.begin(at, idle, request, now);
            }
        }
    }

    // True if one more connection may be opened; an idle one makes room for it.
    pub(super) fn has_room(&mut self) -> bool {
        if self.links.len() < HTTP_CONNECTIONS_MAX {
            return true;
        }
        let Some(place) = self.places.iter_mut().find(|p| !p.idle.is_empty()) else { return false };
        let longest = place.idle.remove(0);
        self.links.free(longest);
        true
    }

    // Begins a request on an idle connection or a new one.
    fn begin(&mut self, at: usize, idle: Option<Token>, request: Request, now: Nanos) {
        let (target, asked) = (request.target.clone(), request.asked());
        let token = match idle {
            Some(token) => token,
            None => match self.open(at) {
                Ok(token) => token,
                Err(end) => return self.end(request, outcome(end, false)),
            },
        };
        self.links.get_mut(token).expect("an idle connection lives").request = Some(request);
        let sent = self.send((token, idle.is_none()), &target, asked, now);
        if let Some(late) = self.late_at(token) {
            self.look_at(late);
        }
        if let Err(end) = sent {
            self.over(token, end, now);
        }
    }

    // Sends a request on a connection, which is to be made first if it is new.
    pub(super) fn send(
        &mut self,
        (token, is_new): (Token, bool),
        target: &Target,
        asked: Asked,
        now: Nanos,
    ) -> Result<(), End> {
        let link = self.links.get_mut(token).expect("a connection that is free lives");
        self.places[link.place].busy += 1;
        let span = if is_new { HTTP_CONNECT_NS_MAX } else { HTTP_RESPONSE_NS_MAX };
        (link.sent, link.deadline) = (now, now.saturating_add(span));
        let (deadline, sent) = (link.deadline, link.connection.ask(target, asked));
        self.look_at(deadline);
        self.counters.requests += 1;
        sent.map(|()| self.steps.push_back(token))
    }

    // `look` has something to do then.
    pub(super) fn look_at(&mut self, time: Nanos) {
        self.next_look = Some(self.next_look.map_or(time, |look| look.min(time)));
    }

    pub(super) fn open(&mut self, at: usize) -> Result<Token, End> {
        let place = &mut self.places[at];
        let session = place.endpoint.tls.as_ref().map(|tls| tls.session()).transpose();
        let session = session.map_err(|error| End::Tls(error.to_string(), false))?;
        self.counters.connects += 1;
        Ok(self.links.insert(Link {
            connection: Connection::new(session),
            to: Box::new(place.address().into()),
            socket: None,
            in_kernel: false,
            place: at,
            request: None,
            twin: None,
            sent: 0,
            deadline: 0,
            is_over: false,
        }))
    }

    /// A step of a connection was carried out, with the result as a system call gives it.
    pub(crate) fn completed(&mut self, token: Token, result: i32, now: Nanos) {
        let Some(link) = self.links.get_mut(token) else { return };
        link.in_kernel = false;
        if link.is_over {
            return self.links.free(token);
        }
        let step = link.connection.step();
        let Ok(bytes) = usize::try_from(result) else {
            return self.broken(token, step, &io::Error::from_raw_os_error(-result), now);
        };
        let end = if step == Step::Connect {
            link.connection.connected();
            link.deadline = now.saturating_add(HTTP_RESPONSE_NS_MAX);
            None
        } else {
            link.connection.received(bytes)
        };
        match end {
            None => self.steps.push_back(token),
            Some(end) => self.over(token, end, now),
        }
    }

    /// No socket could be made for a connection.
    pub(crate) fn unopened(&mut self, token: Token, error: &io::Error, now: Nanos) {
        if self.overtaken(token, false) {
            return;
        }
        let Some(link) = self.links.get_mut(token) else { return };
        let place = &mut self.places[link.place];
        if place.busy == 1 {
            return self.broken(token, Step::Connect, error, now);
        }
        // As many as there are must do; the request waits for one of them.
        place.limit.cut_to(place.busy - 1, now);
        self.again(token, false);
    }

    fn broken(&mut self, token: Token, step: Step, error: &io::Error, now: Nanos) {
        if self.overtaken(token, false) {
            return;
        }
        let Some(link) = self.links.get_mut(token) else { return };
        // The kernel cancels what a thread left behind that exited.
        let request = link.request.as_mut().expect("a step is that of a request");
        if error.raw_os_error() == Some(libc::ECANCELED) && request.op.tries < READ_TRIES_MAX {
            request.op.tries += 1;
            return self.again(token, true);
        }
        if link.connection.is_stale() {
            return self.over(token, End::Closed, now);
        }
        let address = link.address();
        let why = match step {
            Step::Connect => format!("connecting to {address}: {error}"),
            _ => format!("the connection to {address} broke: {error}"),
        };
        if let Some(request) = self.release(token, Keep::No, now) {
            self.end(request, Outcome::Failed { why, wait: 0 });
        }
    }

    // A request ended on its connection, which the kernel does not use.
    fn over(&mut self, token: Token, end: End, now: Nanos) {
        let link = self.links.get_mut(token).expect("its request was in flight");
        let (sent, at) = (link.sent, link.place);
        if let End::Answer(Answer::Refused { wait, .. }, _) = &end {
            self.counters.refused += 1;
            let place = &mut self.places[at];
            place.limit.refused(sent, now);
            place.not_before = place.not_before.max(now.saturating_add(*wait));
        }
        if self.overtaken(token, matches!(end, End::Answer(Answer::Range, _))) {
            return;
        }
        let link = self.links.get_mut(token).expect("its request goes on");
        let keep = match &end {
            End::Closed if link.connection.is_stale() => {
                self.counters.stale += 1;
                self.close_idle(at);
                return self.again(token, true);
            }
            End::Answer(answer, keep) => {
                if let (Answer::Range, Some(request)) = (answer, &mut link.request) {
                    request.op.buf.bytes_mut().copy_from_slice(link.connection.body());
                    self.counters.bytes += request.op.buf.bytes().len() as u64;
                    let place = &mut self.places[at];
                    place.limit.served();
                    if self.hedges {
                        place.tail.answered(now.saturating_sub(link.sent));
                    }
                }
                *keep
            }
            End::Closed | End::Tls(..) => Keep::No,
        };
        if let Some(request) = self.release(token, keep, now) {
            self.end(request, outcome(end, true));
        }
    }

    // The request of a connection waits once more, before all others.
    fn again(&mut self, token: Token, fresh: bool) {
        let Some(link) = self.links.remove(token) else { return };
        let place = &mut self.places[link.place];
        place.busy -= 1;
        if let Some(request) = link.request {
            place.waiting.push_front(Request { fresh, ..request });
        }
    }

    // Whoever answered longest ago was closed most likely, if the last one was.
    fn close_idle(&mut self, at: usize) {
        for token in std::mem::take(&mut self.places[at].idle) {
            self.links.free(token);
        }
    }

    // Takes the request from a connection that the kernel does not use.
    fn release(&mut self, token: Token, keep: Keep, now: Nanos) -> Option<Request> {
        let link = self.links.get_mut(token)?;
        let request = link.request.take();
        let place = &mut self.places[link.place];
        place.busy -= 1;
        link.deadline = now.saturating_add(HTTP_IDLE_NS_MAX);
        match keep {
            Keep::Yes => place.idle.push(token),
            Keep::No => self.links.free(token),
        }
        request
    }

    fn end(&mut self, request: Request, outcome: Outcome) {
        self.pending -= 1;
        self.ended.push(EndedGet { op: request.op, outcome });
    }

    /// Gives up what took too long, and closes connections that nobody needed for long.
    pub(crate) fn look(&mut self, now: Nanos) {
        if self.next_look.is_none_or(|look| look > now) {
            return;
        }
        let late: Vec<Token> = self
            .links
            .tokens()
            .filter(|&token| {
                self.links.get(token).is_some_and(|link| !link.is_over && link.deadline <= now)
            })
            .collect();
        late.into_iter().for_each(|token| self.late(token, now));
        self.hedge(now);
        let deadlines = self.links.iter().filter(|link| !link.is_over).map(|link| link.deadline);
        // What was late and was not sent again stays alone.
        let late = self.links.tokens().filter_map(|token| self.late_at(token));
        self.next_look = deadlines.chain(late.filter(|late| *late > now)).min();
    }

    fn late(&mut self, token: Token, now: Nanos) {
        if self.overtaken(token, false) {
            return;
        }
        let Some(link) = self.links.get_mut(token) else { return };
        let place = &mut self.places[link.place];
        let Some(request) = link.request.take() else {
            place.idle.retain(|idle| *idle != token);
            place.rest();
            return self.links.free(token);
        };
        place.busy -= 1;
        self.counters.timeouts += 1;
        let (address, ms) = (link.address(), (now - link.sent) / 1_000_000);
        let what = match link.connection.step() {
            Step::Connect => "did not let itself be connected to",
            _ => "did not answer",
        };
        if link.in_kernel {
            link.is_over = true;
            self.cancels.push(token);
        } else {
            self.links.free(token);
        }
        let why = format!("{address} {what} within {ms} ms");
        self.end(request, Outcome::Failed { why, wait: 0 });
    }
}

fn outcome(end: End, sent: bool) -> Outcome {
    let (why, wait) = match end {
        End::Answer(Answer::Range, _) => return Outcome::Done,
        End::Answer(Answer::Unusual(why), _) => return Outcome::Unusual(why),
        End::Tls(why, true) => return Outcome::Unusual(Unusual::Untrusted(why)),
        End::Answer(Answer::Refused { status, wait }, _) => {
            (format!("the server refuses for the moment (status {status})"), wait)
        }
        End::Closed => ("the server closed the connection before its answer was whole".into(), 0),
        End::Tls(why, false) if sent => (format!("the server does not speak this TLS: {why}"), 0),
        End::Tls(why, false) => (format!("TLS: {why}"), 0),
    };
    Outcome::Failed { why, wait }
}

#[cfg(test)]
#[path = "connections_tests.rs"]
pub(crate) mod tests;
