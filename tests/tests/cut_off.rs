//! A store that nobody reaches for a while: what memory and the cache on the SSD have is served,
//! the rest fails or waits, as the host chose, nothing is lost, and memory stays in its budget.
//! `AQUIFER_OUTAGE_S=60` has it last for a minute.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
/// What neither has, but for what they happened to keep: every tenth of these.
const COLD: std::ops::Range<u64> = 50_000..80_000;
const SSD_BYTES: u64 = 24 << 20;
/// What an outage may add to the memory of the process, where engine, test and proxy share it:
/// some thousand answers, as the session has them and as the test has them.
const BESIDE_BYTES: u64 = 24 << 20;

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

/// Does something, and sees that memory grows by little meanwhile.
fn within_budget(what: impl FnOnce()) {
    // Has the kernel forget the peak so far.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    what();
    let peak = memory("VmHWM:");
    println!("memory: {before} bytes before, {peak} at most");
    assert!(peak <= before + BESIDE_BYTES, "{before} bytes of memory became {peak}");
}

struct Place {
    url: String,
    folder: tempfile::TempDir,
}

impl Place {
    fn open(&self, patience: Duration, handle: Option<Vec<u8>>) -> Host {
        let access = Access::Given(Kind::Minio.given(Kind::Minio.credentials()));
        let ssd = Some(SsdConfig::new(self.folder.path(), SSD_BYTES));
        Host::open(Config { access, ssd, patience, ..host::config(&self.url) }, handle)
    }
}

fn get(host: &mut Host, keys: impl Iterator<Item = u64>) -> u64 {
    host.each(keys, false, value).len() as u64
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
    let place = Place { url, folder: tempfile::tempdir().unwrap() };
    let seconds = std::env::var("AQUIFER_OUTAGE_S").map_or(4, |text| text.parse().unwrap());
    let outage = Duration::from_secs(seconds);

    let mut host = place.open(Duration::from_secs(10), None);
    for first in (0..KEYS).step_by(5_000) {
        assert_eq!(host.each(first..first + 5_000, true, value).len(), 0);
    }
    host.session.run_control(ControlOp::Drain(host.store)).unwrap();
    let handle = host.checkpoint();
    for _ in 0..2 {
        assert_eq!(get(&mut host, WARM), 0);
    }
    host.close();

    fails(&place, &proxy, handle.clone());
    let handle = waits(&place, &proxy, outage, handle);
    let mut host = place.open(Duration::from_secs(10), Some(handle));
    get_all(&mut host);
    assert_eq!(get(&mut host, KEYS..KEYS + HOT), 0);
    host.close();
}

/// An outage that the host does not wait for.
fn fails(place: &Place, proxy: &Proxy, handle: Vec<u8>) {
    let mut host = place.open(Duration::from_secs(1), Some(handle));
    fill(&mut host);
    proxy.outage();
    assert_eq!(get(&mut host, 0..HOT), 0, "memory has them");
    // A few are tried for a second, and not held back.
    let failed = host.each(COLD.step_by(3_000), false, value);
    let patient = failed.iter().filter(|error| error.text.contains(" times in 1."));
    assert!(patient.count() > 0, "{:?}", failed.last());
    let hits = host.engine.statistics().shards[0].ssd.hits;
    let mut failed = 0;
    within_budget(|| {
        let each = |first| get(&mut host, first..first + 2_000);
        failed = WARM.step_by(2_000).map(each).sum();
    });
    let served = host.engine.statistics().shards[0].ssd.hits - hits;
    println!("{failed} of {} failed, {served} reads by the cache", WARM.count());
    assert!(served > 0 && failed < WARM.count() as u64, "{served} served, {failed} failed");
    assert_eq!(host.each(0..HOT, true, value).len(), 0, "memory takes them");
    proxy.restore();
    get_all(&mut host);
    host.close();
}

/// Does what cannot end before the outage does.
fn until_restored(proxy: &Proxy, outage: Duration, what: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(outage);
            is_over.store(true, Ordering::Relaxed);
            proxy.restore();
        });
        what();
        assert!(is_over.load(Ordering::Relaxed), "who served it?");
    });
}

/// An outage that the host waits for; the handle of a checkpoint that was begun in it.
fn waits(place: &Place, proxy: &Proxy, outage: Duration, handle: Vec<u8>) -> Vec<u8> {
    let mut host = place.open(outage + Duration::from_secs(60), Some(handle));
    fill(&mut host);
    proxy.outage();
    assert_eq!(get(&mut host, 0..HOT), 0, "memory has them");
    assert_eq!(host.each(KEYS..KEYS + HOT, true, value).len(), 0, "memory takes them");
    within_budget(|| {
        until_restored(proxy, outage, || assert_eq!(get(&mut host, COLD.step_by(10)), 0));
    });
    let mut handle = Vec::new();
    proxy.outage();
    within_budget(|| until_restored(proxy, outage, || handle = host.checkpoint()));
    get_all(&mut host);
    host.close();
    handle
}
