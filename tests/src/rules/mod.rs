//! The rules of the source tree, as functions from a file to what breaks them. What clippy can
//! check stands in the two `clippy.toml` instead.

use std::fmt;
use std::fs;
use std::path::Path;

#[cfg(test)]
mod tests;

/// Longest line of Rust, columns.
pub const COLUMNS_MAX: usize = 100;
/// Longest file of Rust that is not a test, lines.
pub const LINES_MAX: usize = 600;

/// Larger files are data, bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// The floors of the engine: a file names modules of its own floor and lower ones.
const FLOORS: [&[&str]; 10] = [
    &["limits", "types"],
    &["codec", "mem"],
    &["io"],
    &["sst"],
    &["cache"],
    &["lsm"],
    &["checkpoint"],
    &["state"],
    &["aec"],
    &["shard"],
];

/// The files that are unsafe, and how often. Each use makes a claim that the compiler cannot
/// check: a new one needs a reason why no safe package makes it.
const UNSAFE: [(&str, usize); 29] = [
    ("benches/src/bare.rs", 2),
    ("benches/src/bin/abi.rs", 6),
    ("engine/src/io/http/ring.rs", 2),
    ("engine/src/io/ring_open.rs", 1),
    ("engine/src/io/sys.rs", 12),
    ("engine/src/io/task.rs", 1),
    ("engine/src/io/uring.rs", 3),
    ("engine/src/mem/pool.rs", 4),
    ("engine/src/mem/prefetch.rs", 1),
    ("engine/src/shard/driver.rs", 1),
    ("ffi/src/engine_tests.rs", 3),
    ("ffi/src/fork.rs", 1),
    ("ffi/src/host.rs", 24),
    ("ffi/src/layout.rs", 9),
    ("ffi/src/lib.rs", 78),
    ("ffi/src/log.rs", 3),
    ("ffi/src/requests.rs", 8),
    ("ffi/tests/abi/bounds.rs", 1),
    ("ffi/tests/abi/host.rs", 8),
    ("ffi/tests/abi/lent.rs", 22),
    ("ffi/tests/abi/main.rs", 21),
    ("ffi/tests/abi/told.rs", 1),
    ("ffi/tests/abi/urls.rs", 3),
    ("ffi/tests/header.rs", 1),
    ("ffi/tests/signals.rs", 1),
    ("tests/src/model/abi.rs", 10),
    ("tools/src/interrupt.rs", 1),
    ("tools/src/load/probe.rs", 2),
    ("tools/tests/environments.rs", 2),
];

/// Modules that may do what `engine/clippy.toml` forbids: where clocks, randomness, threads and
/// files enter, and tests.
const OUTSIDE: [&str; 12] = [
    "io",
    "compactor",
    "compactors",
    "driver",
    "engine",
    "executor",
    "job_run",
    "owned",
    "page",
    "session",
    "source",
    "tests",
];

/// A file of the tree: its path from the root, with forward slashes, and its text.
#[derive(Clone, Debug)]
pub struct Source {
    /// From the root.
    pub path: String,
    /// Content.
    pub text: String,
}

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of the file.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// What is wrong, and the remedy where it is not plain.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs"
            || name.ends_with("_tests.rs")
            || name.starts_with("tests_")
            || self.path.starts_with("tests/")
            || self.path.contains("/tests/")
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }
}

