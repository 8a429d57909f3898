//! The head of an answer to a GET of a range: any bytes give an answer. Only what says plainly that
//! its body is the range that was asked for is taken as that.

use std::fmt;

use httparse::{EMPTY_HEADER, Status};

use crate::limits::{
    HTTP_DISCARD_BYTES_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_RETRY_AFTER_NS_MAX,
};
use crate::types::Nanos;

/// The range that a GET asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// First byte.
    pub offset: u64,
    /// How many, at least one; the end is below 2^64.
    pub bytes: u64,
}

/// What a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The body is the range that was asked for.
    Range,
    /// Not now: a later request may be served.
    Refused {
        /// Why.
        status: u16,
        /// The server asks not to be asked again before; zero where it does not say.
        wait: Nanos,
    },
    /// Anything else: for another way of reading to look at.
    Unusual(Unusual),
}

/// Why a plain GET did not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusual {
    /// 404, 410.
    Missing,
    /// 401, 403: a target that expired, say.
    Forbidden,
    /// The target has expired; nothing was asked.
    Expired,
    /// The object ends before or inside the range.
    PastEnd,
    /// 200: the server does not know ranges.
    Whole,
    /// To another place.
    Redirect(u16),
    /// Any other status.
    Status(u16),
    /// Not HTTP, or one that is not understood.
    Malformed,
    /// The head is longer than any that is taken.
    LongHead,
    /// The range that the answer names is another, or it names none.
    WrongRange,
    /// The body is not as long as the range, or does not say how long it is.
    WrongLength,
    /// The body is encoded or sent in chunks.
    Encoded,
    /// Nothing was asked: without io_uring no connection is kept.
    NoRing,
    /// The server cannot prove that it is the one that was asked for.
    Untrusted(String),
}

impl fmt::Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::Missing => "the server does not know the object",
            Self::Forbidden => "the server forbids it: credentials are wrong or expired",
            Self::Expired => "the permission to read it has expired",
            Self::PastEnd => "the object ends before or inside the range",
            Self::Whole => "the server ignores ranges (status 200)",
            Self::Redirect(status) => return write!(f, "a redirect (status {status})"),
            Self::Status(status) => return write!(f, "status {status}"),
            Self::Malformed => "the answer is not HTTP/1",
            Self::LongHead => "the answer's head has too many headers or bytes",
            Self::WrongRange => "the answer names another range or none",
            Self::WrongLength => "the answer's length is not the range's",
            Self::Encoded => "the body is encoded or sent in chunks",
            Self::NoRing => "objects of HTTP servers are read by io_uring alone",
            Self::Untrusted(why) => {
                return write!(
                    f,
                    "the server's certificate is not trusted ({why}): if it should be, add the \
                     one that signed it to the system's, or name a file of trusted ones in \
                     SSL_CERT_FILE"
                );
            }
        };
        f.write_str(why)
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it says.
    pub answer: Answer,
    /// Bytes of the head: the body begins there.
    pub bytes: usize,
    /// Bytes of the body; `None` where they are unknown or not worth receiving.
    pub body: Option<usize>,
    /// True if the server lets the connection live on behind the body.
    pub keep: bool,
}

impl Head {
    // One that nothing can be received behind.
    fn last(unusual: Unusual) -> Self {
        Self { answer: Answer::Unusual(unusual), bytes: 0, body: None, keep: false }
    }
}

/// Looks at what has arrived of a response; `None` if its head is not there yet. Pure.
#[must_use]
pub fn parse(bytes: &[u8], asked: Asked) -> Option<Head> {
    let mut headers = [EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let capped = &bytes[..bytes.len().min(HTTP_HEAD_BYTES_MAX)];
    let head_bytes = match response.parse(capped) {
        Ok(Status::Complete(bytes)) => bytes,
        Ok(Status::Partial) if bytes.len() < HTTP_HEAD_BYTES_MAX => return None,
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Some(Head::last(Unusual::LongHead));
        }
        Err(_) => return Some(Head::last(Unusual::Malformed)),
    };
    let status = response.code.unwrap_or_default();
    let Ok(fields) = Fields::of(&response) else {
        return Some(Head::last(Unusual::Malformed));
    };
    if status < 200 {
        // Another head follows: nothing that was asked for.
        return Some(Head::last(Unusual::Status(status)));
    }
    let answer = answer(status, &fields, asked);
    let longest = match answer {
        Answer::Range => asked.bytes,
        _ => HTTP_DISCARD_BYTES_MAX,
    };
    let body = match status {
        204 | 304 => Some(0),
        _ => fields.length.filter(|&body| !fields.encoded && body <= longest),
    };
    let body = body.and_then(|body| usize::try_from(body).ok());
    Some(Head { answer, bytes: head_bytes, body, keep: fields.keep && body.is_some() })
}

