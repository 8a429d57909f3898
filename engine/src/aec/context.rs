//! What a record's code holds: its key, and where its operations go.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use smallvec::SmallVec;

use crate::aec::core::{RecordId, Shared};
use crate::types::KeyGroup;

/// Bytes a record keeps: up to 64 without an allocation.
pub type Bytes = SmallVec<[u8; 64]>;

/// The context of one record. It lives as long as the record; operations on a context that
/// outlived its record fail.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) shared: Rc<Shared>,
    pub(super) record: RecordId,
    pub(super) group: KeyGroup,
}

impl Context {
    /// The record's key; empty once the record has ended.
    #[must_use]
    pub fn key(&self) -> Bytes {
        let mut core = self.shared.core.borrow_mut();
        core.lane_of(self.record).map(|lane| Bytes::from_slice(&lane.key)).unwrap_or_default()
    }

    /// The key's group.
    #[must_use]
    pub fn group(&self) -> KeyGroup {
        self.group
    }

    /// The place of operations in a namespace, such as a window, of the record's key.
    #[must_use]
    pub fn namespace<'a>(&'a self, namespace: &'a [u8]) -> Scope<'a> {
        Scope { context: self, namespace }
    }
}

/// A record's key and a namespace: where an operation goes. A `&Context` is one with the empty
/// namespace.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub(super) context: &'a Context,
    pub(super) namespace: &'a [u8],
}

impl<'a> From<&'a Context> for Scope<'a> {
    #[inline]
    fn from(context: &'a Context) -> Self {
        Self { context, namespace: &[] }
    }
}

/// Runs two futures of a record at once, such as two reads, and waits for both.
pub async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    poll_fn(|task| {
        if from_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(task)
        {
            from_a = Some(output);
        }
        if from_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(task)
        {
            from_b = Some(output);
        }
        match (from_a.take(), from_b.take()) {
            (Some(output_a), Some(output_b)) => Poll::Ready((output_a, output_b)),
            unfinished => {
                (from_a, from_b) = unfinished;
                Poll::Pending
            }
        }
    })
    .await
}
