//! An engine that is opened and closed again and again, by a user without privileges who may lock
//! 8 MiB: nothing is left behind.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aquifer::shard::engine::{Config, Engine, IoMode, ShardThread, StoreConfig};
use aquifer::state::request::{Batch, Completions};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::error::ErrorKind;

/// Openings of each kind of engine.
const TIMES: u64 = 500;
/// Openings before, after which nothing more is kept for the life of the process.
const WARM_UP: u64 = 50;
/// What the process may have grown by at the end, KiB. The objects lie in a folder: those of a DFS
/// in memory would be counted.
const SLACK_KIB: u64 = 2 << 10;

/// Set in the child, which runs without privileges: the folder for objects.
const CHILD: &str = "AQUIFER_OPEN_CLOSE";

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: u64,
    threads: u64,
    rss_kib: u64,
}

impl Held {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        Self { descriptors, threads: field("Threads:"), rss_kib: field("VmRSS:") }
    }

    /// What is held once that is no more than `before`, or after half a minute: threads of an
    /// executor that block end when they had nothing to do for ten seconds.
    fn settled(before: Self) -> Self {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let now = Self::now();
            let fits = now.descriptors <= before.descriptors
                && now.threads <= before.threads
                && now.rss_kib <= before.rss_kib + SLACK_KIB;
            if fits || Instant::now() >= deadline {
                return now;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Opens an engine, writes, cuts a checkpoint, closes.
fn open_and_close(dfs: &str, io: IoMode, thread: ShardThread) {
    let config = Config { memory_bytes: 48 << 20, thread, io, ..Config::new(dfs) };
    let engine = Engine::open(config).unwrap();
    let mut session = engine.session(0).unwrap();
    let mut states = StateTable::default();
    states.declare("v", StateKind::Value).unwrap();
    let key_groups = 1;
    let config = StoreConfig { states, ..StoreConfig::new(1, key_groups) };
    let (store, states) = session.open_store(config).unwrap();
    let state = states.value(store, "v").unwrap();
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    let target = Target { key: Key::new(b"k", key_groups), namespace: &[], user_data: 0 };
    state.request_put(&mut batch, &target, b"v").unwrap();
    session.submit(&mut batch).unwrap();
    while session.in_flight() > 0 {
        session.poll(None, &mut done).unwrap();
    }
    session.checkpoint(store).unwrap();
}

fn leaves_nothing(dfs: &str, io: IoMode, thread: ShardThread) {
    (0..WARM_UP).for_each(|_| open_and_close(dfs, io, thread));
    // Threads that were told to end may take a moment.
    std::thread::sleep(Duration::from_millis(200));
    let before = Held::now();
    (0..TIMES).for_each(|_| open_and_close(dfs, io, thread));
    let after = Held::settled(before);
    println!("{io:?} {thread:?}: {before:?}, {TIMES} times later {after:?}");
    assert!(after.descriptors <= before.descriptors, "descriptors are left");
    assert!(after.threads <= before.threads, "threads are left");
    assert!(after.rss_kib <= before.rss_kib + SLACK_KIB, "memory is left");
}

/// Runs in the child alone.
fn child(dfs: &str) {
    for io in [IoMode::Uring, IoMode::Portable] {
        let (memory_bytes, thread) = (48 << 20, ShardThread::Inline);
        match Engine::open(Config { memory_bytes, thread, io, ..Config::new(dfs) }) {
            Err(error) if error.kind == ErrorKind::Unsupported => {
                aquifer_tests::not_run(format!("opening and closing with {io:?}: {error}"));
                continue;
            }
            opened => drop(opened.unwrap()),
        }
        leaves_nothing(dfs, io, ShardThread::Inline);
        leaves_nothing(dfs, io, ShardThread::Owned);
    }
}

#[test]
fn an_engine_that_is_closed_leaves_nothing_behind() {
    if let Ok(dfs) = std::env::var(CHILD) {
        return child(&dfs);
    }
    let folder = tempfile::tempdir().unwrap();
    // Where syncs cost little.
    let objects = tempfile::tempdir_in("/dev/shm").unwrap();
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -l 8192; exec \"$0\" \"$@\""]);
    let copy = folder.path().join("open_close");
    fs::copy(&program, &copy).unwrap();
    // The build's folder may be closed to others.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    command.arg(&copy).args(["--exact", "an_engine_that_is_closed_leaves_nothing_behind"]);
    command.arg("--nocapture").env(CHILD, objects.path());
    // Where another user cannot be become, the limit alone is what it is.
    let is_root = fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if is_root {
        command.uid(65534).gid(65534);
        std::os::unix::fs::chown(objects.path(), Some(65534), Some(65534)).unwrap();
    } else {
        aquifer_tests::not_run("opening and closing as another user: only root can become one");
    }
    // What it complains of, and does not run, is told at once.
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}");
}
