//! The flame graph of a measured phase.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

/// Off the beat of timers that fire at round rates.
const SAMPLES_PER_S: i32 = 199;

/// Samples the stacks of this process until it is written.
pub(super) struct Profile {
    guard: pprof::ProfilerGuard<'static>,
    path: PathBuf,
}

impl Profile {
    /// Starts sampling. With several workloads each has its own file: `FILE-get.svg`.
    pub(super) fn start(file: &Path, workload: &str, several: bool) -> Result<Self> {
        let path = if several {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            file.with_file_name(format!("{stem}-{workload}.svg"))
        } else {
            file.to_owned()
        };
        // Stacks are walked by frame pointers, which is safe in any code a signal may interrupt:
        // nothing is excluded.
        let guard = pprof::ProfilerGuardBuilder::default()
            .frequency(SAMPLES_PER_S)
            .build()
            .map_err(|error| anyhow!("--flamegraph: the profiler does not start: {error}"))?;
        Ok(Self { guard, path })
    }

    pub(super) fn write(self) -> Result<()> {
        let wrong = |error| anyhow!("--flamegraph: {error}");
        let report = self.guard.report().build().map_err(wrong)?;
        let samples: isize = report.data.values().sum();
        let bare = report.data.iter().filter(|(stack, _)| stack.frames.is_empty());
        if bare.map(|(_, count)| *count).sum::<isize>() * 2 > samples {
            eprintln!(
                "--flamegraph {} lacks most stacks: \
                 build with RUSTFLAGS=-Cforce-frame-pointers=yes",
                self.path.display()
            );
        }
        let file = File::create(&self.path)
            .with_context(|| format!("--flamegraph {} cannot be created", self.path.display()))?;
        report.flamegraph(file).map_err(wrong)
    }
}
