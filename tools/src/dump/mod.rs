//! Dumps: all that stores hold in one file, apart from the engine's tables, for other programs and
//! other versions (FORMAT.md, "Dump"). `aquifer export` writes one from checkpoints, `aquifer
//! import` makes a checkpoint of one.
//!
//! Reading order: `format` (the rules), `writer` and `reader`, `source` (what checkpoints hold),
//! `export`, `import`.

pub mod export;
mod format;
pub mod import;
mod loader;
mod progress;
mod reader;
mod readers;
mod source;
#[cfg(test)]
mod testing;
mod writer;

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

pub use format::{Head, Place};
pub use reader::Reader;
pub use source::Source;
pub use writer::Writer;

/// Shows how many bytes of a dump were done, of so many as are known.
fn bar(what: &'static str, bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let shown = match bytes {
        Some(_) => "{msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} eta {eta}",
        None => "{msg} {bytes} {binary_bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(shown).expect("the templates are constants");
    let bar = bytes.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.with_style(style).with_message(what)
}
