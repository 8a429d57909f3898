//! The thread that talks to stores, one for the process: it sleeps in its sockets, and what it
//! computes for a request takes microseconds.

use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

use crate::io::sys;
use crate::limits::HOST_THREAD_IDLE_S;
use crate::types::error::ErrorKind;
use crate::types::{Error, Result};

static RUNTIME: OnceLock<Result<Handle>> = OnceLock::new();

/// Starts it, if it does not run.
pub(super) fn start() -> Result<()> {
    RUNTIME.get_or_init(begin).as_ref().map(|_| ()).map_err(Clone::clone)
}

fn begin() -> Result<Handle> {
    let built = Builder::new_current_thread()
        .enable_all()
        // Of threads that look names up, and that call hosts.
        .thread_name("aquifer-call")
        .thread_keep_alive(Duration::from_secs(HOST_THREAD_IDLE_S))
        .on_thread_start(sys::block_signals)
        .build();
    let runtime = built.map_err(|e| sys::no_descriptor("starting the thread for stores", &e))?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("aquifer-dfs".to_owned())
        // It lives as long as the process, like the executors of background jobs.
        .spawn(move || {
            sys::block_signals();
            runtime.block_on(std::future::pending::<()>());
        })
        .map_err(|e| Error::io("starting the thread for stores", &e))?;
    Ok(handle)
}

fn handle() -> &'static Handle {
    let started = RUNTIME.get().and_then(|runtime| runtime.as_ref().ok());
    started.expect("a store was opened, which started the thread")
}

fn broken() -> Error {
    Error::new(ErrorKind::Poisoned, "an operation of a store panicked; this is a bug, report it")
}

/// Runs `operation` on the thread; any executor may wait for it.
pub(super) async fn run<T: Send + 'static>(
    operation: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    handle().spawn(operation).await.unwrap_or_else(|_| Err(broken()))
}

/// Runs `operation` on the thread and blocks until it ended.
pub(crate) fn wait<T: Send + 'static>(
    operation: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (sender, outcome) = mpsc::sync_channel(1);
    handle().spawn(async move { sender.send(operation.await) });
    outcome.recv().unwrap_or_else(|_| Err(broken()))
}

/// Starts `operation` on the thread.
pub(super) fn spawn(operation: impl Future<Output = ()> + Send + 'static) {
    handle().spawn(operation);
}
