//! Tasks of a background executor, all on its one thread: on a glommio executor, or, where
//! io_uring is forbidden, on a runtime of tokio's. What runs in them is the same.

use std::io;
use std::panic::catch_unwind;
use std::time::Duration;

use glommio::io::PollableFd;
use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Handle, LocalOptions, LocalRuntime};

use crate::io::doorbell::Doorbell;
use crate::io::read_driver::IoKind;
use crate::io::{ring_open, sys};
use crate::limits::{
    EXECUTOR_BLOCKING_THREADS, EXECUTOR_IO_MEMORY_BYTES, EXECUTOR_NICE, EXECUTOR_PREEMPT_MS,
    EXECUTOR_READ_THREADS, EXECUTOR_RING_DEPTH,
};
use crate::types::{Nanos, Result};

/// What runs the tasks of one thread.
pub(crate) enum Runtime {
    Ring(LocalExecutor),
    Threads(LocalRuntime),
}

impl Runtime {
    /// For the calling thread.
    ///
    /// # Errors
    /// `Unsupported` where io_uring is forbidden, `Io` where the system has no descriptor or thread
    /// left.
    pub(crate) fn new(kind: IoKind) -> Result<Self> {
        let no_thread = |cause| sys::no_thread("starting a background executor", &cause);
        sys::try_threads(EXECUTOR_BLOCKING_THREADS).map_err(no_thread)?;
        match kind {
            // Glommio panics if threads ran out since.
            IoKind::Uring => catch_unwind(|| ring_open::patiently(executor))
                .unwrap_or_else(|_| Err(no_thread(io::Error::from_raw_os_error(libc::EAGAIN))))
                .map(Self::Ring),
            IoKind::Portable => Builder::new_current_thread()
                .enable_all()
                // Steps of a job take some 100 us each: events are looked at after every one.
                .event_interval(1)
                .max_blocking_threads(EXECUTOR_READ_THREADS)
                .on_thread_start(|| sys::background_thread(EXECUTOR_NICE))
                .build_local(LocalOptions::default())
                .map(Self::Threads)
                .map_err(|e| sys::no_descriptor("starting a background executor", &e)),
        }
    }

    /// Runs `main` to its end.
    pub(crate) fn run<T>(self, main: impl Future<Output = T>) -> T {
        match self {
            Self::Ring(executor) => executor.run(main),
            Self::Threads(runtime) => runtime.block_on(main),
        }
    }
}

fn executor() -> io::Result<LocalExecutor> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .preempt_timer(Duration::from_millis(EXECUTOR_PREEMPT_MS))
        .io_memory(EXECUTOR_IO_MEMORY_BYTES)
        .ring_depth(EXECUTOR_RING_DEPTH)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(EXECUTOR_BLOCKING_THREADS))
        .make()
        .map_err(of_glommio)
}

/// True on a glommio executor.
pub(crate) fn on_ring() -> bool {
    Handle::try_current().is_err()
}

/// Starts another task.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    if on_ring() {
        glommio::spawn_local(task).detach();
    } else {
        drop(tokio::task::spawn_local(task));
    }
}

/// Lets other tasks have their turn.
pub(crate) async fn yield_now() {
    if on_ring() { glommio::executor().yield_now().await } else { tokio::task::yield_now().await }
}

/// Ends so many nanoseconds later.
pub(crate) async fn sleep(ns: Nanos) {
    let span = Duration::from_nanos(ns);
    if on_ring() {
        let _woken_at = glommio::timer::Timer::new(span).await;
    } else {
        tokio::time::sleep(span).await;
    }
}

/// Makes a call that blocks, on another thread.
pub(crate) async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    if on_ring() {
        return glommio::executor().spawn_blocking(call).await;
    }
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => outcome,
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}

/// A doorbell on which tasks wait.
pub(crate) enum Listener {
    Ring(PollableFd<Doorbell>),
    Threads(AsyncFd<Doorbell>),
}

impl Listener {
    /// Inside a task.
    pub(crate) fn new(bell: &Doorbell) -> Self {
        if on_ring() {
            let bell = PollableFd::new(bell.clone());
            return Self::Ring(bell.expect("a task of an executor has a reactor"));
        }
        // SAFETY: this handle keeps the eventfd open and gives the same number as long as it lives.
        let bell = unsafe { AsyncFd::register(bell.clone()) };
        Self::Threads(bell.expect("an eventfd can be watched"))
    }

    /// Waits until the bell's number was readable.
    pub(crate) async fn readable(&self) {
        let heard = match self {
            Self::Ring(bell) => bell.readable().await.is_ok(),
            Self::Threads(bell) => bell.readable().await.map(|mut bell| bell.clear_ready()).is_ok(),
        };
        if !heard {
            // The kernel refuses the poll for the moment: look again soon.
            sleep(1_000_000).await;
        }
    }

    /// Lets the tasks that wait for the kernel have their turn too; the bell's number is readable
    /// at all times. Glommio looks at its rings only when no task can run, and a job that computes
    /// can always run: so it waits for this number, which takes one look at the rings.
    pub(crate) async fn look_around(&self) {
        match self {
            Self::Ring(_) => self.readable().await,
            Self::Threads(_) => yield_now().await,
        }
    }
}

/// Glommio wraps the system's errors.
pub(crate) fn of_glommio(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::IoError(e) | GlommioError::EnhancedIoError { source: e, .. } => e,
        other => io::Error::other(other.to_string()),
    }
}
