//! What the engine logs in this process, and what tests add to it.

use std::sync::{Mutex, OnceLock};

use log::{LevelFilter, Log, Metadata, Record};

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct ToMemory;

impl Log for ToMemory {
    // Other libraries say of their own what they like.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("aquifer")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            add(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Keeps what is said of this level from now on; the first one of a process holds.
///
/// # Panics
/// If the process has another log.
pub fn listen(level: LevelFilter) {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        log::set_logger(&ToMemory).expect("no other log");
        log::set_max_level(level);
    });
}

/// Adds a line of a test's own.
///
/// # Panics
/// If a thread panicked in here.
pub fn add(line: String) {
    SAID.lock().expect("nobody panics in it").push(line);
}

/// All lines so far.
///
/// # Panics
/// As of `add`.
#[must_use]
pub fn lines() -> Vec<String> {
    SAID.lock().expect("nobody panics in it").clone()
}
