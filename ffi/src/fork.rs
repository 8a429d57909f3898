//! Notices that this process is a forked child, whose parent keeps the threads and rings.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static FORKED: AtomicBool = AtomicBool::new(false);

extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
}

/// From here on children of this process are noticed.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler stores to an atomic, which is allowed in a forked child, and its
        // code stays loaded (`-z nodelete`). It fails only where memory is short; then a child is
        // noticed by the engine itself, which compares process ids.
        let _short_of_memory = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// The cause and remedy of `AQF_FORKED`.
pub const REFUSED: &str = "this process is a forked child of one that had opened an engine, whose \
                           threads it does not have, so it cannot open one either; exec a program, \
                           or fork before the first engine is opened";

/// True in a forked child.
pub fn is_child() -> bool {
    FORKED.load(Ordering::Relaxed)
}
