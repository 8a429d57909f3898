//! The main job through the real binary, on a small generated corpus.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Words of the corpus that `corpus` writes, small files and one of many buffers.
const WORDS: u64 = 60_000;
/// Its files: each has one pair of words less than it has words.
const FILES: u64 = 4;

/// Numbers that follow from a seed.
fn draws(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut x = seed;
    move |below| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % below
    }
}

fn corpus(folder: &Path) {
    let mut draw = draws(7);
    fs::create_dir_all(folder.join("in/deep")).unwrap();
    for (file, words) in [("a.txt", 1_000), ("deep/b.md", 50_000), ("z", 8_999), ("zz", 1)] {
        let mut text = String::new();
        for _ in 0..words {
            let separator = [" ", "\n", "--", "\t(", "\u{e9}"][draw(5) as usize];
            // Skewed: a product of draws.
            let word = draw(80) * draw(80);
            text +=
                &format!("{}{word:x}{separator}", if word.is_multiple_of(3) { "Wx" } else { "k" });
        }
        fs::write(folder.join("in").join(file), text).unwrap();
    }
}

fn naive(folder: &Path, ngram: usize) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for file in ["a.txt", "deep/b.md", "z", "zz"] {
        let bytes = fs::read(folder.join("in").join(file)).unwrap();
        let words: Vec<String> = bytes
            .split(|b| !b.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8(word.to_ascii_lowercase()).unwrap())
            .collect();
        for run in words.windows(ngram) {
            *counts.entry(run.join(" ")).or_insert(0) += 1;
        }
    }
    counts
}

fn wordcount(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    command.args(["run", "wordcount"]).args(args).current_dir(folder);
    command
}

fn succeed(folder: &Path, args: &[&str]) -> Value {
    let output = wordcount(folder, &[args, &["--json", "report.json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap()
}

fn refused(folder: &Path, args: &[&str]) -> String {
    let output = wordcount(folder, args);
    assert_eq!(output.status.code(), Some(1), "{args:?} is refused, not killed");
    String::from_utf8(output.stderr).unwrap()
}

fn check_counts(folder: &Path, ngram: usize) {
    let written = fs::read_to_string(folder.join("counts.tsv")).unwrap();
    let expected: String =
        naive(folder, ngram).iter().map(|(word, count)| format!("{word}\t{count}\n")).collect();
    assert!(written == expected, "the counts of runs of {ngram} differ");
}

#[test]
fn words_are_counted_verified_and_written() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    for ngram in ["1", "3"] {
        let args = ["in", "--ngram", ngram, "--counts", "counts.tsv", "--checkpoint-every", "9k"];
        let report = succeed(folder.path(), &args);
        let ngram: usize = ngram.parse().unwrap();
        let counts = naive(folder.path(), ngram);
        check_counts(folder.path(), ngram);
        assert_eq!(report["words"], counts.values().sum::<u64>());
        assert_eq!(report["distinct"], counts.len());
        assert_eq!(report["read_back"], counts.len());
        assert_eq!(report["verified"], true);
        assert_eq!(report["checkpoints"], 7, "{report}");
        assert_eq!(report["top"][0][1], *counts.values().max().unwrap());
        assert!(report["in_flight_mean"].as_f64().unwrap() > 100.0, "{report}");
    }
}

#[test]
fn a_killed_job_goes_on_from_its_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let dfs = ["--dfs", "state", "--checkpoint-every", "10k"];
    let first = [&["in", "--ngram", "2", "--crash-at", "25k"][..], &dfs].concat();
    let killed = wordcount(folder.path(), &first);
    assert_eq!(killed.status.signal(), Some(9), "{}", String::from_utf8_lossy(&killed.stderr));
    // Killed again on the way, so that it resumes from a checkpoint of a resumed job too.
    let second = [&["--resume", "--crash-at", "45k"][..], &dfs].concat();
    assert_eq!(wordcount(folder.path(), &second).status.signal(), Some(9));
    let last = ["--resume", "--counts", "counts.tsv"];
    let report = succeed(folder.path(), &last);
    // The checkpoint at 40k may still have been on its way; the one before was waited for.
    let resumed_at = report["resumed_at"].as_u64().unwrap();
    assert!([30_000, 40_000].contains(&resumed_at), "{report}");
    assert_eq!(report["verified"], true);
    check_counts(folder.path(), 2);
    // A job that has ended resumes too: nothing is left to count, all is still there.
    let again = succeed(folder.path(), &last);
    assert_eq!(again["resumed_at"], again["words"]);
    assert_eq!(again["verified"], true);
}

/// Chains of kills in an ordinary test run; `AQUIFER_CHAINS=n` makes n, from `AQUIFER_CHAIN` on.
const CHAINS: u64 = 8;
/// Kills of a chain; the run after them may end.
const KILLS_MAX: u64 = 12;
/// Kills of a chain that has counted everything.
const LATE_KILLS_MAX: u64 = 2;

/// Options of a job that is killed: it spends much of its time on checkpoints.
const SLOW: [&str; 10] = [
    "--dfs",
    "state?latency=1ms",
    "--memory",
    "48M",
    "--in-flight",
    "64",
    "--checkpoint-every",
    "3k",
    "--counts",
    "counts.tsv",
];

/// Words counted at the last checkpoint of the job file, or why there is none.
fn committed(folder: &Path) -> Result<u64, &'static str> {
    let file = fs::read_to_string(folder.join("wordcount.job")).map_err(|_| "before a job file")?;
    let job: Value = serde_json::from_str(file.lines().nth(1).unwrap()).unwrap();
    let last = job["checkpoints"].as_array().unwrap().last().ok_or("before a checkpoint")?;
    Ok(last["position"]["records"].as_u64().unwrap())
}

