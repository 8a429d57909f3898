//! What a shard knows of one endpoint: its idle connections, the requests that wait for one, and
//! how many the server takes at once.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::io::http::response::Asked;
use crate::io::http::target::{Endpoint, Target};
use crate::io::read_op::Op;
use crate::io::tail::Tail;
use crate::limits::{HTTP_CONNECTIONS_MAX, HTTP_IN_FLIGHT_MIN};
use crate::mem::slab::Token;
use crate::types::Nanos;

/// A read that a GET is to serve.
pub(crate) struct Request {
    pub(super) op: Op,
    pub(super) target: Arc<Target>,
    /// To be sent on a new connection: it met one that was closed, or one that brought wrong bytes.
    pub(super) fresh: bool,
}

impl Request {
    /// The range that it is for.
    pub(super) fn asked(&self) -> Asked {
        Asked { offset: self.op.offset, bytes: self.op.buf.bytes().len() as u64 }
    }
}

/// See the module.
pub(crate) struct Place {
    pub(crate) endpoint: Arc<Endpoint>,
    /// Connections without a request, the last used last.
    pub(crate) idle: Vec<Token>,
    pub(crate) waiting: VecDeque<Request>,
    /// Connections with a request.
    pub(crate) busy: usize,
    pub(crate) limit: Limit,
    /// How long its answers take.
    pub(crate) tail: Tail,
    /// The server asks not to be asked before.
    pub(crate) not_before: Nanos,
    // It counts among the shards that ask the endpoint.
    joined: bool,
    next_address: usize,
}

impl Place {
    /// Nothing yet.
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            idle: Vec::new(),
            waiting: VecDeque::new(),
            busy: 0,
            limit: Limit::default(),
            tail: Tail::default(),
            not_before: 0,
            joined: false,
            next_address: 0,
        }
    }

    /// Takes a request over.
    pub(crate) fn push(&mut self, request: Request) {
        if !std::mem::replace(&mut self.joined, true) {
            self.endpoint.join();
        }
        self.waiting.push_back(request);
    }

    /// Requests that may be in flight: no more than the server takes, and no more than this
    /// shard's share of what an engine has in flight there.
    pub(crate) fn allowed(&self) -> usize {
        self.limit.allowed().min(self.endpoint.share())
    }

    /// Leaves its share to others if it needs none.
    pub(crate) fn rest(&mut self) {
        if self.is_unused() && std::mem::take(&mut self.joined) {
            self.endpoint.leave();
        }
    }

    /// True if it can be forgotten.
    pub(crate) fn is_unused(&self) -> bool {
        self.busy == 0 && self.idle.is_empty() && self.waiting.is_empty()
    }

    /// Where to connect next: to each address in turn, so that those that do not answer are left.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let addresses = &self.endpoint.addresses;
        self.next_address = (self.next_address + 1) % addresses.len();
        addresses[self.next_address]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.joined {
            self.endpoint.leave();
        }
    }
}

/// How many requests a server gets at once: fewer when it refuses some, more as it serves.
#[derive(Debug)]
pub(crate) struct Limit {
    allowed: usize,
    served: usize,
    cut: Nanos,
}

impl Default for Limit {
    fn default() -> Self {
        Self { allowed: HTTP_CONNECTIONS_MAX, served: 0, cut: 0 }
    }
}

impl Limit {
    /// Requests that may be in flight.
    pub(crate) fn allowed(&self) -> usize {
        self.allowed
    }

    /// A request was served: as many as are allowed allow one more.
    pub(crate) fn served(&mut self) {
        self.served += 1;
        if self.served >= self.allowed {
            self.served = 0;
            self.allowed = (self.allowed + 1).min(HTTP_CONNECTIONS_MAX);
        }
    }

    /// A request that was sent at `sent` was refused: half as many, once for all those that were
    /// under way then.
    pub(crate) fn refused(&mut self, sent: Nanos, now: Nanos) {
        if sent >= self.cut {
            self.cut_to(self.allowed / 2, now);
        }
    }

    /// Only so many.
    pub(crate) fn cut_to(&mut self, allowed: usize, now: Nanos) {
        self.allowed = allowed.max(HTTP_IN_FLIGHT_MIN).min(self.allowed);
        (self.served, self.cut) = (0, now);
    }
}
