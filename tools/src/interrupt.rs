//! Ctrl-C and its like: temporary files and folders go before the process does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use nix::sys::signal::{SigHandler, SigSet, Signal, raise, signal};

static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// From here on a signal that ends the process removes its temporary files first. To be called
/// before other threads start: they must not take the signal.
///
/// # Errors
/// The system's refusal.
pub fn watch() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    // `nohup` has it ignored, so that the process outlives its terminal.
    if !is_ignored(Signal::SIGHUP) {
        signals.add(Signal::SIGHUP);
    }
    signals.thread_block().context("blocking signals")?;
    std::thread::spawn(move || {
        let Ok(number) = signals.wait() else { return };
        TEMPORARY.lock().into_iter().for_each(|paths| paths.iter().for_each(|path| remove(path)));
        // Its parent may have had the signal ignored, as shells do for background jobs.
        // SAFETY: the default takes the place of no handler that another thread relies on.
        let ended = unsafe { signal(number, SigHandler::SigDfl) };
        // Whoever waits for this process sees the signal, not an exit.
        let _ended = ended.and_then(|_| signals.thread_unblock()).and_then(|()| raise(number));
        std::process::exit(128 + number as i32);
    });
    Ok(())
}

/// Whether the parent of this process had it ignore a signal.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (mask >> (signal as u32 - 1)) & 1 == 1
}

/// The file or folder goes when the process is interrupted.
pub fn remove_at_end(path: &Path) {
    TEMPORARY.lock().into_iter().for_each(|mut paths| paths.push(path.to_owned()));
}

// Under another name nobody puts more into it meanwhile.
fn remove(path: &Path) {
    let gone = path.with_extension("gone");
    let removed = fs::rename(path, &gone).and_then(|()| match gone.is_dir() {
        true => fs::remove_dir_all(&gone),
        false => fs::remove_file(&gone),
    });
    if let Err(error) = removed
        && path.exists()
    {
        eprintln!("{} is left behind: {error}", path.display());
    }
}
