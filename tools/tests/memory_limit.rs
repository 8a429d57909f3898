//! A process in a memory cgroup of twice its budget is not killed for its memory. Needs the right
//! to make cgroups (root on most machines); says so where it has not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What the kernel allows the process, page cache included, bytes.
const LIMIT_BYTES: u64 = 256 << 20;

/// A memory cgroup, of either version, for as long as it lives.
struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    fn make() -> Result<Self, String> {
        let (one, two) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let is_two = two.join("cgroup.controllers").exists();
        let (root, limit) = match is_two {
            true => (two, "memory.max"),
            false => (one, "memory.limit_in_bytes"),
        };
        let folder = root.join(format!("aquifer-test-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let cgroup = Self { folder };
        let limit = cgroup.folder.join(limit);
        fs::write(&limit, LIMIT_BYTES.to_string())
            .map_err(|e| format!("{}: {e}", limit.display()))?;
        Ok(cgroup)
    }

    /// A command whose process is in the group from its first instruction on.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]);
        command.arg(self.folder.join("cgroup.procs")).arg(program);
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The process has ended; what it leaves in the page cache moves to the group above.
        let _busy = fs::remove_dir(&self.folder);
    }
}

#[test]
fn a_process_under_a_memory_limit_is_not_killed() {
    let cgroup = match Cgroup::make() {
        Ok(cgroup) => cgroup,
        Err(why) => {
            return aquifer_tests::not_run(format!("a memory limit: no cgroup can be made: {why}"));
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let args = "bench load,get,rmw,checkpoint --records 400k --value-size 1000 --memory 128M \
                --seconds 2 --warmup 0.5 --verify --quiet --json report.json --dir data";
    let output = cgroup
        .command(env!("CARGO_BIN_EXE_aquifer"))
        .args(args.split_whitespace())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let report: Value =
        serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<_> = phases.iter().filter_map(|phase| phase["name"].as_str()).collect();
    for name in ["load", "get", "rmw", "checkpoint"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    for phase in phases {
        assert_eq!((&phase["wrong"], &phase["missing"]), (&0.into(), &0.into()), "{phase}");
        let most = phase["rss_bytes_max"].as_u64().unwrap();
        println!("{}: {} MiB at most", phase["name"], most >> 20);
        assert!(most < LIMIT_BYTES, "{phase}");
    }
}
