//! Ctrl-C and its like: temporary folders go before the process does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal, raise};

static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// From here on a signal that ends the process removes its temporary folders first. To be called
/// before other threads start: they must not take the signal.
///
/// # Errors
/// The system's refusal.
pub fn watch() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("blocking signals")?;
    std::thread::spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        TEMPORARY.lock().into_iter().for_each(|folders| folders.iter().for_each(|f| remove(f)));
        // What it does to a process that does not wait for it, unless its parent had it ignored.
        let _ended = signals.thread_unblock().and_then(|()| raise(signal));
        std::process::exit(128 + signal as i32);
    });
    Ok(())
}

/// The folder goes when the process is interrupted.
pub fn remove_at_end(folder: &Path) {
    TEMPORARY.lock().into_iter().for_each(|mut folders| folders.push(folder.to_owned()));
}

// Under another name nobody puts more into it meanwhile.
fn remove(folder: &Path) {
    let gone = folder.with_extension("gone");
    let removed = fs::rename(folder, &gone).and_then(|()| fs::remove_dir_all(&gone));
    if let Err(error) = removed
        && folder.exists()
    {
        eprintln!("{} is left behind: {error}", folder.display());
    }
}