/// Starts a job, kills it from outside and resumes it, again and again, until a run ends by itself.
/// `whole` is about the time of a whole run. Counts where kills found the job.
fn chain(seed: u64, whole: Duration, kills: &mut BTreeMap<&'static str, u64>) {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let mut draw = draws(seed);
    // The first draws of neighbouring seeds are alike.
    draw(1);
    let mut late = 0;
    for kill in 0.. {
        // Killed before it wrote its job file, it left nothing to resume.
        let resumes = folder.path().join("wordcount.job").exists();
        let start: &[&str] = if resumes { &["--resume"] } else { &["in", "--ngram", "2"] };
        let args = [start, &SLOW, &["--json", "report.json"]].concat();
        let mut child = command(folder.path(), &args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if kill < KILLS_MAX && late < LATE_KILLS_MAX {
            // Anywhere, or early: before it wrote its job file, while it restores.
            let span = whole / [1, 4, 16, 256][draw(4) as usize];
            thread::sleep(span * draw(1000) as u32 / 1000);
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        if output.status.signal() == Some(9) {
            let found = match committed(folder.path()) {
                Err(before) => before,
                Ok(words) if words + FILES == WORDS => {
                    late += 1;
                    "after the last checkpoint"
                }
                Ok(_) => "between checkpoints",
            };
            *kills.entry(found).or_insert(0) += 1;
            continue;
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "chain {seed}, after {kill} kills: {errors}");
        break;
    }
    let report = fs::read(folder.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["verified"], true, "chain {seed}");
    println!("chain {seed}: the last run resumed at {}", report["resumed_at"]);
    check_counts(folder.path(), 2);
}

#[test]
fn a_job_that_is_killed_at_any_instant_counts_exactly() {
    let number = |variable: &str| {
        std::env::var(variable).ok().map(|text| text.parse::<u64>().expect("a number"))
    };
    let first = number("AQUIFER_CHAIN").unwrap_or(1);
    let count = number("AQUIFER_CHAINS").unwrap_or(CHAINS);
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let began = Instant::now();
    succeed(folder.path(), &[&["in", "--ngram", "2"], &SLOW[..]].concat());
    let whole = began.elapsed();
    let mut kills = BTreeMap::new();
    for seed in first..first + count {
        chain(seed, whole, &mut kills);
    }
    println!("a whole run takes {whole:?}; kills: {kills:?}");
    assert!(kills.contains_key("between checkpoints") || count < CHAINS, "{kills:?}");
}

#[test]
fn a_job_runs_in_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    // Waits for words that do not come.
    let mut first = command(folder.path(), &["-"]).stdin(Stdio::piped()).spawn().unwrap();
    while !folder.path().join("wordcount.job").exists() {
        thread::sleep(Duration::from_millis(1));
    }
    for args in [&["in"][..], &["--resume"]] {
        let error = refused(folder.path(), args);
        assert!(error.contains("wordcount.job") && error.contains("wait"), "{args:?}: {error}");
        assert!(error.contains("--job"), "{error}");
    }
    succeed(folder.path(), &["in", "--job", "another.job", "--limit", "10"]);
    first.kill().unwrap();
    first.wait().unwrap();
    succeed(folder.path(), &["in", "--limit", "10"]);
}

#[test]
fn an_interrupted_job_goes_on_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    for (args, resumes) in [(&["in", "--ngram", "2"][..], true), (&["-"], false)] {
        let mut command = command(folder.path(), &[args, &SLOW[..]].concat());
        command.env("TMPDIR", &temporary).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.as_mut().unwrap();
        if !resumes {
            stdin.write_all("words ".repeat(10_000).as_bytes()).unwrap();
        }
        while committed(folder.path()).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "a copy is left");
        if resumes {
            let report = succeed(folder.path(), &["--resume", "--counts", "counts.tsv"]);
            assert_eq!(report["verified"], true);
            check_counts(folder.path(), 2);
            fs::remove_file(folder.path().join("wordcount.job")).unwrap();
        }
    }
}

