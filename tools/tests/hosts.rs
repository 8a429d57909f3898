//! Programs in C and C++ against an installed libaquifer, built with the compilers of users. The
//! word counts run in every mode, are compared with the word count of the command, killed and
//! resumed. The random calls of `ffi/tests/c/fuzz.c` run under AddressSanitizer:
//! `AQUIFER_SEQUENCES=n` runs n sequences of them, `AQUIFER_SEQUENCE=s` one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The library as a user has it: installed below a folder, here from what cargo just built.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<TempDir> = OnceLock::new();
    let folder = INSTALLED.get_or_init(|| {
        // Named, so that the static and shared library are built before this test runs.
        assert_eq!(aquifer_ffi::aqf_abi_check(aquifer_ffi::layout::ABI_VERSION), 0);
        let folder = tempfile::tempdir().unwrap();
        let deps = std::env::current_exe().unwrap();
        let script = root().join("ffi/package/install.sh");
        let mut install = Command::new(script);
        install.arg("--prefix").arg(folder.path());
        run(install.arg("--built").arg(deps.parent().unwrap()));
        folder
    });
    folder.path()
}

fn pkg_config(flags: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", installed().join("lib/pkgconfig"));
    let printed = run(command.args(flags).arg("aquifer"));
    printed.split_whitespace().map(str::to_owned).collect()
}

const WORD_COUNTS: [&str; 2] = ["hosts/c/wordcount.c", "hosts/cpp/wordcount.cpp"];

/// Flags for programs that are to find what they break; what is not freed at the end is found too.
const SANITIZED: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// Builds a program, with `extra` flags.
fn build(source: &str, extra: &[&str], into: &Path) -> PathBuf {
    let (compiler, standard) =
        if source.ends_with(".c") { ("gcc", "-std=c11") } else { ("g++", "-std=c++17") };
    let binary = into.join(source.replace(['/', '.'], "-"));
    let warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    let mut command = Command::new(compiler);
    command.arg(standard).args(["-O1", "-g"]).args(warnings).args(extra);
    command.arg(root().join(source)).arg("-o").arg(&binary);
    command.args(pkg_config(&["--cflags", "--libs"]));
    run(command.arg(format!("-Wl,-rpath,{}/lib", installed().display())));
    binary
}

/// Two files of skewed words; the second begins inside what would be a word of the first.
fn corpus(folder: &Path, words: u64) -> [PathBuf; 2] {
    let mut x = 7_u64;
    let mut draw = |below: u64| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % below
    };
    [("a.txt", words / 3), ("b.txt", words - words / 3)].map(|(name, words)| {
        let mut text = String::new();
        for _ in 0..words {
            let separator = [" ", "\n", "--", "\t(", "\u{e9}", "_"][draw(6) as usize];
            let word = draw(300) * draw(300);
            text += &format!("{separator}{}{word:x}", if word % 3 == 0 { "Wx" } else { "k" });
        }
        text += &"long".repeat(700);
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    })
}

/// What the command counts.
fn expected(folder: &Path, inputs: &[PathBuf]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    command.args(["run", "wordcount", "--dfs", "memory://expected", "--counts", "counts.tsv"]);
    run(command.args(inputs).current_dir(folder));
    fs::read_to_string(folder.join("counts.tsv")).unwrap()
}

fn same(counts: &str, expected: &str, what: &str) {
    // A failure shows one line, not a thousand.
    let mut lines = (1..).zip(counts.lines().zip(expected.lines()));
    if let Some((number, (ours, theirs))) = lines.find(|(_, (ours, theirs))| ours != theirs) {
        panic!("{what}: line {number} is {ours:?} instead of {theirs:?}");
    }
    assert_eq!(counts.lines().count(), expected.lines().count(), "{what}");
}

/// Where a host that lends its file system writes what others write to a folder.
fn place(modes: &[&str], folder: &Path) -> String {
    let lends = if modes.contains(&"-f") { "host://files" } else { "" };
    format!("{lends}{}", folder.display())
}

fn counts_in_every_mode(extra: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let inputs = corpus(folder.path(), 60_000);
    let expected = expected(folder.path(), &inputs);
    for source in WORD_COUNTS {
        let binary = build(source, extra, folder.path());
        for modes in [&[][..], &["-i"], &["-e"], &["-i", "-e"], &["-f"], &["-i", "-f"]] {
            let what = format!("{source} {modes:?} {extra:?}");
            let dfs = folder.path().join(what.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
            let mut command = Command::new(&binary);
            command.args(modes).arg(place(modes, &dfs)).args(&inputs).current_dir(folder.path());
            same(&run(&mut command), &expected, &what);
        }
    }
}

#[test]
fn hosts_count_as_the_command_does() {
    counts_in_every_mode(&[]);
}

#[test]
fn hosts_count_under_address_sanitizer() {
    counts_in_every_mode(&SANITIZED);
}

#[test]
fn cmake_finds_both_libraries() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = corpus(folder.path(), 3000);
    let expected = expected(folder.path(), &inputs);
    let build = folder.path().join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(root().join("hosts")).arg("-B").arg(&build);
    run(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", installed().display())));
    run(Command::new("cmake").arg("--build").arg(&build));
    for name in ["wordcount-c", "wordcount-cpp", "wordcount-static"] {
        let mut command = Command::new(build.join(name));
        command.arg(folder.path().join(name)).args(&inputs).current_dir(folder.path());
        same(&run(&mut command), &expected, name);
    }
}

#[test]
fn a_host_is_told_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = corpus(folder.path(), 10);
    let binary = build(WORD_COUNTS[0], &[], folder.path());
    let mut command = Command::new(binary);
    command.current_dir(folder.path());
    let output = command.arg("ftp://somewhere").args(&inputs).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("opening the engine") && errors.contains("ftp"), "{errors}");
}

