//! The rules of the source tree hold, and clippy knows those that it checks.

use std::path::Path;
use std::process::Command;

use aquifer_tests::rules::{self, Finding, Source};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member of the workspace")
}

#[track_caller]
fn nothing_breaks(rule: fn(&Source) -> Vec<Finding>) {
    let findings: Vec<String> =
        rules::tree(root()).iter().flat_map(rule).map(|f| f.to_string()).collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn no_module_names_a_higher_floor() {
    nothing_breaks(rules::floors);
}

#[test]
fn files_and_lines_are_short() {
    nothing_breaks(rules::sizes);
}

#[test]
fn nothing_is_left_unfinished() {
    nothing_breaks(rules::marks);
}

#[test]
fn nothing_names_a_machine() {
    nothing_breaks(rules::machines);
}

#[test]
fn unsafe_is_counted_and_argued() {
    let sources = rules::tree(root());
    let mut all = 0;
    for source in &sources {
        let uses = rules::unsafe_uses(source).len();
        if uses > 0 {
            println!("{uses:3} {}", source.path);
        }
        all += uses;
    }
    println!("{all:3} times unsafe");
    assert_eq!(rules::unsafe_files_missing(&sources), [""; 0], "leave UNSAFE");
    nothing_breaks(rules::unsafety);
}

#[test]
fn every_limit_has_its_reason() {
    nothing_breaks(rules::limits);
}

#[test]
fn only_drivers_are_excepted_from_the_bans() {
    nothing_breaks(rules::exceptions);
}

/// What `engine/clippy.toml` must find, each with the words of its finding.
const BANNED: &str = r#"
    pub fn clock() { let _ = std::time::Instant::now(); }
    pub fn wall() { let _ = std::time::SystemTime::now(); }
    pub fn thread() { std::thread::spawn(|| ()); }
    pub fn named() { let _ = std::thread::Builder::new(); }
    pub fn sleep() { std::thread::sleep(std::time::Duration::ZERO); }
    pub fn read() { let _ = std::fs::read("a"); }
    pub fn folder() { let _ = std::fs::create_dir_all("a"); }
    pub fn file() { let _ = std::fs::File::open("a"); }
    pub fn setting() { let _ = std::env::var("A"); }
"#;

#[test]
fn clippy_finds_what_the_engine_bans() {
    let long = format!("pub fn long() {{\n{}}}\n", "    let _ = 1;\n".repeat(71));
    let said = clippy(&format!("{BANNED}{long}"));
    let methods = [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::thread::spawn",
        "std::thread::Builder::new",
        "std::thread::sleep",
        "std::fs::read",
        "std::fs::create_dir_all",
        "std::env::var",
    ];
    for method in methods {
        assert!(said.contains(&format!("disallowed method `{method}`")), "{method}: {said}");
    }
    assert!(said.contains("disallowed type `std::fs::File`"), "{said}");
    assert!(said.contains("too many lines (71/70)"), "{said}");
    let short = format!("pub fn short() {{\n{}}}\n", "    let _ = 1;\n".repeat(70));
    assert_eq!(clippy(&short), "");
}

// What clippy says of a file under the engine's configuration and the workspace's lint.
fn clippy(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lib.rs");
    std::fs::write(&file, text).unwrap();
    let output = Command::new("clippy-driver")
        .env("CLIPPY_CONF_DIR", root().join("engine"))
        .args(["--crate-type=lib", "--edition=2024", "--emit=metadata", "-Wclippy::too_many_lines"])
        .arg("--out-dir")
        .arg(folder.path())
        .arg(&file)
        .output()
        .expect("clippy is part of the toolchain: rustup component add clippy");
    String::from_utf8(output.stderr).unwrap()
}
