//! The flame graph of a measured phase.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, raise};
use pprof::{Frames, Symbol};

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
        // Stacks are walked by the unwind tables, which every build has: nothing is excluded.
        let guard = pprof::ProfilerGuardBuilder::default()
            .frequency(SAMPLES_PER_S)
            .build()
            .map_err(|error| anyhow!("--flamegraph: the profiler does not start: {error}"))?;
        // The first sample loads the tables. Here it may: this thread does not allocate, which a
        // thread that the timer interrupts may be in the middle of.
        raise(Signal::SIGPROF).context("--flamegraph: no first sample")?;
        Ok(Self { guard, path })
    }

    pub(super) fn write(self) -> Result<()> {
        let wrong = |error| anyhow!("--flamegraph: {error}");
        let report = self.guard.report().frames_post_processor(name_modules).build();
        let report = report.map_err(wrong)?;
        let file = File::create(&self.path)
            .with_context(|| format!("--flamegraph {} cannot be created", self.path.display()))?;
        report.flamegraph(file).map_err(wrong)
    }
}

/// Line tables name functions without their modules. The files they name say which those are.
fn name_modules(stack: &mut Frames) {
    for symbol in stack.frames.iter_mut().flatten() {
        if let Some(name) = with_module(symbol) {
            symbol.name = Some(name.into_bytes());
        }
    }
}

/// `aquifer::shard::session::poll` for the function `poll` of `engine/src/shard/session.rs`;
/// nothing for a name that has its modules, or whose file is unknown.
fn with_module(symbol: &Symbol) -> Option<String> {
    let name = symbol.name();
    let path = symbol.filename();
    // `push<alloc::vec::Vec>` has a path in its arguments alone.
    let plain = name.split(['<', '{']).next().unwrap_or_default();
    if name.starts_with('<') || plain.contains("::") {
        return None;
    }
    let (package, file) = path.rsplit_once("/src/")?;
    let package = match package.rsplit('/').next()? {
        "engine" => "aquifer",
        "tools" => "aquifer_tools",
        other => other,
    };
    let modules = file.strip_suffix(".rs")?.replace('/', "::");
    let modules = modules.strip_suffix("::mod").unwrap_or(&modules);
    Some(match modules {
        "lib" | "main" => format!("{package}::{name}"),
        modules => format!("{package}::{modules}::{name}"),
    })
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
