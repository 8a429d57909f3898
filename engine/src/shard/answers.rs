//! Answers that a session has not taken yet. A session for which enough of them wait is not served
//! further until it took some: what it submitted waits in order, and large values are not read.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::limits::ANSWER_BYTES_MAX;
use crate::lsm::lookup::Need;
use crate::mem::slab::Token;
use crate::shard::cold::Waiting;
use crate::shard::serve::completions;
use crate::shard::shard::Shard;
use crate::shard::values::{Control, Outbox};
use crate::state::request::Batch;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Bytes that the driver keeps for each session, as of this tick.
    pub untaken: Vec<usize>,
    // Bytes of large values that are being read for each session.
    promised: Vec<usize>,
    // Gets that may not read a large value yet, and scans that may not go on.
    parked: VecDeque<Token>,
    // What may not be served yet.
    held: VecDeque<(u16, Held)>,
    // Sessions of stalled requests that could go on and may not.
    pub stalled: SmallVec<[u16; 4]>,
}

#[derive(Debug)]
enum Held {
    Batch { batch: Box<Batch>, served: usize },
    Control(Control),
}

impl Answers {
    /// True if the session has as much as it may have; `made`: bytes this tick made for it. One
    /// answer is always under way: below the limit the next is let through whatever its size.
    #[inline]
    pub fn enough(&self, session: u16, made: usize) -> bool {
        let of = |bytes: &[usize]| bytes.get(usize::from(session)).copied().unwrap_or(0);
        made + of(&self.untaken) + of(&self.promised) >= ANSWER_BYTES_MAX
    }

    /// Has a get or scan wait until its session took answers.
    pub fn park(&mut self, token: Token) {
        self.parked.push_back(token);
    }

    fn promise(&mut self, session: u16, bytes: usize) {
        let at = usize::from(session);
        if self.promised.len() <= at {
            self.promised.resize(at + 1, 0);
        }
        self.promised[at] += bytes;
    }

    /// The read of a large value ended.
    pub fn kept(&mut self, session: u16, bytes: usize) {
        self.promised[usize::from(session)] -= bytes;
    }

    fn holds(&self, session: u16) -> bool {
        self.held.iter().any(|(held, _)| *held == session)
    }
}

/// Bytes of answers that this tick made for a session.
pub(super) fn made(outbox: &Outbox, session: u16) -> usize {
    outbox.completions.get(usize::from(session)).map_or(0, |made| made.bytes.len())
}

impl Shard {
    /// Serves a batch, or as much of it as its session may have answers for: then the batch is
    /// taken out of its box.
    pub(super) fn take_batch(&mut self, session: u16, batch: &mut Box<Batch>, outbox: &mut Outbox) {
        let held = !self.answers.held.is_empty() && self.answers.holds(session);
        let served = if held { 0 } else { self.serve(session, batch, 0, outbox) };
        if served < batch.requests.len() {
            let batch = std::mem::take(batch);
            self.answers.held.push_back((session, Held::Batch { batch, served }));
        }
    }

    /// Takes a control request, behind what its session submitted.
    pub(super) fn take_control(&mut self, control: Control, outbox: &mut Outbox) {
        let session = control.session;
        match self.answers.holds(session) {
            true => self.answers.held.push_back((session, Held::Control(control))),
            false => self.control(control, outbox),
        }
    }

    /// Reads a large value for a get, once its session may have it.
    pub(super) fn read_large(&mut self, token: Token, session: u16, need: Need, outbox: &Outbox) {
        let bytes = need.large.map_or(0, |value| value.len as usize);
        if self.answers.enough(session, made(outbox, session)) {
            return self.answers.park(token);
        }
        self.answers.promise(session, bytes);
        self.coalescer.need(need.pages(), token, self.ssd.as_mut());
    }

    /// True if something waits that its driver lets go on once it took what this tick made.
    pub(super) fn held_is_ready(&self) -> bool {
        let Answers { parked, held, stalled, .. } = &self.answers;
        let ready = |session: u16| !self.answers.enough(session, 0);
        let of_parked = |&token: &Token| self.cold.get(token).map(Waiting::session);
        held.iter().any(|&(session, _)| ready(session))
            || stalled.iter().any(|&session| ready(session))
            || parked.iter().filter_map(of_parked).any(ready)
    }

    /// Goes on with what waited for sessions to take answers.
    pub(super) fn serve_held(&mut self, outbox: &mut Outbox) {
        for _ in 0..self.answers.parked.len() {
            let Some(token) = self.answers.parked.pop_front() else { break };
            let Some(waiting) = self.cold.get(token) else { continue };
            let session = waiting.session();
            completions(outbox, session);
            if self.answers.enough(session, made(outbox, session)) {
                self.answers.park(token);
            } else if let Waiting::Get(get) = waiting {
                let need = get.need.expect("a parked get knows what it needs");
                self.read_large(token, session, need, outbox);
            } else if let Some(Waiting::Scan(scan)) = self.cold.remove(token) {
                self.continue_scan(scan, Ok(()), outbox);
            }
        }
        let mut full: SmallVec<[u16; 4]> = SmallVec::new();
        for (session, held) in std::mem::take(&mut self.answers.held) {
            let left = match held {
                held if full.contains(&session) => Some(held),
                Held::Control(control) => {
                    self.control(control, outbox);
                    None
                }
                Held::Batch { batch, served } => {
                    let served = self.serve(session, &batch, served, outbox);
                    (served < batch.requests.len()).then_some(Held::Batch { batch, served })
                }
            };
            if let Some(left) = left {
                full.push(session);
                self.answers.held.push_back((session, left));
            }
        }
    }
}