/// Every text file of the tree below `root`, in the order of their paths.
///
/// # Panics
/// If the tree cannot be read.
#[must_use]
pub fn tree(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if matches!(name, ".git" | "target") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.metadata().is_ok_and(|m| m.len() <= TEXT_BYTES_MAX)
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(root).expect("below the root");
                sources.push(Source { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// A module of the engine names its own floor and lower ones.
#[must_use]
pub fn floors(source: &Source) -> Vec<Finding> {
    let Some(inner) = source.path.strip_prefix("engine/src/") else { return Vec::new() };
    let module = inner.split(['/', '.']).next().unwrap_or_default();
    if source.is_test() || module == "lib" {
        return Vec::new();
    }
    let Some(own) = floor_of(module) else {
        return vec![source.finding(1, format!("`{module}` stands on no floor; see FLOORS"))];
    };
    let mut findings = every(source, &["super::super::"], "hides a floor: name it from `crate`");
    for (at, _) in source.text.match_indices("crate::") {
        let line = source.text[..at].lines().count().max(1);
        for name in named(&source.text[at + "crate::".len()..]) {
            match floor_of(name) {
                Some(floor) if floor > own => findings.push(source.finding(
                    line,
                    format!("`{module}` (floor {own}) names `{name}` (floor {floor})"),
                )),
                _ => {}
            }
        }
    }
    findings
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

// The modules of the crate that a path or a group of paths begins with.
fn named(path: &str) -> Vec<&str> {
    fn first(path: &str) -> &str {
        path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    }
    let Some(group) = path.strip_prefix('{') else { return vec![first(path)] };
    let (mut names, mut depth, mut begins) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && !c.is_whitespace() => {
                names.push(first(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

/// No file that is not a test is longer than `LINES_MAX`, no line wider than `COLUMNS_MAX`.
#[must_use]
pub fn sizes(source: &Source) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = source
        .lines()
        .filter(|(_, text)| text.chars().count() > COLUMNS_MAX)
        .map(|(line, text)| source.finding(line, format!("{} columns", text.chars().count())))
        .collect();
    let lines = source.text.lines().count();
    if lines > LINES_MAX && !source.is_test() {
        findings.push(source.finding(lines, format!("{lines} lines: cut the file by concept")));
    }
    findings
}

/// Nothing is left unfinished or switched off.
#[must_use]
pub fn marks(source: &Source) -> Vec<Finding> {
    // In two parts, so that this file does not find itself.
    const MARKS: [&str; 7] = [
        concat!("to", "do!"),
        concat!("unimpl", "emented!"),
        concat!("db", "g!"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("TO", "DO"),
        concat!("#[", "ignore"),
    ];
    if !source.is_rust() {
        return Vec::new();
    }
    every(source, &MARKS, "is unfinished or switched off")
}

/// Nothing depends on the machine it was written on.
#[must_use]
pub fn machines(source: &Source) -> Vec<Finding> {
    const PLACES: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    every(source, &PLACES, "is a place on one machine")
}

fn every(source: &Source, words: &[&str], what: &str) -> Vec<Finding> {
    let hits = |(line, text): (usize, &str)| {
        let word = words.iter().find(|&&word| whole(text, word))?;
        Some(source.finding(line, format!("`{word}` {what}")))
    };
    source.lines().filter_map(hits).collect()
}

// True if `word` stands in `text` and is not the end of a longer word.
fn whole(text: &str, word: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    let starts = word.starts_with(letter);
    text.match_indices(word).any(|(at, _)| !(starts && text[..at].ends_with(letter)))
}

/// Uses of `unsafe` in a file, by line.
#[must_use]
pub fn unsafe_uses(source: &Source) -> Vec<usize> {
    // In two parts, so that this file does not find itself. The last one is that of attributes.
    const FORMS: [&str; 6] = [
        concat!("unsafe", " {"),
        concat!("unsafe", " fn"),
        concat!("unsafe", " impl"),
        concat!("unsafe", " extern"),
        concat!("unsafe", " trait"),
        concat!("unsafe", "("),
    ];
    if !source.is_rust() {
        return Vec::new();
    }
    let uses = |(line, text): (usize, &str)| {
        let code = text.split("//").next().unwrap_or_default().to_owned();
        let count: usize = FORMS.iter().map(|form| code.matches(form).count()).sum();
        std::iter::repeat_n(line, count)
    };
    source.lines().flat_map(uses).collect()
}

/// What an argument for `unsafe` begins with: that of a use, and what callers must hold.
const ARGUMENTS: [&str; 3] = ["// SAFETY: ", "// SAFETY (for callers): ", "/// # Safety"];

/// The attribute of exported functions.
const EXPORT: &str = concat!("#[unsafe", "(no_mangle)]");

/// `unsafe` stands in few files, as often as counted, each time with its argument.
#[must_use]
pub fn unsafety(source: &Source) -> Vec<Finding> {
    let uses = unsafe_uses(source);
    let allowed = UNSAFE.iter().find(|(path, _)| *path == source.path).map_or(0, |&(_, n)| n);
    let mut findings = Vec::new();
    if uses.len() != allowed {
        findings.push(source.finding(
            uses.get(allowed).copied().unwrap_or(1),
            format!("{} times unsafe, counted {allowed}: see UNSAFE", uses.len()),
        ));
    }
    let lines: Vec<&str> = source.text.lines().collect();
    for &line in &uses {
        // The comment may stand above the statement that the block is part of. What callers must
        // hold is an argument too, and a name of the C interface is one of its own.
        let above = &lines[line.saturating_sub(7)..line - 1];
        let argued = |text: &&str| ARGUMENTS.iter().any(|start| text.contains(start));
        let next = lines.get(line).copied().unwrap_or_default();
        let named = lines[line - 1] == EXPORT && next.contains(" aqf_");
        if !named && !above.iter().any(argued) {
            findings.push(source.finding(line, "unsafe without a SAFETY comment above"));
        }
    }
    findings
}

/// The files of `UNSAFE` that are not among `sources`.
#[must_use]
pub fn unsafe_files_missing(sources: &[Source]) -> Vec<&'static str> {
    let paths = UNSAFE.iter().map(|&(path, _)| path);
    paths.filter(|path| sources.iter().all(|source| source.path != *path)).collect()
}

/// Every constant of `limits` says what it bounds and why.
#[must_use]
pub fn limits(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("engine/src/limits") {
        return Vec::new();
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let bare = |&(line, text): &(usize, &str)| {
        text.starts_with("pub const") && !(line >= 2 && lines[line - 2].starts_with("///"))
    };
    source.lines().filter(bare).map(|(line, _)| source.finding(line, "no reason given")).collect()
}

/// What `engine/clippy.toml` forbids is allowed again for the modules in `OUTSIDE` alone.
#[must_use]
pub fn exceptions(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.path.starts_with("engine/src/") {
        return findings;
    }
    let mut open = None;
    for (line, text) in source.lines() {
        if text.contains("clippy::disallowed_") {
            open.get_or_insert(line);
        }
        let Some((_, name)) = text.split_once("mod ") else { continue };
        if let Some(line) = open.take()
            && !OUTSIDE.contains(&name.trim_end_matches(';'))
        {
            findings.push(source.finding(line, "only the modules in OUTSIDE may do this"));
        }
    }
    findings.extend(open.map(|line| source.finding(line, "only a module as a whole is excepted")));
    findings
}
