//! Where a run took place.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use indicatif::BinaryBytes;
use serde::{Deserialize, Serialize};

use super::probe::{device_numbers, field};
use super::target::About;

const SECONDS_PER_DAY: u64 = 86_400;

/// The machine, the build and the moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: u64,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Type of the file system under the data.
    pub filesystem: String,
    /// The way to the disk.
    pub io: String,
    /// Why this way.
    pub io_reason: String,
    /// Version of the tools.
    pub version: String,
    /// Commit of the build; unknown where it was built without git.
    pub commit: String,
    /// UTC, as RFC 3339 writes it.
    pub started_at: String,
}

const UNKNOWN: &str = "unknown";

impl Environment {
    /// Looks around; what cannot be found out is `unknown`, since no measurement hangs on it.
    pub fn of(dir: &Path, about: &About) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            kernel,
            cpu: model.unwrap_or_else(|| UNKNOWN.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            memory_bytes: memory_bytes().unwrap_or(0),
            filesystem: filesystem(dir).unwrap_or_else(|| UNKNOWN.to_owned()),
            io: about.io.clone(),
            io_reason: about.io_reason.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("AQUIFER_COMMIT").to_owned(),
            started_at: rfc3339(since_epoch.as_secs()),
        }
    }
}

/// Memory of the machine, as far as it can be found out.
fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    field(&text, "MemTotal:").map(|kib| kib * 1024)
}

/// Refuses a budget that no engine on this machine can use up.
///
/// # Errors
/// It is more than the memory of the machine.
pub fn check_memory(budget_bytes: u64) -> Result<()> {
    match memory_bytes() {
        Some(machine) if budget_bytes > machine => bail!(
            "{} is more than this machine has, which is {}: use less",
            BinaryBytes(budget_bytes),
            BinaryBytes(machine)
        ),
        _ => Ok(()),
    }
}

/// Type of the file system a directory lies on, by its device number.
#[must_use]
pub fn filesystem(dir: &Path) -> Option<String> {
    let (major, minor) = device_numbers(fs::metadata(dir).ok()?.st_dev());
    let device = format!("{major}:{minor}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&device))?;
    let (_, after_dash) = line.split_once(" - ")?;
    after_dash.split(' ').next().map(str::to_owned)
}

/// The civil date of a moment; eras of 400 years begin in March, so that leap days come last.
fn rfc3339(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / SECONDS_PER_DAY, unix_seconds % SECONDS_PER_DAY);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leaps = day_of_era / 1460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
