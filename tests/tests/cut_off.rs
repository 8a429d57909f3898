//! A store that nobody reaches for a while: what memory and the cache on the SSD have is served,
//! the rest fails or waits, as the host chose, nothing is lost, and memory stays in its budget.
//! `AQUIFER_OUTAGE_S=60` has it last for a minute.

use std::fs;
use std::io::{BufRead, BufReader, Write, stdin};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::engine::{Access, Config, SsdConfig};
use aquifer::shard::values::ControlOp;
use aquifer_tests::host::{self, Host};
use aquifer_tests::proxy::Proxy;
use aquifer_tests::servers::{self, Kind};
use aquifer_tests::sim::rng::Rng;

/// Twice the memory of the engine.
const KEYS: u64 = 100_000;
/// What memory has.
const HOT: u64 = 2_000;
/// What the cache may have, and memory has not.
const WARM: std::ops::Range<u64> = 10_000..20_000;
/// What neither has, but for what they happened to keep: some of these.
const COLD: std::ops::Range<u64> = 50_000..80_000;
const SSD_BYTES: u64 = 24 << 20;
/// What the engine's process may have at most beside what it had before the engine: the budget, and
/// a tenth for what the test holds of a thousand answers.
const MORE_BYTES: u64 = MEMORY_MIN_BYTES as u64 / 10 * 11;

fn value(key: u64) -> Vec<u8> {
    let mut rng = Rng::new(key);
    (0..125).flat_map(|_| rng.next_u64().to_be_bytes()).collect()
}

/// Of the memory of this process: a line of the kernel's, bytes.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Set in the process of an engine: what it does.
const PART: &str = "AQUIFER_CUT_OFF_PART";
const URL: &str = "AQUIFER_CUT_OFF_URL";
const FOLDER: &str = "AQUIFER_CUT_OFF_FOLDER";

/// Where the process of an engine works. The handle of its checkpoint lies in the folder.
struct Place {
    // Before the engine.
    rss_bytes: u64,
    url: String,
    folder: PathBuf,
}

impl Place {
    /// Does something, and sees that the engine stays in its budget meanwhile.
    fn within_budget(&self, what: impl FnOnce()) {
        let (before, at_first) = (self.rss_bytes, memory("VmRSS:"));
        // Has the kernel forget the peak so far.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        what();
        let peak = memory("VmHWM:");
        println!("memory: {before} bytes without an engine, {at_first} at first, {peak} at most");
        assert!(peak <= before + MORE_BYTES, "{before} bytes of memory became {peak}");
    }

    fn open(&self, patience: Duration) -> Host {
        let handle = fs::read(self.folder.join("handle")).ok();
        let access = Access::Given(Kind::Minio.given(Kind::Minio.credentials()));
        let ssd = Some(SsdConfig::new(self.folder.join("ssd"), SSD_BYTES));
        Host::open(Config { access, ssd, patience, ..host::config(&self.url) }, handle)
    }

    fn keep(&self, handle: Vec<u8>) {
        fs::write(self.folder.join("handle"), handle).unwrap();
    }
}

/// Has the proxy, which the other process has, do something.
fn proxy(what: &str) {
    std::io::stdout().write_all(format!("\n{ASKS}{what}\n").as_bytes()).unwrap();
    let answered = stdin().lines().next().expect("the other process lives").unwrap();
    assert_eq!(answered, what);
}

/// How the process of an engine begins a line to the one of the proxy.
const ASKS: &str = "proxy: ";
const OUTAGE: &str = "outage";
const RESTORE: &str = "restore";

/// Runs a part in a process of its own, whose memory is that of the engine, and serves it.
fn run(part: &str, url: &str, folder: &Path, proxy: &Proxy) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_part_of_it", "--nocapture"]).env(PART, part);
    command.env(URL, url).env(FOLDER, folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut answers, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut passed = false;
    for line in BufReader::new(said).lines() {
        let line = line.unwrap();
        println!("{part}: {line}");
        passed |= line.contains("1 passed");
        let Some(what) = line.strip_prefix(ASKS) else { continue };
        match what {
            OUTAGE => proxy.outage(),
            RESTORE => proxy.restore(),
            other => panic!("{other}"),
        }
        writeln!(answers, "{what}").unwrap();
    }
    assert!(child.wait().unwrap().success() && passed, "{part}");
}

#[test]
fn a_part_of_it() {
    let Ok(part) = std::env::var(PART) else { return };
    let [url, folder] = [URL, FOLDER].map(|name| std::env::var(name).unwrap());
    let place = Place { rss_bytes: memory("VmRSS:"), url, folder: folder.into() };
    match &part[..] {
        "load" => load(&place),
        "fails" => fails(&place),
        "waits" => waits(&place),
        "whole" => whole(&place),
        other => panic!("{other}"),
    }
}

