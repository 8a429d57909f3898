//! The way to the disk, and what the engine says about it.

use std::io::Write;

use aquifer::shard::engine::IoMode;
use clap::ValueEnum;
use log::{LevelFilter, Log, Metadata, Record};
use serde::{Deserialize, Serialize};

/// The way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Io {
    /// io_uring where it is allowed, else threads.
    // AQUIFER_IO='' is as if it were not set.
    #[value(alias = "")]
    Auto,
    /// io_uring, or fail.
    Uring,
    /// Threads and plain reads.
    Portable,
}

impl From<Io> for IoMode {
    fn from(io: Io) -> Self {
        match io {
            Io::Auto => Self::Auto,
            Io::Uring => Self::Uring,
            Io::Portable => Self::Portable,
        }
    }
}

/// Writes what the engine logs to standard error.
struct ToStderr;

/// From here on, what the engine logs goes to standard error.
pub fn show_log() {
    // The only failure is a log that is shown already.
    if log::set_logger(&ToStderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

impl Log for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("aquifer")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            // Nobody is left to tell that standard error is closed.
            let _closed = writeln!(std::io::stderr(), "{level}: {}", record.args());
        }
    }

    fn flush(&self) {}
}
