//! The operations of a shard's connections in its ring.
//!
//! Invariant: from the moment an operation of a connection is pushed until it ends, the connection
//! stays where it lies in the heap, with its socket, buffers and address, and nobody touches them.
//! A read's own buffer never goes to the kernel: the body is copied (60 ns for 4 KiB), so a read
//! that takes too long is answered while the kernel still holds its connection.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::squeue::Flags;
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{SubmissionQueue, opcode, squeue};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::io::http::connection::Step;
use crate::io::http::connections::{Connections, EndedGet, HttpCounters, Link};
use crate::io::http::target::Target;
use crate::io::read_op::Op;
use crate::mem::slab::Token;
use crate::types::Nanos;

/// Set in the numbers of completions that are those of connections: the index of a token is far
/// smaller.
const CONNECTION: u64 = 1 << 31;

/// See the module.
#[derive(Default)]
pub(crate) struct HttpRing {
    connections: Connections,
    // Operations that were pushed and have not ended.
    in_kernel: usize,
    now: Nanos,
}

impl HttpRing {
    /// True if a completion with this number, which is none of the ring's own, is a connection's.
    pub(crate) fn is_number(number: u64) -> bool {
        number & CONNECTION != 0
    }

    /// Operations in the kernel.
    pub(crate) fn in_kernel(&self) -> usize {
        self.in_kernel
    }

    /// Reads that were taken over and not given back.
    pub(crate) fn pending(&self) -> usize {
        self.connections.pending()
    }

    /// What was done so far.
    pub(crate) fn counters(&self) -> HttpCounters {
        self.connections.counters
    }

    /// When a turn has something to do, at the earliest.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        self.connections.next_look()
    }

    /// True if reads can be taken back.
    pub(crate) fn is_ready(&self) -> bool {
        !self.connections.ended.is_empty()
    }

    /// Reads that ended.
    pub(crate) fn take_ended(&mut self) -> Vec<EndedGet> {
        std::mem::take(&mut self.connections.ended)
    }

    /// Sends what takes long once more from now on.
    pub(crate) fn set_hedge(&mut self) {
        self.connections.set_hedge();
    }

    /// Takes a read over.
    pub(crate) fn submit(&mut self, op: Op, target: &Arc<Target>) {
        self.connections.submit(op, target.clone());
    }

    /// The time is `now`.
    pub(crate) fn tick(&mut self, now: Nanos) {
        self.now = now;
        self.connections.look(now);
    }

    /// Pushes what connections do next. False if the submission ring filled up before.
    pub(crate) fn push(&mut self, sq: &mut SubmissionQueue<'_>, cancelled: u64) -> bool {
        while let Some(&token) = self.connections.cancels.last() {
            if sq.is_full() {
                return false;
            }
            self.connections.cancels.pop();
            self.cancel(sq, token, cancelled);
        }
        self.connections.start(self.now);
        while let Some(&token) = self.connections.steps.front() {
            // Two entries of one link must be submitted together.
            if sq.capacity() - sq.len() < 2 {
                return false;
            }
            self.connections.steps.pop_front();
            self.begin(sq, token);
        }
        true
    }

    fn cancel(&self, sq: &mut SubmissionQueue<'_>, token: Token, number: u64) {
        let link = self.connections.links.get(token).filter(|link| link.in_kernel);
        let Some(socket) = link.and_then(|link| link.socket.as_ref()) else { return };
        let all = CancelBuilder::fd(Fd(socket.as_raw_fd())).all();
        let entry = opcode::AsyncCancel2::new(all).build().user_data(number);
        // SAFETY: a cancellation names no memory, and the socket stays open until what it cancels
        // has ended.
        let pushed = unsafe { sq.push(&entry) };
        debug_assert!(pushed.is_ok(), "there was room");
    }

    // Begins the next step of a connection; there is room for it.
    fn begin(&mut self, sq: &mut SubmissionQueue<'_>, token: Token) {
        // A connection that was given up meanwhile has no next step.
        let Some(link) = self.connections.links.get_mut(token) else { return };
        if link.socket.is_none() {
            match open(&link.to) {
                Ok(socket) => link.socket = Some(socket),
                Err(error) => return self.connections.unopened(token, &error, self.now),
            }
        }
        let socket = link.socket.as_ref().expect("just opened");
        let number = token.0 | CONNECTION;
        let fd = Fd(socket.as_raw_fd());
        let step = link.connection.step();
        link.in_kernel = true;
        self.in_kernel += 1;
        let entries = match step {
            Step::Connect => {
                let to = &link.to;
                let connect = opcode::Connect::new(fd, to.as_ptr().cast(), to.len());
                [None, Some(connect.build())]
            }
            Step::Exchange => {
                let out = link.connection.outgoing();
                let bytes = u32::try_from(out.len()).expect("a request is short");
                // All of it or a failure: a failure, which alone is told, ends the link too.
                let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
                let send = opcode::Send::new(fd, out.as_ptr(), bytes).flags(flags).build();
                [Some(send.flags(Flags::IO_LINK | Flags::SKIP_SUCCESS)), Some(receive(fd, link, 0))]
            }
            Step::Receive { all } => {
                [None, Some(receive(fd, link, if all { libc::MSG_WAITALL } else { 0 }))]
            }
        };
        for entry in entries.into_iter().flatten() {
            // SAFETY: the entry points into the address, the request or the room of `link`, all
            // heap memory that stays as it is until the one completion of this step (invariant):
            // that of the last entry, which the kernel begins when the first has ended, or of the
            // failure of the first. Dropping the ring leaks it otherwise. The socket is open as
            // long as `link` lives.
            let pushed = unsafe { sq.push(&entry.user_data(number)) };
            debug_assert!(pushed.is_ok(), "there was room");
        }
    }

    /// An operation ended, with the number of its completion, of a ring that is dropped. False
    /// if it had ended before: a kernel may tell of both parts of a link that failed.
    pub(crate) fn let_go(&mut self, number: u64) -> bool {
        let token = Token(number & !CONNECTION);
        let link = self.connections.links.get_mut(token).filter(|link| link.in_kernel);
        let Some(link) = link else { return false };
        link.in_kernel = false;
        self.in_kernel -= 1;
        true
    }

    /// An operation ended, with the number and the result of its completion.
    pub(crate) fn complete(&mut self, number: u64, result: i32) {
        if self.let_go(number) {
            self.connections.completed(Token(number & !CONNECTION), result, self.now);
        }
    }
}

// A socket for a connection to `address`. It blocks: the ring waits where a caller would.
fn open(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

// Receives into the room of a connection.
fn receive(fd: Fd, link: &mut Link, flags: i32) -> squeue::Entry {
    let room = link.connection.room();
    let bytes = u32::try_from(room.len()).unwrap_or(u32::MAX);
    opcode::Recv::new(fd, room.as_mut_ptr(), bytes).flags(flags).build()
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