fn answer(status: u16, fields: &Fields, asked: Asked) -> Answer {
    let unusual = match status {
        206 if fields.encoded => Unusual::Encoded,
        206 => match fields.range {
            Some(range) if range.is(asked) && fields.length == Some(asked.bytes) => {
                return Answer::Range;
            }
            Some(range) if range.is(asked) => Unusual::WrongLength,
            Some(range) if range.is_cut(asked) => Unusual::PastEnd,
            _ => Unusual::WrongRange,
        },
        408 | 429 | 500 | 502 | 503 | 504 => return Answer::Refused { status, wait: fields.wait },
        200 => Unusual::Whole,
        300..=399 => Unusual::Redirect(status),
        401 | 403 => Unusual::Forbidden,
        404 | 410 => Unusual::Missing,
        416 => Unusual::PastEnd,
        _ => Unusual::Status(status),
    };
    Answer::Unusual(unusual)
}

// Of `Content-Range`.
#[derive(Clone, Copy)]
struct ContentRange {
    first: u64,
    last: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn is(self, asked: Asked) -> bool {
        let inside = self.total.is_none_or(|total| self.last < total);
        inside && self.first == asked.offset && self.last - self.first == asked.bytes - 1
    }

    // True if the object ends inside the range and the answer is what there is of it.
    fn is_cut(self, asked: Asked) -> bool {
        let ends = self.total.is_some_and(|total| self.last.checked_add(1) == Some(total));
        ends && self.first == asked.offset && self.last - self.first < asked.bytes - 1
    }
}

// What the headers say, as far as it matters.
struct Fields {
    length: Option<u64>,
    range: Option<ContentRange>,
    encoded: bool,
    keep: bool,
    wait: Nanos,
}

struct Contradiction;

impl Fields {
    fn of(response: &httparse::Response<'_, '_>) -> Result<Self, Contradiction> {
        let keep = response.version == Some(1);
        let mut fields = Self { length: None, range: None, encoded: false, keep, wait: 0 };
        let is = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        for header in &*response.headers {
            let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
            let name = header.name;
            if is(name, "content-length") {
                let length = number(value).ok_or(Contradiction)?;
                if fields.length.replace(length).is_some_and(|other| other != length) {
                    return Err(Contradiction);
                }
            } else if is(name, "content-range") {
                if fields.range.is_some() {
                    return Err(Contradiction);
                }
                fields.range = content_range(value);
            } else if is(name, "transfer-encoding") || is(name, "content-encoding") {
                fields.encoded |= !is(value, "identity");
            } else if is(name, "connection") {
                let mut words = value.split(',').map(str::trim);
                fields.keep &= !words.clone().any(|word| is(word, "close"));
                fields.keep |= response.version == Some(0) && words.any(|w| is(w, "keep-alive"));
            } else if is(name, "retry-after") {
                // A date, the other form, says nothing here: the usual wait does.
                let seconds = number(value).unwrap_or_default();
                fields.wait = seconds.saturating_mul(1_000_000_000).min(HTTP_RETRY_AFTER_NS_MAX);
            }
        }
        Ok(fields)
    }
}

fn number(digits: &str) -> Option<u64> {
    // A sign is none of the digits, though `parse` takes one.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

// `bytes 0-4095/8192`, the last number perhaps `*`.
fn content_range(value: &str) -> Option<ContentRange> {
    let (unit, rest) = value.split_once(' ')?;
    let (range, total) = rest.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = if total == "*" { None } else { Some(number(total)?) };
    let sound = unit.eq_ignore_ascii_case("bytes") && first <= last;
    sound.then_some(ContentRange { first, last, total })
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