#[test]
fn a_limit_ends_the_job_and_a_resume_moves_it() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let report = succeed(folder.path(), &["in", "--limit", "20k"]);
    assert_eq!((&report["words"], &report["verified"]), (&20_000.into(), &true.into()));
    let report = succeed(folder.path(), &["--resume", "--limit", "30k"]);
    assert_eq!(report["resumed_at"], 20_000);
    assert_eq!((&report["words"], &report["verified"]), (&30_000.into(), &true.into()));
    let less = refused(folder.path(), &["--resume", "--limit", "10k"]);
    assert!(less.contains("30000 words already"), "{less}");
}

#[test]
fn a_resume_refuses_what_is_not_its_job() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let dfs = format!("file://{}/state", folder.path().display());
    succeed(folder.path(), &["in", "--limit", "20k", "--dfs", &dfs]);
    for (args, named) in [
        (&["--ngram", "2"][..], "--ngram"),
        (&["--dfs", "elsewhere"], "--dfs"),
        (&["in/deep"], "in/deep"),
        (&["--crash-at", "5"], "cannot crash at 5"),
        (&["--job", "other.job"], "other.job"),
    ] {
        let error = refused(folder.path(), &[&["--resume"][..], args].concat());
        assert!(error.contains(named), "{args:?}: {error}");
    }
    let changed = folder.path().join("in/z");
    fs::write(&changed, "other words").unwrap();
    let error = refused(folder.path(), &["--resume"]);
    assert!(error.contains("in/z has changed"), "{error}");
    fs::write(folder.path().join("wordcount.job"), "aquifer").unwrap();
    let error = refused(folder.path(), &["--resume"]);
    assert!(error.contains("wordcount.job"), "{error}");
}

#[test]
fn counts_that_differ_fail_the_run() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    succeed(folder.path(), &["in", "--limit", "20k"]);
    // As long as before, so that only the counts tell.
    let path = folder.path().join("in/a.txt");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen(|c: char| c.is_ascii_alphanumeric(), "z", 1)).unwrap();
    let error = refused(folder.path(), &["--resume"]);
    assert!(error.contains("verification failed") && error.contains("`z"), "{error}");
}