/// The job file of the command, or any other file, is not taken for one of the host's own.
#[test]
fn a_host_leaves_the_job_files_of_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = corpus(folder.path(), 1000);
    expected(folder.path(), &inputs);
    let of_command = fs::read(folder.path().join("wordcount.job")).unwrap();
    let binary = build(WORD_COUNTS[0], &[], folder.path());
    let host = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).arg(folder.path().join("state")).args(&inputs);
        command.current_dir(folder.path()).output().unwrap()
    };
    assert!(host(&["-c", "100"]).status.success());
    assert_eq!(fs::read(folder.path().join("wordcount.job")).unwrap(), of_command);
    assert!(host(&["-r"]).status.success(), "its own");
    let job = folder.path().join("wordcount-c.job");
    for other in [&of_command[..], b"12345\nAQUH", b""] {
        fs::write(&job, other).unwrap();
        for args in [&["-c", "100"][..], &["-r"]] {
            let output = host(args);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(errors.contains("wordcount-c.job: is not of this program"), "{errors}");
            assert_eq!(fs::read(&job).unwrap(), other, "{args:?}");
        }
    }
}

/// Kills the C host again and again at random moments, and resumes it each time from what it
/// committed; the last run ends by itself, and its counts are right.
#[test]
fn a_killed_host_goes_on_from_its_commit() {
    let kills: u64 = std::env::var("AQUIFER_KILLS").map_or(20, |n| n.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let inputs = corpus(folder.path(), 400_000);
    let expected = expected(folder.path(), &inputs);
    let binary = build(WORD_COUNTS[0], &[], folder.path());
    let mut x = 11_u64;
    let (mut killed, mut resumed) = (0, 0);
    while killed < kills {
        let modes = [&[][..], &["-i"], &["-e"], &["-i", "-e"], &["-f"], &["-i", "-f"]];
        let mode: &[&str] = modes[(killed % 6) as usize];
        let dfs = folder.path().join(format!("state-{killed}"));
        let job = folder.path().join("wordcount-c.job");
        let _none = fs::remove_file(&job);
        // One job is killed some times on its way.
        loop {
            let mut command = Command::new(&binary);
            command.args(mode).args(["-c", "5000"]).current_dir(folder.path());
            if job.exists() {
                command.arg("-r");
                resumed += 1;
            }
            command
                .arg(place(mode, &dfs))
                .args(&inputs)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Some are killed before they commit, others behind it, however slow the machine is.
            while killed % 2 == 1 && !job.exists() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(30 + (x >> 33) % 400));
            if killed < kills && child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                killed += 1;
                child.wait().unwrap();
                continue;
            }
            let output = child.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "after {killed} kills: {errors}");
            same(&String::from_utf8(output.stdout).unwrap(), &expected, "resumed");
            break;
        }
        fs::remove_dir_all(dfs).unwrap();
    }
    assert!(resumed > 0, "no kill came after a commit");
}

/// Sequences of random calls in an ordinary test run: about twenty seconds on two busy cores.
const SEQUENCES: u64 = 1000;
/// Sequences of one process, which keeps what they wrote to the DFS in memory.
const SEQUENCES_PER_PROCESS: usize = 250;
/// What they must have met: a campaign that is refused everything would go on passing.
const MET: [&str; 10] = [
    "AQF_OK",
    "AQF_INVALID",
    "AQF_TOO_LARGE",
    "AQF_CORRUPT",
    "AQF_MISSING_OBJECT",
    "AQF_CLOSED",
    "AQF_BAD_HANDLE",
    "AQF_BUSY",
    "AQF_FORKED",
    "AQF_BUFFER_TOO_SMALL",
];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn random_calls_are_answered() {
    let one = number("AQUIFER_SEQUENCE");
    let count = number("AQUIFER_SEQUENCES").unwrap_or(SEQUENCES);
    let folder = tempfile::tempdir().unwrap();
    let binary = build("ffi/tests/c/fuzz.c", &SANITIZED, folder.path());
    let mut met: BTreeMap<String, u64> = BTreeMap::new();
    for first in one.map_or(1..=count, |seed| seed..=seed).step_by(SEQUENCES_PER_PROCESS) {
        let left = if one.is_some() { 1 } else { count - first + 1 };
        let sequences = left.min(SEQUENCES_PER_PROCESS as u64).to_string();
        let mut command = Command::new(&binary);
        command.args([&first.to_string(), &sequences]).arg(folder.path());
        // Options that are cut short name folders of here.
        command.current_dir(folder.path());
        let printed = run(&mut command);
        for (name, times) in printed.lines().filter_map(|line| line.split_once(' ')) {
            *met.entry(name.to_owned()).or_default() += times.parse::<u64>().unwrap();
        }
    }
    println!("{met:#?}");
    let missing: Vec<&&str> = MET.iter().filter(|name| !met.contains_key(**name)).collect();
    assert!(missing.is_empty() || count < SEQUENCES || one.is_some(), "never met: {missing:?}");
}
