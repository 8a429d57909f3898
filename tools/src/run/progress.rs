//! Progress on standard error: a bar on a terminal, else a line every few seconds.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::load::resident_bytes;

const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress of one phase.
pub struct Progress {
    what: &'static str,
    total: u64,
    began: Instant,
    first_records: Option<u64>,
    bar: Option<ProgressBar>,
    next_look: Instant,
    next_line: Instant,
    rss_peak: u64,
}

impl Progress {
    /// A phase that ends at `total` bytes of input (0: unknown).
    #[must_use]
    pub fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(what, total));
        let began = Instant::now();
        Self {
            what,
            total,
            began,
            first_records: None,
            bar,
            next_look: began,
            next_line: began + LINE_EVERY,
            rss_peak: 0,
        }
    }

    /// The phase has come this far.
    #[inline]
    pub fn at(&mut self, bytes: u64, records: u64) {
        let now = Instant::now();
        if now >= self.next_look {
            self.look(now, bytes, records);
        }
    }

    fn look(&mut self, now: Instant, bytes: u64, records: u64) {
        self.next_look = now + BAR_EVERY;
        self.rss_peak = self.rss_peak.max(resident_bytes());
        let first = *self.first_records.get_or_insert(records);
        let rate = (records - first) as f64 / (now - self.began).as_secs_f64().max(0.1);
        let text = format!("{} words, {}/s", HumanCount(records), HumanCount(rate as u64));
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(text);
        } else if now >= self.next_line {
            self.next_line = now + LINE_EVERY;
            let total = match self.total {
                0 => String::new(),
                total => format!(" of {}", HumanBytes(total)),
            };
            eprintln!("{}: {}{total}, {text}", self.what, HumanBytes(bytes));
        }
    }

    /// Largest resident set of the process that was seen on the way, bytes.
    #[must_use]
    pub fn rss_peak(&self) -> u64 {
        self.rss_peak
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, total: u64) -> ProgressBar {
    let known = "{prefix} [{bar:30}] {bytes}/{total_bytes} {msg} eta {eta}";
    let bar = if total == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(total) };
    let template = if total == 0 { "{prefix} {spinner} {bytes} {msg}" } else { known };
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    bar.with_style(style).with_prefix(what)
}
