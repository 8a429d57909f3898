//! The calls of a root that are inside what a host lends: so many at once, each on a thread that
//! may block, and none once the root is closed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::io::handoff::locked;
use crate::io::host::lent::Loan;
use crate::limits::REMOTE_TIMEOUT_MS;
use crate::types::error::ErrorKind;
use crate::types::{Error, Result};

/// See the module.
pub(crate) struct Calls<T: ?Sized> {
    shared: Arc<Shared<T>>,
}

struct Shared<T: ?Sized> {
    places: Arc<Semaphore>,
    state: Mutex<State<T>>,
    returned: Condvar,
}

struct State<T: ?Sized> {
    // None once it is closed and no call is inside.
    lent: Option<Loan<T>>,
    inside: usize,
    closed: bool,
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the engine was closed, and calls its host no more")
}

impl<T: ?Sized + Send + Sync + 'static> Calls<T> {
    /// Of at most so many at once.
    pub(crate) fn new(lent: Loan<T>, most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most));
        let state = State { lent: Some(lent), inside: 0, closed: false };
        let (state, returned) = (Mutex::new(state), Condvar::new());
        Self { shared: Arc::new(Shared { places, state, returned }) }
    }

    /// Makes a call, on the thread of stores. If nobody waits for its outcome any more, `unheard`
    /// gets it behind the call.
    pub(crate) async fn call<U: Send + 'static>(
        &self,
        call: impl FnOnce(&T) -> U + Send + 'static,
        unheard: impl FnOnce(&T, U) + Send + 'static,
    ) -> Result<U> {
        let patience = Duration::from_millis(REMOTE_TIMEOUT_MS);
        let made = tokio::time::timeout(patience, self.make(call, unheard)).await;
        made.unwrap_or_else(|_| {
            let text = format!(
                "the host did not answer within {REMOTE_TIMEOUT_MS} ms; see what it waits for"
            );
            Err(Error::new(ErrorKind::Io, text))
        })
    }

    async fn make<U: Send + 'static>(
        &self,
        call: impl FnOnce(&T) -> U + Send + 'static,
        unheard: impl FnOnce(&T, U) + Send + 'static,
    ) -> Result<U> {
        let place = self.shared.places.clone().acquire_owned().await.map_err(|_| closed())?;
        let (answer, outcome) = oneshot::channel();
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || {
            shared.inside(|lent| {
                if answer.is_closed() {
                    return;
                }
                if let Err(outcome) = answer.send(call(lent)) {
                    unheard(lent, outcome);
                }
            });
            drop(place);
        });
        // It goes without an answer if the root was closed, or if the call panicked.
        outcome.await.map_err(|_| if self.shared.is_closed() { closed() } else { broken() })
    }

    /// No call begins any more. Waits for those that are inside, for `patience` at most.
    ///
    /// # Errors
    /// `Io` if some did not.
    pub(crate) fn close(&self, patience: Duration) -> Result<()> {
        match self.shared.close(patience) {
            0 => Ok(()),
            inside => Err(Error::new(
                ErrorKind::Io,
                format!(
                    "{inside} calls of the host have not returned; their threads are left to \
                     themselves, and what it lends must stay until they return"
                ),
            )),
        }
    }
}

fn broken() -> Error {
    let text = "a call of the host panicked; this is a bug of the host";
    Error::new(ErrorKind::Invalid, text)
}

impl<T: ?Sized> Shared<T> {
    fn is_closed(&self) -> bool {
        locked(&self.state).closed
    }

    fn inside(&self, call: impl FnOnce(&T)) {
        let mut state = locked(&self.state);
        let open = state.lent.clone().filter(|_| !state.closed);
        let Some(lent) = open else { return };
        state.inside += 1;
        drop(state);
        let _panic = catch_unwind(AssertUnwindSafe(|| call(&lent)));
        // Before the state says so: who takes it back counts.
        drop(lent);
        let mut state = locked(&self.state);
        state.inside -= 1;
        state.drop_unused();
        drop(state);
        self.returned.notify_all();
    }

    fn close(&self, patience: Duration) -> usize {
        self.places.close();
        let mut state = locked(&self.state);
        state.closed = true;
        let waited = self.returned.wait_timeout_while(state, patience, |state| state.inside > 0);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.drop_unused();
        state.inside
    }
}

impl<T: ?Sized> State<T> {
    // Lets go of what nobody will call any more. Never the last reference: the list has one until
    // no root has.
    fn drop_unused(&mut self) {
        if self.closed && self.inside == 0 {
            self.lent = None;
        }
    }
}

impl<T: ?Sized> Drop for Calls<T> {
    fn drop(&mut self) {
        self.shared.close(Duration::ZERO);
    }
}
