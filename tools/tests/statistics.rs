//! Watching runs of the real binary from outside: the statistics page, `aquifer top`, metrics.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A bench that runs until it is dropped; its pages lie in a folder of its own.
struct Run {
    child: Child,
    folder: tempfile::TempDir,
}

impl Run {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Self::spawn(folder.path(), more);
        Self { child, folder }
    }

    fn spawn(folder: &Path, more: &[&str]) -> Child {
        let mut command = aquifer(folder);
        command.args("bench load,get --records 20K --memory 48M --driver inline".split(' '));
        command.args("--seconds 600 --warmup 0".split(' ')).args(more);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn page(&self) -> std::path::PathBuf {
        self.folder.path().join(format!("aquifer/{}.json", self.child.id()))
    }

    /// Waits until it gets.
    fn serves(&self) {
        let started = Instant::now();
        let gets = || -> Option<u64> {
            let page: Value = serde_json::from_slice(&fs::read(self.page()).ok()?).ok()?;
            page["shards"][0]["counters"]["requests"]["gets"].as_u64()
        };
        while gets().unwrap_or(0) == 0 {
            assert!(started.elapsed() < PATIENCE, "it does not get going");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn top(&self, args: &[&str]) -> Output {
        top(self.folder.path(), args)
    }
}

fn top(folder: &Path, args: &[&str]) -> Output {
    aquifer(folder).arg("top").args(args).output().unwrap()
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn aquifer(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    command.env("XDG_RUNTIME_DIR", folder).current_dir(folder);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn top_shows_a_live_run_once() {
    let run = Run::start(&["--quiet"]);
    run.serves();
    let output = run.top(&["--once"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(shown.starts_with(&format!("process {}", run.child.id())), "{shown}");
    for title in ["Requests", "Gets", "Latencies", "Jobs", "Memory", "DFS", "Stores"] {
        assert!(shown.lines().any(|line| line.starts_with(title)), "no {title} in\n{shown}");
    }
    let requests = shown.lines().skip_while(|line| *line != "Requests").nth(2).unwrap();
    let rate = requests.split_whitespace().nth(1).unwrap();
    assert!(rate != "0", "requests run: {shown}");
    let piped = run.top(&[]);
    let error = text(&piped.stderr);
    assert!(!piped.status.success() && error.contains("aquifer top --once"), "{error}");
    let json = run.top(&["--json"]);
    let statistics: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(statistics["schema"], "aquifer-statistics/1");
    assert_eq!(statistics["process_id"], run.child.id());
}

#[test]
fn top_says_which_engines_run_and_which_do_not() {
    let mut run = Run::start(&["--quiet"]);
    run.serves();
    let mut other = Run::spawn(run.folder.path(), &["--quiet"]);
    let second = run.folder.path().join(format!("aquifer/{}.json", other.id()));
    let started = Instant::now();
    while !second.exists() {
        assert!(started.elapsed() < PATIENCE, "the second does not open");
        std::thread::sleep(Duration::from_millis(20));
    }
    let folder = run.folder.path().to_owned();
    let refused = |args: &[&str]| {
        let output = top(&folder, args);
        assert!(!output.status.success());
        text(&output.stderr)
    };
    let several = refused(&["--once"]);
    let both = [run.child.id(), other.id()].map(|id| several.contains(&id.to_string()));
    assert!(several.contains("several engines run") && both == [true, true], "{several}");
    // Killed, it leaves its page behind.
    other.kill().and_then(|()| other.wait()).unwrap();
    assert!(second.exists());
    let gone = refused(&[&other.id().to_string(), "--once"]);
    assert!(gone.contains("is gone and left its page behind"), "{gone}");
    assert!(run.top(&["--once"]).status.success(), "the other one is found by itself");
    run.child.kill().and_then(|()| run.child.wait()).unwrap();
    assert!(refused(&["--once"]).contains("no engine runs"), "{}", refused(&["--once"]));
    assert!(refused(&["1234567890123", "--once"]).contains("is not there"));
    // The next run clears them away, and removes its own.
    let ends = aquifer(run.folder.path())
        .args("bench load --records 1K --memory 48M --quiet".split(' '))
        .output()
        .unwrap();
    assert!(ends.status.success(), "{}", text(&ends.stderr));
    assert_eq!(fs::read_dir(run.folder.path().join("aquifer")).unwrap().count(), 0);
}

#[test]
fn what_has_no_end_is_no_page_and_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let small = "bench load --records 1K --memory 48M --quiet --json report.json";
    assert!(aquifer(folder.path()).args(small.split(' ')).status().unwrap().success());
    for args in ["top --once /dev/zero", "compare report.json /dev/zero", "compare / report.json"] {
        let output = aquifer(folder.path()).args(args.split(' ')).output().unwrap();
        let error = text(&output.stderr);
        assert!(!output.status.success(), "{args}");
        assert!(error.contains("it is no file") || error.contains("it is a folder"), "{error}");
    }
    // A report may come through a pipe.
    let script = "cat report.json | \"$0\" compare report.json /dev/stdin";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_aquifer")]).current_dir(folder.path());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("load-drained"), "{}", text(&output.stdout));
}

#[test]
fn a_folder_that_others_may_enter_takes_no_page() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let small = || {
        let mut command = aquifer(folder.path());
        let output =
            command.args("bench load --records 1K --memory 48M --quiet".split(' ')).output();
        let output = output.unwrap();
        assert!(output.status.success());
        text(&output.stderr)
    };
    let pages = folder.path().join("aquifer");
    assert_eq!(small(), "");
    assert_eq!(fs::metadata(&pages).unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&pages, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(small().contains("no statistics page"), "{}", small());
    fs::remove_dir(&pages).unwrap();
    let other = tempfile::tempdir().unwrap();
    symlink(other.path(), &pages).unwrap();
    assert!(small().contains("no statistics page"), "{}", small());
}

/// The answer to a request: its status line and headers in lower case, and its body.
fn http(address: &str, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn metrics_are_served_as_openmetrics_while_a_run_goes_on() {
    let mut run = Run::start(&["--quiet", "--metrics-addr", "0"]);
    let mut said = BufReader::new(run.child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address =
        line.trim().strip_prefix("metrics on http://").unwrap().trim_end_matches("/metrics");
    assert!(address.starts_with("127.0.0.1:"), "{line}");
    run.serves();
    let (head, body) = http(address, "GET", "/metrics");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    check_openmetrics(&body);
    let gets = body
        .lines()
        .find(|line| line.starts_with("aquifer_requests_total{") && line.contains(r#"kind="get""#));
    assert!(!gets.unwrap().ends_with(" 0"), "{gets:?}");
    assert!(http(address, "GET", "/").0.starts_with("http/1.1 404"));
    assert!(http(address, "POST", "/metrics").0.starts_with("http/1.1 405"));
    // The port is taken now.
    let mut second = aquifer(run.folder.path());
    second.args("bench load --records 1K --memory 48M --quiet --metrics-addr".split(' '));
    let refused = second.arg(address).output().unwrap();
    let error = text(&refused.stderr);
    assert!(!refused.status.success() && error.contains("name another port"), "{error}");
}

// Every line is a comment of its family or a sample of it, as its type has it.
fn check_openmetrics(body: &str) {
    assert!(body.ends_with("# EOF\n"));
    let mut kinds = BTreeMap::new();
    let mut family = String::new();
    let mut bucket: Option<(String, u64)> = None;
    for line in body.lines().take_while(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE", "UNIT"].contains(&what), "{line}");
            if what == "HELP" {
                assert!(!kinds.contains_key(name), "{name} comes twice");
            }
            if what == "TYPE" {
                kinds.insert(name.to_owned(), words.next().unwrap().to_owned());
            }
            family = name.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let name = series.split('{').next().unwrap();
        let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} in {family}"));
        let fits: &[&str] = match &kinds[&family][..] {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("a {other} is not served"),
        };
        assert!(fits.contains(&suffix) && value >= 0.0, "{line}");
        assert!(series.len() == name.len() || series.ends_with('}'), "{line}");
        if suffix == "_bucket" {
            // Buckets of one series follow each other and count up to its count.
            let labels = series.split_once(',').unwrap().1.to_owned();
            let before = bucket.filter(|(other, _)| *other == labels).map_or(0, |(_, count)| count);
            assert!(value as u64 >= before, "{line}");
            bucket = Some((labels, value as u64));
            if series.contains(r#"le="+Inf""#) {
                let (labels, count) = bucket.as_ref().unwrap();
                let counted = format!("{family}_count{{{labels} {count}");
                assert!(body.contains(&counted), "{line} without {counted}");
            }
        }
    }
    for family in ["aquifer_requests", "aquifer_memory_bytes", "aquifer_latency_seconds"] {
        assert!(kinds.contains_key(family), "no {family}");
    }
}

#[test]
fn a_word_count_keeps_a_page_and_serves_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = aquifer(folder.path());
    command.args("run wordcount - --no-verify --metrics-addr 0".split(' '));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("metrics on") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it says where metrics are");
    }
    // Its input does not end before this does.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"to be or not to be\n").unwrap();
    let page = folder.path().join(format!("aquifer/{}.json", child.id()));
    let started = Instant::now();
    while !page.exists() {
        assert!(started.elapsed() < PATIENCE, "no page");
        std::thread::sleep(Duration::from_millis(20));
    }
    let address =
        line.trim().strip_prefix("metrics on http://").unwrap().trim_end_matches("/metrics");
    check_openmetrics_head(address);
    drop(input);
    assert!(child.wait().unwrap().success());
    assert!(!page.exists());
}

fn check_openmetrics_head(address: &str) {
    let started = Instant::now();
    while !http(address, "GET", "/metrics").0.starts_with("http/1.1 200") {
        assert!(started.elapsed() < PATIENCE, "no metrics");
    }
}
