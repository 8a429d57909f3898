//! What the engine logs, given to the host's function.

use std::ffi::c_void;
use std::sync::{PoisonError, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::callback;
use crate::layout::LogFn;
use crate::status::{Failure, Outcome, Status};

struct Sink {
    function: LogFn,
    context: *mut c_void,
}

// SAFETY: the header demands a function that any thread may call with this context.
unsafe impl Send for Sink {}
// SAFETY: as above; several calls at once are allowed too.
unsafe impl Sync for Sink {}

// Held for reading during a call, so that a change waits until no call runs.
static SINK: RwLock<Option<Sink>> = RwLock::new(None);

struct Forward;

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let sink = SINK.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sink) = sink.as_ref().filter(|_| self.enabled(record.metadata())) else { return };
        let text = record.args().to_string();
        let level = number(record.level());
        // SAFETY: the host gave function and context for this call; the text lives through it.
        let call =
            || unsafe { (sink.function)(sink.context, level, text.as_ptr().cast(), text.len()) };
        callback::inside(call);
    }

    fn flush(&self) {}
}

fn number(level: Level) -> i32 {
    match level {
        Level::Error => 1,
        Level::Warn => 2,
        Level::Info => 3,
        Level::Debug => 4,
        Level::Trace => 5,
    }
}

/// Has the log go to `function`, or nowhere.
pub fn set(function: Option<LogFn>, context: *mut c_void, level: i32) -> Outcome {
    let filter = match (function, level) {
        (None, _) => LevelFilter::Off,
        (_, 1) => LevelFilter::Error,
        (_, 2) => LevelFilter::Warn,
        (_, 3) => LevelFilter::Info,
        (_, 4) => LevelFilter::Debug,
        (_, 5) => LevelFilter::Trace,
        (_, wrong) => {
            let text = format!("log level {wrong}: use 1 (errors) to 5 (all)");
            return Err(Failure::invalid(text));
        }
    };
    let mut sink = SINK.write().unwrap_or_else(PoisonError::into_inner);
    *sink = function.map(|function| Sink { function, context });
    drop(sink);
    // It fails from the second call on, when it is there.
    let _there = log::set_logger(&Forward);
    log::set_max_level(filter);
    Ok(Status::Ok)
}