#[test]
fn standard_input_is_counted_and_verified_but_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let b = folder.path().join("in/deep/b.md");
    let output =
        command(folder.path(), &["-", "in/a.txt", "in/z", "in/zz", "--counts", "counts.tsv"])
            .stdin(File::open(b).unwrap())
            .output()
            .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check_counts(folder.path(), 1);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("verified: "), "{text}");
    let error = refused(folder.path(), &["--resume"]);
    assert!(error.contains("standard input cannot be read again"), "{error}");
}

#[test]
fn input_without_words_is_counted_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("none")).unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    for (args, stdin) in
        [(["empty"], ""), (["none"], ""), (["-"], ""), (["-"], "a b a"), (["-"], ".")]
    {
        let mut child = command(folder.path(), &args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let (report, notes) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{notes}");
        let words = if stdin == "a b a" { "3 words, 2 distinct" } else { "0 words, 0 distinct" };
        assert!(report.starts_with(words) && report.contains("verified: "), "{report}");
        assert_eq!(report.contains("most frequent"), words.starts_with('3'), "{report}");
        assert_eq!(notes.contains("no file to count"), args == ["none"], "{notes}");
    }
}

#[test]
fn lost_state_fails_with_a_cause() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    succeed(folder.path(), &["in", "--limit", "20k", "--dfs", "state"]);
    fs::remove_dir_all(folder.path().join("state")).unwrap();
    let error = refused(folder.path(), &["--resume"]);
    assert!(error.contains("missing object") && error.contains("state"), "{error}");
    assert!(error.contains("start without --resume"), "{error}");
}

/// Objects of this kind in the state, the oldest first.
fn objects(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let listed = |folder: PathBuf| {
        let entries = fs::read_dir(folder).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let incarnations = listed(folder.join("state")).into_iter().flat_map(listed);
    let objects = incarnations.flat_map(listed);
    objects.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind)).collect()
}

/// Changes one bit of a file.
fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_left_for_the_older_one() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let job = ["in", "--dfs", "state", "--checkpoint-every", "20k"];
    succeed(folder.path(), &[&job[..], &["--limit", "40k"]].concat());
    let manifests = objects(folder.path(), "manifest");
    flip(manifests.last().unwrap(), |len| len / 2);
    let error = refused(folder.path(), &["--resume"]);
    let name = manifests.last().unwrap().strip_prefix(folder.path().join("state")).unwrap();
    assert!(error.contains(name.to_str().unwrap()), "{error}");
    assert!(error.contains("checkpoint at word 20000 with --resume --older"), "{error}");
    let report = succeed(folder.path(), &["--resume", "--older", "--limit", "60k"]);
    assert_eq!((&report["resumed_at"], &report["verified"]), (&20_000.into(), &true.into()));
    // A job of one checkpoint has no older one.
    succeed(folder.path(), &[&job[..], &["--limit", "5k"]].concat());
    let error = refused(folder.path(), &["--resume", "--older"]);
    assert!(error.contains("no older checkpoint: start without --resume"), "{error}");
}

#[test]
fn a_dfs_that_hiccups_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let dfs = ["--dfs", "state?fail=0.1&seed=5", "--checkpoint-every", "9k"];
    succeed(folder.path(), &[&["in", "--limit", "40k", "--ngram", "2"][..], &dfs].concat());
    // Reads its manifest, its tables and every unit.
    let report = succeed(folder.path(), &[&["--resume", "--limit", "60k"][..], &dfs].concat());
    assert_eq!((&report["resumed_at"], &report["verified"]), (&40_000.into(), &true.into()));
    assert!(report["cold_reads"].as_u64().unwrap() > 20, "{report}");
}

#[test]
fn state_in_memory_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    succeed(folder.path(), &["in", "--dfs", "memory://words?latency=1us"]);
    let error = refused(folder.path(), &["--resume"]);
    assert!(error.contains("died with its process; start without --resume"), "{error}");
}

