//! The doctor through the real binary.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn doctor(limits: &str, args: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits} exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_aquifer")).arg("doctor").args(args);
    command.env_remove("AQUIFER_IO");
    command.output().unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn finding<'a>(report: &'a Value, what: &str) -> &'a Value {
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["what"] == what).unwrap_or_else(|| panic!("{what}: {report}"))
}

#[test]
fn a_folder_is_examined_and_left_as_it_was() {
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let output = doctor("", &["--json", "--dfs", folder.path().to_str().unwrap()]);
    let report = report(&output);
    assert_eq!(report["schema"], "aquifer-doctor/1");
    for what in ["kernel", "io_uring, owned shards", "io_uring, inline shards", "CPUs", "memory"] {
        assert!(!finding(&report, what)["found"].as_str().unwrap().is_empty(), "{report}");
    }
    assert_eq!(finding(&report, "threads that read")["verdict"], "well");
    assert!(finding(&report, "DFS")["found"].as_str().unwrap().contains("put in "), "{report}");
    assert_ne!(finding(&report, "file system")["found"], "unknown");
    finding(&report, "direct reads (O_DIRECT)");
    let code = match report["verdict"].as_str().unwrap() {
        "well" => 0,
        "badly" => 1,
        _ => 2,
    };
    assert_eq!(output.status.code(), Some(code));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something is left");
}

#[test]
fn what_runs_badly_is_named_with_the_remedy() {
    let output = doctor("ulimit -l 0; ulimit -n 200;", &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for named in ["locked memory is 0 bytes", "ulimit -l 8192", "ulimit -n 20000", "badly"] {
        assert!(text.contains(named), "{named}: {text}");
    }
}

#[test]
fn what_does_not_run_is_named() {
    let output = doctor("", &["--json", "--dfs", "/proc/nowhere"]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(2), "{report}");
    assert_eq!(finding(&report, "DFS")["verdict"], "not");
    assert_eq!(doctor("", &["--nonsense"]).status.code(), Some(2));
    let help = String::from_utf8(doctor("", &["--help"]).stdout).unwrap();
    assert!(help.contains("Exit codes:"), "{help}");
}

#[test]
fn the_way_that_engines_are_to_take_is_looked_at() {
    let no_rings = "ulimit -l 0;";
    let set = |io: &str| format!("{no_rings} AQUIFER_IO={io}; export AQUIFER_IO;");
    let found = |limits: &str, args: &[&str]| {
        let report = report(&doctor(limits, &[args, &["--json"]].concat()));
        let findings = report["findings"].as_array().unwrap().clone();
        let of = move |what: &str| findings.iter().find(|f| f["what"] == what).cloned();
        let verdict = |what: &str| of(what).map(|finding| finding["verdict"].clone());
        ["io_uring, owned shards", "threads that read", "locked memory"].map(verdict)
    };
    let (well, badly, not) = (Some("well".into()), Some("badly".into()), Some("not".into()));
    let by_threads = [None, well.clone(), None];
    assert_eq!(found(no_rings, &["--io", "portable"]), by_threads);
    assert_eq!(found(&set("portable"), &[]), by_threads);
    assert_eq!(found(&set("uring"), &[]), [not, None, badly.clone()]);
    let auto = [badly.clone(), well, badly];
    assert_eq!(found(&set("auto"), &[]), auto);
    assert_eq!(found(&set("''"), &[]), auto, "empty is as unset");
}

/// A mistyped path, or a mount point without its mount, is not made and not praised.
#[test]
fn a_folder_that_is_not_there_is_refused_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let nowhere = folder.path().join("mistyped/state");
    for (path, why) in [(&nowhere, "is not there"), (&file, "is not a folder")] {
        for url in [path.display().to_string(), format!("file://{}?latency=1us", path.display())] {
            let output = doctor("", &["--json", "--dfs", &url]);
            let report = report(&output);
            assert_eq!(output.status.code(), Some(2), "{report}");
            let dfs = finding(&report, "DFS");
            assert_eq!(dfs["verdict"], "not");
            assert!(dfs["found"].as_str().unwrap().contains(why), "{dfs}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was made");
}

#[test]
fn a_dfs_that_fails_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut failed = 0;
    // Some fail before the object is there, some after.
    for seed in 1..=8 {
        let url = format!("{}?fail=0.5&seed={seed}", folder.path().display());
        let report = report(&doctor("", &["--json", "--dfs", &url]));
        failed += u32::from(finding(&report, "DFS")["verdict"] == "not");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{report} left something");
    }
    assert!(failed > 0, "nothing failed");
}
