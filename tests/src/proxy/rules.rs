//! What goes wrong with which requests.

use std::collections::HashSet;
use std::time::Duration;

use crate::sim::rng::Rng;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and is not applied.
    Answer {
        /// Such as 503.
        status: u16,
        /// Seconds of the header `Retry-After`.
        retry_after: Option<u32>,
    },
    /// The connection is reset and the request is not applied.
    Reset,
    /// The request is applied; instead of the reply the connection ends.
    LoseReply,
    /// The connection is reset; the request is applied after this time.
    ApplyLate(Duration),
    /// The request is applied and answered, and after this time applied once more.
    ApplyAgain(Duration),
    /// The body ends after so many bytes, before its last one in any case, and with it the
    /// connection; `Content-Length` is that of the whole.
    Truncate(usize),
    /// The whole object with status 200 instead of a range. Zeros stand around the range if a
    /// signature covers it, so that the proxy cannot ask for more.
    WholeBody,
    /// The bytes of the range, rotated so far to the left: what a range so much behind it has in
    /// all places but the last.
    WrongRange {
        /// Bytes.
        shift: usize,
        /// Whether `Content-Range` tells the range behind; otherwise it tells the one asked for.
        honest: bool,
    },
    /// The reply that the same request got first since the rule was set: an old version, a 404 of
    /// an object that has been written, a list without it. That first one goes through.
    Stale,
    /// Status 200 with this error in the body, such as `InternalError`, as S3 may answer who has it
    /// join parts. The request is not applied.
    ErrorInside(&'static str),
    /// A bit in the middle of its body is flipped on the way to the server.
    Flip,
    /// Status 307 to this host and port, such as `127.0.0.1:9001`, with the same target.
    Redirect(String),
    /// It waits for this time and goes on, perhaps to another fault.
    Delay(Duration),
}

impl Fault {
    /// Its name, by which it is counted.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answer { .. } => "answer",
            Self::Reset => "reset",
            Self::LoseReply => "lose reply",
            Self::ApplyLate(_) => "apply late",
            Self::ApplyAgain(_) => "apply again",
            Self::Truncate(_) => "truncate",
            Self::WholeBody => "whole body",
            Self::WrongRange { .. } => "wrong range",
            Self::Stale => "stale",
            Self::ErrorInside(_) => "error inside",
            Self::Flip => "flip",
            Self::Redirect(_) => "redirect",
            Self::Delay(_) => "delay",
        }
    }
}

/// A fault, and the requests that it meets: all of them, or those that fit everything said.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    method: Option<String>,
    part: Option<String>,
    after_put: bool,
    skip: u64,
    times: u64,
    chance: u32,
}

impl Rule {
    /// For every request.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            method: None,
            part: None,
            after_put: false,
            skip: 0,
            times: u64::MAX,
            chance: 10_000,
        }
    }

    /// Those of a method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Those whose path, with its parameters, contains this.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.part = Some(part.to_owned());
        self
    }

    /// Those to a path that was written by PUT through the proxy.
    #[must_use]
    pub fn after_put(mut self) -> Self {
        self.after_put = true;
        self
    }

    /// Not the first so many that fit.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// At most so many.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = requests;
        self
    }

    /// Each with a probability, in parts of ten thousand, drawn from the seed of the proxy.
    #[must_use]
    pub fn chance(mut self, parts: u32) -> Self {
        self.chance = parts;
        self
    }

    fn meets(&mut self, request: &Asked<'_>, written: &HashSet<String>, rng: &mut Rng) -> bool {
        let fits = self.method.as_deref().is_none_or(|method| method == request.method)
            && self.part.as_deref().is_none_or(|part| request.target.contains(part))
            && (!self.after_put || written.contains(request.path()));
        if !fits {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let meets = self.times > 0 && rng.chance(self.chance);
        self.times -= u64::from(meets);
        meets
    }
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub method: &'a str,
    /// The path with its parameters.
    pub target: &'a str,
}

impl Asked<'_> {
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// The rules of a proxy, and what they need to know of earlier requests.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    written: HashSet<String>,
    rng: Rng,
}

impl Rules {
    pub fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), written: HashSet::new(), rng: Rng::new(seed) }
    }

    pub fn push(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The faults of a request: delays, and then at most one other, that of the first rule.
    pub fn faults_of(&mut self, request: &Asked<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for rule in &mut self.rules {
            if rule.meets(request, &self.written, &mut self.rng) {
                faults.push(rule.fault.clone());
                if !matches!(rule.fault, Fault::Delay(_)) {
                    break;
                }
            }
        }
        faults
    }

    /// The server said yes to a PUT.
    pub fn written(&mut self, request: &Asked<'_>) {
        self.written.insert(request.path().to_owned());
    }
}
