//! Keeps the statistics of an engine on a page, for tools of other processes: a thread of its own,
//! behind the shards in priority, replaces it every now and then.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::io::page::Page;
use crate::io::sys;
use crate::limits::{EXECUTOR_NICE, STATISTICS_PAGE_MS};
use crate::shard::source::StatisticsSource;
use crate::shard::statistics::SCHEMA;
use crate::types::Result;

/// See the module. Dropping it removes the page.
pub(super) struct StatisticsPage {
    // Dropped, it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StatisticsPage {
    /// Writes the page for the first time and starts the thread.
    ///
    /// # Errors
    /// A page that cannot be written; the system's refusal of a thread.
    pub fn start(path: &Path, source: StatisticsSource) -> Result<Self> {
        let mut page = Page::new(path, writer_of)?;
        page.write(&text(&source))?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("aquifer-page".to_owned())
            .spawn(move || {
                sys::background_thread(EXECUTOR_NICE);
                keep(&mut page, &source, &stopped);
            })
            .map_err(|e| sys::no_thread("starting the thread of the statistics page", &e))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

fn keep(page: &mut Page, source: &StatisticsSource, stopped: &Receiver<()>) {
    let period = Duration::from_millis(STATISTICS_PAGE_MS);
    while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
        // A disk that is full for the moment leaves the page as it was: its readers see its age. So
        // does somebody who put something else in its place.
        let _missed = page.write(&text(source));
    }
}

// The process that wrote a page, from its first bytes.
fn writer_of(head: &[u8]) -> Option<u32> {
    let begins = format!(r#"{{"schema":"{SCHEMA}","process_id":"#);
    let digits = head.strip_prefix(begins.as_bytes())?;
    let digits = digits.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn text(source: &StatisticsSource) -> Vec<u8> {
    serde_json::to_vec(&source.statistics()).expect("names and numbers have a form in JSON")
}

impl Drop for StatisticsPage {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic has printed itself, and dropped the page.
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::writer_of;
    use crate::shard::statistics::{SCHEMA, Statistics};

    #[test]
    fn a_page_names_its_process_in_its_first_bytes() {
        let (schema, process_id) = (SCHEMA.to_owned(), 4711);
        let page = Statistics { schema, process_id, ..Statistics::default() };
        assert_eq!(writer_of(&serde_json::to_vec(&page).unwrap()), Some(4711));
        for other in [&b""[..], b"{\"schema\":\"aquifer-doctor/1\",\"process_id\":1", b"mine\n"] {
            assert_eq!(writer_of(other), None);
        }
    }
}
