//! An operation as a future. It submits its request when it is first polled, and reads its answer
//! where the completion brought it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, Waker};

use crate::aec::context::Scope;
use crate::aec::core::{Mode, Taken, error_of};
use crate::mem::slab::Token;
use crate::state::Target;
use crate::state::request::{Batch, Status};
use crate::types::Result;

// What both kinds of operation do: submit, take the answer, let go.
struct Call<'a, S> {
    scope: Scope<'a>,
    // Writes the request; gone once it did.
    encode: Option<S>,
    // From submission until the answer is taken.
    token: Option<Token>,
}

impl<'a, S> Call<'a, S>
where
    S: FnOnce(&mut Batch, &Target<'_>) -> Result<()>,
{
    #[inline]
    fn new(scope: Scope<'a>, encode: S) -> Self {
        Self { scope, encode: Some(encode), token: None }
    }

    // Submits the request unless the record has as many as it may; then it is polled again when
    // one of them has completed.
    #[inline]
    fn poll_submit(&mut self, mode: Mode, waker: &Waker) -> Poll<Result<Token>> {
        let Scope { context, namespace } = self.scope;
        let mut core = context.shared.core.borrow_mut();
        match core.submit(context.record, namespace, mode, waker, &mut self.encode) {
            Ok(Some(token)) => Poll::Ready(Ok(token)),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    #[inline]
    fn poll_answer<T>(
        &mut self,
        mode: Mode,
        waker: &Waker,
        read: impl FnOnce(Status, &[u8]) -> Result<T>,
    ) -> Poll<Result<T>> {
        let Some(token) = self.token else {
            return match self.poll_submit(mode, waker) {
                Poll::Ready(Ok(token)) => {
                    // Its completion comes with a later turn.
                    self.token = Some(token);
                    Poll::Pending
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
        };
        let shared = &self.scope.context.shared;
        let Some(taken) = shared.core.borrow_mut().take(token, waker) else {
            return Poll::Pending;
        };
        self.token = None;
        Poll::Ready(match taken {
            Taken::Here(status, value) => {
                let completions = shared.completions.borrow();
                match error_of(status, &completions) {
                    Some(error) => Err(error),
                    None => read(status, value.of(&completions.bytes)),
                }
            }
            Taken::Kept(kept) => kept.value.and_then(|value| read(kept.status, &value)),
        })
    }
}

impl<S> Drop for Call<'_, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(token) = self.token {
            let shared = &self.scope.context.shared;
            shared.core.borrow_mut().abandon(token, &shared.completions.borrow());
        }
    }
}

/// A read in flight. It gives what its reader made of the value.
#[must_use = "an operation does nothing unless it is awaited"]
pub struct Read<'a, S, F>
where
    S: FnOnce(&mut Batch, &Target<'_>) -> Result<()>,
{
    call: Call<'a, S>,
    read: Option<F>,
}

// Nothing in it is pinned: it is moved freely until it is awaited, and polled by field.
impl<S, F> Unpin for Read<'_, S, F> where S: FnOnce(&mut Batch, &Target<'_>) -> Result<()> {}

impl<'a, S, F> Read<'a, S, F>
where
    S: FnOnce(&mut Batch, &Target<'_>) -> Result<()>,
{
    #[inline]
    pub(super) fn new(scope: Scope<'a>, encode: S, read: F) -> Self {
        Self { call: Call::new(scope, encode), read: Some(read) }
    }
}

impl<S, F, T> Future for Read<'_, S, F>
where
    S: FnOnce(&mut Batch, &Target<'_>) -> Result<()>,
    F: FnOnce(Status, &[u8]) -> Result<T>,
{
    type Output = Result<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Result<T>> {
        let Self { call, read } = &mut *self;
        call.poll_answer(Mode::Read, task.waker(), |status, value| {
            read.take().expect("an answer is taken once")(status, value)
        })
    }
}

/// A write. Awaited, it gives whether it took effect; [`Write::submit`] waits only until it is on
/// its way. Either way a record ends no sooner than its writes, and the operations of a record
/// take effect in the order they were first polled.
#[must_use = "an operation does nothing unless it is awaited"]
pub struct Write<'a, S>
where
    S: FnOnce(&mut Batch, &Target<'_>) -> Result<()>,
{
    call: Call<'a, S>,
}

impl<S> Unpin for Write<'_, S> where S: FnOnce(&mut Batch, &Target<'_>) -> Result<()> {}

impl<'a, S> Write<'a, S>
where
    S: FnOnce(&mut Batch, &Target<'_>) -> Result<()>,
{
    #[inline]
    pub(super) fn new(scope: Scope<'a>, encode: S) -> Self {
        Self { call: Call::new(scope, encode) }
    }

    /// Waits only until the write is submitted, which is at once unless the record has
    /// `RECORD_OPERATIONS_MAX` operations in flight. A write that fails later fails its record.
    ///
    /// # Errors
    /// What the request cannot take, such as a value over its limit.
    #[inline]
    pub fn submit(self) -> Submit<'a, S> {
        Submit { write: self }
    }
}

impl<S> Future for Write<'_, S>
where
    S: FnOnce(&mut Batch, &Target<'_>) -> Result<()>,
{
    type Output = Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Result<()>> {
        self.call.poll_answer(Mode::Write, task.waker(), |_, _| Ok(()))
    }
}

/// A write that is waited for until it is submitted.
#[must_use = "an operation does nothing unless it is awaited"]
pub struct Submit<'a, S>
where
    S: FnOnce(&mut Batch, &Target<'_>) -> Result<()>,
{
    write: Write<'a, S>,
}

impl<S> Unpin for Submit<'_, S> where S: FnOnce(&mut Batch, &Target<'_>) -> Result<()> {}

impl<S> Future for Submit<'_, S>
where
    S: FnOnce(&mut Batch, &Target<'_>) -> Result<()>,
{
    type Output = Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Result<()>> {
        self.write.call.poll_submit(Mode::Unobserved, task.waker()).map_ok(drop)
    }
}
