//! A reply of the server as the client is to get it.

use std::io;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

/// A reply, read whole.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// The range that it tells, and the length of the whole object.
    fn range(&self) -> Option<(RangeInclusive<usize>, usize)> {
        let range = self.headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
        let (range, length) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?..=last.parse().ok()?, length.parse().ok()?))
    }

    /// With zeros around its range, as a reply that knows of none.
    pub fn padded(mut self) -> Self {
        if let Some((range, length)) = self.range()
            && self.body.len() == range.end() + 1 - range.start()
        {
            let mut body = vec![0; length];
            body[range].copy_from_slice(&self.body);
            self.body = body.into();
            self.status = StatusCode::OK;
            self.headers.remove(header::CONTENT_RANGE);
            self.headers.insert(header::CONTENT_LENGTH, length.into());
        }
        self
    }

    /// With its bytes rotated to the left, and a range so far behind if it is to be told.
    pub fn rotated(mut self, shift: usize, honest: bool) -> Self {
        let mut body = self.body.to_vec();
        let by = shift % body.len().max(1);
        body.rotate_left(by);
        self.body = body.into();
        if honest && let Some((range, length)) = self.range() {
            let told = format!("bytes {}-{}/{length}", range.start() + shift, range.end() + shift);
            let told = HeaderValue::try_from(told).expect("numbers");
            self.headers.insert(header::CONTENT_RANGE, told);
        }
        self
    }

    /// To be sent whole.
    pub fn sent(self) -> Response<Sent> {
        self.response(|data| Sent { data, then: End::Whole })
    }

    /// To end after so many bytes, before the last in any case.
    pub fn truncated(mut self, bytes: usize) -> Response<Sent> {
        self.headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        let bytes = bytes.min(self.body.len().saturating_sub(1));
        self.response(|data| Sent { data: data.slice(..bytes), then: End::Flush })
    }

    fn response(self, body: impl FnOnce(Bytes) -> Sent) -> Response<Sent> {
        let mut response = Response::new(body(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The body as it is sent.
#[derive(Debug)]
pub(super) struct Sent {
    data: Bytes,
    then: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// The connection ends, once what was sent so far has left.
    Flush,
    Cut,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        match self.then {
            End::Whole => Poll::Ready(None),
            End::Flush => {
                self.then = End::Cut;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Cut => Poll::Ready(Some(Err(io::Error::other("the body is cut")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.then == End::Whole
    }

    fn size_hint(&self) -> SizeHint {
        match self.then {
            End::Whole => SizeHint::with_exact(self.data.len() as u64),
            End::Flush | End::Cut => SizeHint::default(),
        }
    }
}
