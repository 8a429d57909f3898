//! The probe through the real binary.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn probe(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aquifer")).arg("probe").args(args).output().unwrap()
}

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[test]
fn a_folder_does_all_that_is_demanded_and_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = probe(&["--json", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let table: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(table["schema"], "aquifer-probe/1");
    assert_eq!((&table["fit"], &table["decides_races"]), (&true.into(), &true.into()));
    let all = table["capabilities"].as_array().unwrap();
    let lacks: Vec<_> =
        all.iter().filter(|c| c["outcome"] != "holds").map(|c| &c["what"]).collect();
    assert_eq!(
        (all.len(), lacks),
        (10, vec![&"headers that tell content apart".into()]),
        "{table}"
    );
    assert_eq!(files(folder.path()), 0, "something is left");
}

#[test]
fn what_fails_is_named() {
    let output = probe(&["memory://probe?fail=1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("it takes no object"), "{output:?}");
}
