//! One connection without its socket: it says which operation comes next, takes the results, and
//! tells when the answer to its request is there. One request is in flight on it at a time.

use crate::io::http::input::Input;
use crate::io::http::request;
use crate::io::http::response::{self, Answer, Asked, Head};
use crate::io::http::target::Target;
use crate::io::http::tls::Session;
use crate::limits::HTTP_HEAD_ROOM_BYTES;

/// What a connection does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Connect the socket; `connected` tells of it.
    Connect,
    /// Send all of `outgoing`, then receive into `room` what is there; `received` tells of it.
    Exchange,
    /// Receive into `room`: what is there, or until it is full if `all`.
    Receive {
        /// The room is what the answer still lacks.
        all: bool,
    },
}

/// How a request ended on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer is there, and `body` is whole. The connection can take the next request if it
    /// is to be kept.
    Answer(Answer, Keep),
    /// The server closed the connection before the answer was whole.
    Closed,
    /// The server does not speak the TLS that is wanted; true if it is not trusted.
    Tls(String, bool),
}

/// Whether a connection takes another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Yes.
    Yes,
    /// No.
    No,
}

/// See the module.
pub(crate) struct Connection {
    tls: Option<Box<Session>>,
    is_connected: bool,
    out: Vec<u8>,
    // Of the request in flight, without TLS.
    asked: Asked,
    input: Input,
    head: Option<Head>,
    answers: u64,
}

impl Connection {
    /// One that must connect first.
    pub(crate) fn new(tls: Option<Session>) -> Self {
        Self {
            tls: tls.map(Box::new),
            is_connected: false,
            out: Vec::new(),
            asked: Asked { offset: 0, bytes: 1 },
            input: Input::default(),
            head: None,
            answers: 0,
        }
    }

    /// Takes a request over. None is in flight.
    pub(crate) fn ask(&mut self, target: &Target, asked: Asked) -> Result<(), End> {
        self.asked = asked;
        self.head = None;
        self.input.clear();
        self.out.clear();
        request::write(target, asked, &mut self.out);
        let bytes = usize::try_from(asked.bytes).expect("a range fits a buffer");
        self.input.make_room(HTTP_HEAD_ROOM_BYTES + bytes);
        let Some(tls) = &mut self.tls else { return Ok(()) };
        tls.ask(&self.out, bytes);
        self.out.clear();
        tls.advance(&mut self.out, &mut self.input).map_err(untrusted)
    }

    /// What comes next for the request in flight.
    pub(crate) fn step(&self) -> Step {
        if !self.is_connected {
            Step::Connect
        } else if self.out.is_empty() {
            Step::Receive { all: self.head.is_some() && self.tls.is_none() }
        } else {
            Step::Exchange
        }
    }

    /// What `Step::Exchange` sends.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.out
    }

    /// Where what is received goes.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        match &mut self.tls {
            Some(tls) => tls.input.room(),
            None => self.input.room(),
        }
    }

    /// The socket is connected.
    pub(crate) fn connected(&mut self) {
        self.is_connected = true;
    }

    /// What there was to send was sent, and so many bytes arrived in `room`; none if the server
    /// closed the connection. The end of the request, if this was it.
    pub(crate) fn received(&mut self, bytes: usize) -> Option<End> {
        self.out.clear();
        if bytes == 0 {
            return Some(End::Closed);
        }
        match &mut self.tls {
            Some(tls) => {
                tls.input.arrived(bytes);
                if let Err(error) = tls.advance(&mut self.out, &mut self.input) {
                    return Some(untrusted(error));
                }
            }
            None => self.input.arrived(bytes),
        }
        self.judge()
    }

    fn judge(&mut self) -> Option<End> {
        if self.head.is_none() {
            self.head = response::parse(self.input.bytes(), self.asked);
        }
        let Some(head) = &self.head else {
            // The parser wants more, up to its limit.
            let bytes = self.input.bytes().len();
            self.input.make_room(bytes + HTTP_HEAD_ROOM_BYTES);
            return None;
        };
        let whole = head.bytes + head.body.unwrap_or_default();
        let arrived = self.input.bytes().len();
        if arrived < whole {
            self.input.fit_room(whole);
            return None;
        }
        self.answers += 1;
        // Bytes that nobody asked for belong to no later request either.
        let keep = if head.keep && arrived == whole { Keep::Yes } else { Keep::No };
        Some(End::Answer(head.answer.clone(), keep))
    }

    /// The body of the answer that ended the request.
    pub(crate) fn body(&self) -> &[u8] {
        let Some(head) = &self.head else { return &[] };
        let body = head.bytes..head.bytes + head.body.unwrap_or_default();
        self.input.bytes().get(body).unwrap_or_default()
    }

    /// True if it answered before, but has said nothing to the request in flight: it may have been
    /// closed before that was sent.
    pub(crate) fn is_stale(&self) -> bool {
        self.answers > 0 && self.input.bytes().is_empty()
    }
}

fn untrusted(error: rustls::Error) -> End {
    let distrusted = matches!(error, rustls::Error::InvalidCertificate(_));
    End::Tls(error.to_string(), distrusted)
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
