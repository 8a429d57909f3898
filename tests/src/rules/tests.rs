//! Each rule finds what breaks it and passes what does not.

use super::*;

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[track_caller]
fn breaks(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str, line: usize) {
    let findings = rule(&source(path, text));
    assert_eq!(findings.iter().map(|f| f.line).collect::<Vec<_>>(), [line], "{findings:?}");
}

#[track_caller]
fn holds(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) {
    assert_eq!(rule(&source(path, text)), []);
}

#[test]
fn a_module_that_names_a_higher_floor_is_found() {
    breaks(floors, "engine/src/sst/table.rs", "//! Table.\nuse crate::lsm::Version;\n", 2);
    breaks(floors, "engine/src/limits.rs", "fn f() { crate::codec::g() }", 1);
    let group = "use std::fmt;\nuse crate::{\n    codec::{crc, hash},\n    shard,\n};\n";
    breaks(floors, "engine/src/lsm/scan.rs", group, 2);
    breaks(floors, "engine/src/lsm/scan.rs", "use super::super::shard;\n", 1);
    breaks(floors, "engine/src/metrics/mod.rs", "", 1);
}

#[test]
fn a_module_that_names_its_own_or_a_lower_floor_passes() {
    let text = "use crate::{codec::{crc, shard}, lsm::scan, types};\nuse crate::mem::slab::Token;";
    holds(floors, "engine/src/lsm/scan.rs", text);
    holds(floors, "engine/src/sst/table_tests.rs", "use crate::shard::Shard;\n");
    holds(floors, "engine/src/lib.rs", "pub use crate::shard::Shard;\n");
    holds(floors, "tools/src/lib.rs", "use crate::shard::Shard;\n");
}

#[test]
fn long_lines_and_long_files_are_found() {
    breaks(sizes, "engine/src/io/a.rs", &format!("//\n{}\n", "x".repeat(COLUMNS_MAX + 1)), 2);
    breaks(sizes, "engine/src/io/a.rs", &"//\n".repeat(LINES_MAX + 1), LINES_MAX + 1);
    holds(sizes, "engine/src/io/a.rs", &"é".repeat(COLUMNS_MAX));
    holds(sizes, "engine/src/io/a.rs", &"//\n".repeat(LINES_MAX));
    holds(sizes, "engine/src/io/a_tests.rs", &"//\n".repeat(LINES_MAX + 1));
    holds(sizes, "README.md", &"x".repeat(COLUMNS_MAX + 1));
}

#[test]
fn unfinished_work_is_found() {
    let marked = [
        concat!("to", "do!()"),
        concat!("unimpl", "emented!()"),
        concat!("db", "g!(x)"),
        concat!("// FIX", "ME: later"),
        concat!("// XX", "X"),
        concat!("// TO", "DO"),
        concat!("#[", "ignore = \"slow\"]"),
    ];
    for mark in marked {
        breaks(marks, "tools/src/main.rs", &format!("\n{mark}"), 2);
    }
    holds(marks, "tools/src/main.rs", "let autodone = fixed(\"ignored\");");
}

#[test]
fn places_on_one_machine_are_found() {
    breaks(machines, "README.md", concat!("\ncd /ho", "me/me"), 2);
    breaks(machines, ".ci/run", concat!("/ro", "ot/.cargo/bin/cargo test"), 1);
    holds(machines, "README.md", "file:///var/lib/aquifer");
}

#[test]
fn unsafe_beyond_what_was_counted_is_found() {
    let one = concat!("// SAFETY: argued.\nlet x = unsafe", " { f() };\n");
    breaks(unsafety, "engine/src/lsm/scan.rs", one, 2);
    holds(unsafety, "engine/src/mem/prefetch.rs", one);
    breaks(unsafety, "engine/src/mem/prefetch.rs", &one.repeat(2), 4);
    let (_, bare) = one.split_once('\n').expect("two lines");
    breaks(unsafety, "engine/src/mem/prefetch.rs", bare, 1);
    holds(unsafety, "engine/src/lsm/scan.rs", "// This is unsafe { in words }.\n");
    let twice = one.replace("f()", concat!("unsafe", " { f() }"));
    breaks(unsafety, "engine/src/mem/prefetch.rs", &twice, 2);
    let attribute = concat!("// SAFETY: argued.\n#[unsafe", "(no_mangle)]\n");
    breaks(unsafety, "engine/src/lsm/scan.rs", attribute, 2);
    breaks(unsafety, "engine/src/mem/prefetch.rs", "fn safe() {}\n", 1);
    assert!(unsafe_files_missing(&[]).contains(&"engine/src/mem/prefetch.rs"));
}

#[test]
fn a_limit_without_a_reason_is_found() {
    let text = "/// Why.\npub const A: u32 = 1;\npub const B: u32 = 1;\nconst _: () = ();\n";
    breaks(limits, "engine/src/limits.rs", text, 3);
    holds(limits, "engine/src/sst/layout.rs", text);
}

#[test]
fn an_exception_from_the_bans_outside_the_drivers_is_found() {
    let except = "#[expect(clippy::disallowed_methods, reason = \"why\")]\n";
    breaks(exceptions, "engine/src/lib.rs", &format!("{except}pub mod lsm;\n"), 1);
    breaks(exceptions, "engine/src/lsm/scan.rs", &format!("\n{except}fn f() {{}}\n"), 2);
    holds(exceptions, "engine/src/lib.rs", &format!("{except}pub mod io;\npub mod lsm;\n"));
    holds(exceptions, "tools/src/lib.rs", &format!("{except}pub mod lsm;\n"));
}

#[test]
fn the_walk_finds_this_file_and_leaves_the_build_out() {
    let sources = tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(sources.iter().any(|s| s.path == "src/rules/tests.rs"));
    assert!(sources.iter().all(|s| !s.path.starts_with("target/")));
}
