//! The live line and the memory watch: one thread that wakes twenty times a second, so that both
//! go on while the load generator's thread is inside the engine.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::probe::resident_bytes;

const WAKE: Duration = Duration::from_millis(50);
const PIPE_LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Shared {
    rss_bytes_max: AtomicU64,
    stop: AtomicBool,
    line: Mutex<String>,
}

/// Watches memory and shows the newest line until it is dropped.
#[derive(Debug)]
pub(super) struct Live {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    pub(super) fn start(quiet: bool) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let watch = move || watch(&watched, quiet);
        let thread = std::thread::Builder::new().name("live-line".to_owned()).spawn(watch)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Replaces the line.
    pub(super) fn show(&self, line: String) {
        *self.shared.line.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = line;
    }

    /// Starts a new maximum.
    pub(super) fn reset_rss(&self) {
        self.shared.rss_bytes_max.store(resident_bytes(), Ordering::Relaxed);
    }

    pub(super) fn rss_bytes_max(&self) -> u64 {
        let now = resident_bytes();
        self.shared.rss_bytes_max.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the watch has printed itself; the run does not depend on it.
            drop(thread.join());
        }
    }
}

fn watch(shared: &Shared, quiet: bool) {
    let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
        let style = ProgressStyle::with_template("{spinner} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        ProgressBar::new_spinner().with_style(style)
    });
    let mut printed_at = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        let rss_bytes = resident_bytes();
        shared.rss_bytes_max.fetch_max(rss_bytes, Ordering::Relaxed);
        let due = bar.is_some() || (!quiet && printed_at.elapsed() >= PIPE_LINE_EVERY);
        if due {
            let line = shared.line.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
            let line = format!("{line}  rss {} MiB", rss_bytes >> 20);
            match &bar {
                Some(bar) => {
                    bar.set_message(line);
                    bar.tick();
                }
                None => eprintln!("{line}"),
            }
            printed_at = Instant::now();
        }
        std::thread::park_timeout(WAKE);
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}