#[test]
fn input_that_ends_before_the_crash_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let output = wordcount(folder.path(), &["in", "--crash-at", "60_001"]);
    assert_eq!(output.status.code(), Some(1));
    let (report, error) = (String::from_utf8_lossy(&output.stdout), &output.stderr);
    assert!(report.contains("verified: "), "{report}");
    let error = String::from_utf8_lossy(error);
    assert!(error.contains("ended after 60000 words") && error.contains("60001"), "{error}");
    let error = refused(folder.path(), &["in", "--limit", "5k", "--crash-at", "6k"]);
    assert!(error.contains("--crash-at 6000 is beyond --limit 5000"), "{error}");
    let crashed = wordcount(folder.path(), &["in", "--crash-at", "60k"]);
    assert_eq!(crashed.status.signal(), Some(9), "the last word is one of them");
}

#[test]
fn the_default_input_is_the_folder_and_the_cargo_home() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let home = folder.path().join("home");
    let run = |args: &[&str]| {
        let mut command = command(&folder.path().join("in"), args);
        command.env("CARGO_HOME", &home).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (report, notes) = run(&[]);
    assert!(report.starts_with("60,000 words"), "{report}");
    assert!(notes.contains("CARGO_HOME"), "{notes}");
    assert_eq!(naive(folder.path(), 1).values().sum::<u64>(), WORDS);
    fs::create_dir_all(home.join("registry/src/some-crate")).unwrap();
    fs::write(home.join("registry/src/some-crate/lib.rs"), "one more").unwrap();
    let (report, notes) = run(&["--ngram", "2", "--no-verify"]);
    // The runs of the four files, and the one of the crate; the job file is no input.
    assert!(report.starts_with("59,997 word pairs"), "{report}");
    assert!(report.ends_with("not verified\n"), "{report}");
    assert!(!notes.contains("note:"), "{notes}");
}

#[test]
fn what_is_counted_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    std::os::unix::fs::symlink("in/a.txt", folder.path().join("link")).unwrap();
    let text = fs::read(folder.path().join("in/a.txt")).unwrap();
    let refuse = |args: &[&str], named: &str| {
        let error = refused(folder.path(), args);
        assert!(error.contains(named), "{args:?}: {error}");
        assert_eq!(fs::read(folder.path().join("in/a.txt")).unwrap(), text, "{args:?}");
    };
    for (option, file) in [("--counts", "in/a.txt"), ("--json", "./in/../in/a.txt")] {
        refuse(&["in/a.txt", option, file], "is to be counted, and --");
    }
    refuse(&["in/a.txt", "--counts", "link"], "is to be counted, and --counts would overwrite it");
    refuse(&["in", "--counts", "x", "--json", "./x"], "is given as --counts and as --json");
    refuse(&["in", "--counts", "wordcount.job"], "is given as --job and as --counts");
    assert!(!folder.path().join("wordcount.job").exists(), "nothing was started");
    succeed(folder.path(), &["in", "--limit", "20k"]);
    refuse(&["--resume", "--counts", "in/a.txt"], "is to be counted, and --counts");
    refuse(&["wordcount.job"], "is to be counted, and --job");
    // What an earlier run wrote below the input is not counted, and is written again; devices are
    // written to as often as they are named.
    succeed(folder.path(), &["in", "--counts", "in/counts"]);
    succeed(folder.path(), &["in", "--counts", "in/counts"]);
    let twice = ["in", "--counts", "/dev/null", "--json", "/dev/null"];
    assert!(wordcount(folder.path(), &twice).status.success());
    let error = refused(folder.path(), &["in", "--memory", "10000T"]);
    assert!(error.contains("more than this machine has"), "{error}");
}

#[test]
fn bad_calls_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(folder.path(), &["no-such-file"]);
    assert!(error.contains("no-such-file") && error.contains("No such file"), "{error}");
    fs::write(folder.path().join("a"), "some words").unwrap();
    let error = refused(folder.path(), &["a", "--memory", "1M"]);
    assert!(error.contains("below the minimum"), "{error}");
    let error = refused(folder.path(), &["a", "--dfs", "s3x://bucket"]);
    assert!(error.contains("unknown scheme"), "{error}");
    let help = Command::new(env!("CARGO_BIN_EXE_aquifer")).arg("--help").output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("Examples:"));
}