/// Gets or puts the values of keys, few at once: the test holds little. How many failed.
fn each(host: &mut Host, keys: impl Iterator<Item = u64>, puts: bool) -> u64 {
    let keys: Vec<u64> = keys.collect();
    let some = |keys: &[u64]| host.each(keys.iter().copied(), puts, value).len() as u64;
    keys.chunks(500).map(some).sum()
}

fn get(host: &mut Host, keys: impl Iterator<Item = u64>) -> u64 {
    each(host, keys, false)
}

/// Opens all tables and fills memory, with the hot keys at last.
fn fill(host: &mut Host) {
    for first in (WARM.end..KEYS).step_by(4_000) {
        assert_eq!(get(host, (first..first + 4_000).step_by(2)), 0);
    }
    assert_eq!(get(host, (0..KEYS).step_by(400).chain(0..HOT)), 0);
}

/// Nothing fails for good: what failed is there when it is asked for again.
fn get_all(host: &mut Host) {
    for first in (0..KEYS).step_by(2_000) {
        let again = (0..20).any(|_| get(host, first..first + 2_000) == 0);
        assert!(again, "{first}: still failing");
    }
}

#[test]
fn a_store_that_nobody_reaches_for_a_while() {
    let Some(server) = servers::told(servers::shared(Kind::Minio)) else { return };
    server.create_bucket("cut-off");
    let proxy = Proxy::new(&server.address, 3);
    let url = format!("s3://cut-off/state?endpoint={}", proxy.endpoint());
    let folder = tempfile::tempdir().unwrap();
    for part in ["load", "fails", "waits", "whole"] {
        run(part, &url, folder.path(), &proxy);
    }
}

fn load(place: &Place) {
    let mut host = place.open(Duration::from_secs(10));
    for first in (0..KEYS).step_by(2_000) {
        assert_eq!(each(&mut host, first..first + 2_000, true), 0);
    }
    host.session.run_control(ControlOp::Drain(host.store)).unwrap();
    place.keep(host.checkpoint());
    for _ in 0..2 {
        assert_eq!(get(&mut host, WARM), 0);
    }
    host.close();
}

fn whole(place: &Place) {
    let mut host = place.open(Duration::from_secs(10));
    get_all(&mut host);
    assert_eq!(get(&mut host, KEYS..KEYS + HOT), 0);
    host.close();
}

/// An outage that the host does not wait for.
fn fails(place: &Place) {
    let mut host = place.open(Duration::from_secs(1));
    fill(&mut host);
    proxy(OUTAGE);
    assert_eq!(get(&mut host, 0..HOT), 0, "memory has them");
    // A few are tried for a second, and not held back.
    let failed = host.each(COLD.step_by(3_000), false, value);
    let patient = failed.iter().filter(|error| error.text.contains(" times in 1."));
    assert!(patient.count() > 0, "{:?}", failed.last());
    let hits = host.engine.statistics().shards[0].ssd.hits;
    let mut failed = 0;
    place.within_budget(|| {
        let each = |first| get(&mut host, first..first + 2_000);
        failed = WARM.step_by(2_000).map(each).sum();
    });
    let served = host.engine.statistics().shards[0].ssd.hits - hits;
    println!("{failed} of {} failed, {served} reads by the cache", WARM.count());
    assert!(served > 0 && failed < WARM.count() as u64, "{served} served, {failed} failed");
    assert_eq!(each(&mut host, 0..HOT, true), 0, "memory takes them");
    proxy(RESTORE);
    get_all(&mut host);
    host.close();
}

/// Does what cannot end before the outage does.
fn until_restored(outage: Duration, what: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(outage);
            is_over.store(true, Ordering::Relaxed);
            proxy(RESTORE);
        });
        what();
        assert!(is_over.load(Ordering::Relaxed), "who served it?");
    });
}

/// An outage that the host waits for, and a checkpoint that is begun in another.
fn waits(place: &Place) {
    let seconds = std::env::var("AQUIFER_OUTAGE_S").map_or(4, |text| text.parse().unwrap());
    let outage = Duration::from_secs(seconds);
    let mut host = place.open(outage + Duration::from_secs(60));
    fill(&mut host);
    proxy(OUTAGE);
    assert_eq!(get(&mut host, 0..HOT), 0, "memory has them");
    assert_eq!(each(&mut host, KEYS..KEYS + HOT, true), 0, "memory takes them");
    place.within_budget(|| {
        until_restored(outage, || assert_eq!(host.each(COLD.step_by(30), false, value).len(), 0));
    });
    let mut handle = Vec::new();
    proxy(OUTAGE);
    place.within_budget(|| until_restored(outage, || handle = host.checkpoint()));
    get_all(&mut host);
    host.close();
    place.keep(handle);
}
