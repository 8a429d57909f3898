//! An engine whose state lives in a real object store, and the way there that breaks.
//!
//! Credentials come from the environment, so each test runs the engine in a process of its own.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use aquifer::io::dfs::Dfs;
use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::engine::{Config, Engine, IoKind, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::error::ErrorKind;
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::servers::{self, Kind, Server};
use aquifer_tests::sim::rng::Rng;
use aquifer_tools::dump::import::{Sizes, load};
use aquifer_tools::dump::{Source, export};
use aquifer_tools::objects::Root;
use indicatif::ProgressBar;

const KEY_GROUPS: u32 = 16;
/// Values of random bytes: a table of so many takes several parts.
const KEYS: u64 = 40_000;
/// And of so many none does, for a server that takes no parts.
const KEYS_FEW: u64 = 8_000;
const VALUE_BYTES: usize = 300;
/// Ranges that are answered with others.
const WRONG_RANGES: u64 = 8;
/// Gets in flight.
const BATCH: u64 = 256;
/// Set in the process of the engine: the url of its DFS.
const URL: &str = "AQUIFER_TEST_STORE";
/// And how many keys to write.
const COUNT: &str = "AQUIFER_TEST_KEYS";
/// And that blocks are to be read on the ring.
const ON_RING: &str = "AQUIFER_TEST_ON_RING";
/// An answer takes a millisecond: who waits for this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// The url of a root in a bucket, at the endpoint of the server or of a proxy in front of it.
fn url(kind: Kind, endpoint: &str, bucket: &str) -> String {
    let url = kind.url(endpoint, bucket);
    if kind == Kind::FakeGcs { format!("{url}&credentials=anonymous") } else { url }
}

/// Runs `test` of this program in a process that has the credentials of the server; what it said.
fn run(test: &str, kind: Kind, url: &str) -> String {
    let who = kind.credentials();
    run_with(test, kind, url, (&kind.variables(who), who.secret))
}

/// Runs it with other variables, among them a secret.
fn run_with(test: &str, kind: Kind, url: &str, with: (&[(&str, &str)], &str)) -> String {
    let (variables, secret) = with;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(URL, url);
    let keys = if kind == Kind::FakeGcs { KEYS_FEW } else { KEYS };
    command.env(COUNT, keys.to_string());
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    if !secret.is_empty() {
        assert!(!said.contains(secret), "the secret was told");
    }
    said
}

fn server(kind: Kind, bucket: &str) -> Option<&'static Server> {
    let server = servers::told(servers::shared(kind))?;
    server.create_bucket(bucket);
    Some(server)
}

fn lives(kind: Kind) {
    let Some(server) = server(kind, "lives") else { return };
    run("in_a_store", kind, &url(kind, &server.endpoint(), "lives"));
}

#[test]
fn state_lives_in_s3() {
    lives(Kind::Minio);
}

#[test]
fn state_lives_in_another_s3() {
    lives(Kind::S3s);
}

#[test]
fn state_lives_in_google_cloud_storage() {
    lives(Kind::FakeGcs);
}

#[test]
fn state_lives_in_azure_blob_storage() {
    lives(Kind::Azurite);
}

#[test]
fn a_signature_for_azure_brings_reads_onto_the_ring() {
    let kind = Kind::Azurite;
    let Some(server) = server(kind, "signed") else { return };
    let url = url(kind, &server.endpoint(), "signed");
    let token = servers::AZURE_SIGNED;
    // As Azure shows it.
    let shown = format!("?{token}");
    let variables = [(ON_RING, "1"), ("AZURE_STORAGE_SAS_TOKEN", shown.as_str())];
    run_with("in_a_store", kind, &url, (&variables, token));
}

#[test]
fn the_key_of_an_account_of_azure_brings_reads_onto_the_ring() {
    let kind = Kind::Azurite;
    let Some(server) = server(kind, "key") else { return };
    let servers::Credentials { user, secret } = kind.credentials();
    // It signs for accounts that are hosts, as all are but those of this server.
    let proxy = Proxy::new(&server.address, 7);
    proxy.call_it(&format!("{user}.blob.localhost"));
    let url = url(kind, &proxy.endpoint(), "key");
    let url = url.strip_suffix(&format!("/{user}")).unwrap();
    let variables = [(ON_RING, "1"), ("AZURE_STORAGE_KEY", secret)];
    run_with("in_a_store", kind, url, (&variables, secret));
}

#[test]
fn state_lives_in_hdfs() {
    lives(Kind::Hdfs);
}

/// Seldom, but for those of bodies: of replies to GETs, for others have no body to break.
fn break_way(proxy: &Proxy, faults: &[Fault], parts: u32) {
    for fault in faults {
        let rule = Rule::new(fault.clone()).chance(parts);
        let of_bodies = matches!(fault, Fault::Truncate(_) | Fault::WholeBody);
        proxy.rule(if of_bodies { rule.method("GET") } else { rule });
    }
}

fn all_were_met(proxy: &Proxy, faults: &[Fault]) {
    let counts = proxy.counts();
    println!("{counts:?}");
    for fault in faults {
        assert!(counts.faults_of(fault.name()) > 0, "{}: {counts:?}", fault.name());
    }
}

#[test]
fn state_lives_behind_a_way_that_breaks() {
    let kind = Kind::Minio;
    let Some(server) = server(kind, "breaks") else { return };
    let proxy = Proxy::new(&server.address, 7);
    let refused = Fault::Answer { status: 503, retry_after: None };
    let faults = [refused, Fault::Reset, Fault::LoseReply, Fault::Truncate(100), Fault::WholeBody];
    break_way(&proxy, &faults, 200);
    let throttled = Fault::Answer { status: 503, retry_after: Some(1) };
    proxy.rule(Rule::new(throttled).skip(50).times(1));
    run("in_a_store", kind, &url(kind, &proxy.endpoint(), "breaks"));
    all_were_met(&proxy, &faults);
}

#[test]
fn state_lives_behind_a_way_that_lies() {
    let kind = Kind::Minio;
    let Some(server) = server(kind, "lies") else { return };
    let proxy = Proxy::new(&server.address, 7);
    for at in 0..WRONG_RANGES {
        // So far apart that who asks again is told the truth, and before the dump is made: tools
        // take the first answer for what is there.
        let wrong = Fault::WrongRange { shift: 100, honest: at % 2 == 0 };
        proxy.rule(Rule::new(wrong).method("GET").path("/sst-").skip(10 + 150 * at).times(1));
    }
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    // Parts that are joined, says the status, and are not.
    let inside = Fault::ErrorInside("InternalError");
    proxy.rule(Rule::new(inside.clone()).method("POST").path("uploadId=").times(3));
    let redirect = Fault::Redirect(elsewhere.local_addr().unwrap().to_string());
    let late = Fault::ApplyLate(Duration::from_millis(500));
    proxy.rule(Rule::new(Fault::Flip).method("PUT").skip(4).times(3));
    let faults = [redirect, late, Fault::Stale, inside, Fault::Flip];
    break_way(&proxy, &faults[..2], 100);
    // Whatever is asked again is answered as it was first.
    for method in ["GET", "HEAD"] {
        proxy.rule(Rule::new(Fault::Stale).method(method));
    }
    let url = format!("{}&checksum=crc32c", url(kind, &proxy.endpoint(), "lies"));
    run("in_a_store", kind, &url);
    all_were_met(&proxy, &faults);
    assert_eq!(proxy.counts().faults_of("wrong range"), WRONG_RANGES);
    elsewhere.set_nonblocking(true).unwrap();
    elsewhere.accept().expect_err("nobody follows to another host");
}

/// The server of a kind behind a way that breaks; writes are sent by this method.
fn lives_behind_faults(kind: Kind, writes: &str) {
    let Some(server) = server(kind, "faults") else { return };
    let proxy = Proxy::new(&server.address, 7);
    let refused = Fault::Answer { status: 503, retry_after: None };
    let faults = [refused, Fault::Reset, Fault::LoseReply, Fault::Truncate(100), Fault::WholeBody];
    break_way(&proxy, &faults, 100);
    let late = Fault::ApplyLate(Duration::from_millis(500));
    proxy.rule(Rule::new(late.clone()).method(writes).skip(2).times(3));
    run("in_a_store", kind, &url(kind, &proxy.endpoint(), "faults"));
    all_were_met(&proxy, &faults);
    all_were_met(&proxy, &[late]);
}

#[test]
fn state_lives_in_another_s3_behind_a_way_that_breaks() {
    lives_behind_faults(Kind::S3s, "PUT");
}

#[test]
fn state_lives_in_google_cloud_storage_behind_a_way_that_breaks() {
    lives_behind_faults(Kind::FakeGcs, "POST");
}

#[test]
fn state_lives_in_azure_blob_storage_behind_a_way_that_breaks() {
    lives_behind_faults(Kind::Azurite, "PUT");
}

#[test]
fn state_lives_in_hdfs_behind_a_way_that_breaks() {
    lives_behind_faults(Kind::Hdfs, "PUT");
}

#[test]
fn an_object_that_is_missed_for_a_while_after_it_was_put_is_waited_for() {
    let kind = Kind::Minio;
    let Some(server) = server(kind, "missed") else { return };
    let proxy = Proxy::new(&server.address, 7);
    // First the manifest, again and again; later reads of tables, of targets that served before.
    let missing = || Rule::new(Fault::Answer { status: 404, retry_after: None }).method("GET");
    proxy.rule(missing().after_put().times(8));
    proxy.rule(missing().after_put().skip(200).times(40));
    run("in_a_store", kind, &url(kind, &proxy.endpoint(), "missed"));
    assert_eq!(proxy.counts().faults_of("answer"), 48);
}

#[test]
fn a_get_that_takes_long_is_sent_once_more() {
    let kind = Kind::Minio;
    let Some(server) = server(kind, "hedged") else { return };
    let proxy = Proxy::new(&server.address, 7);
    // Fewer than the hundredth that may be late.
    let slow = Rule::new(Fault::Delay(Duration::from_secs(3)));
    proxy.rule(slow.method("GET").skip(500).chance(40).times(20));
    run("hedges", kind, &url(kind, &proxy.endpoint(), "hedged"));
    assert!(proxy.counts().faults_of("delay") > 0);
}

/// Reads what it wrote, and hedges.
#[test]
fn hedges() {
    let Ok(url) = std::env::var(URL) else { return };
    let (thread, io) = (ShardThread::Owned, aquifer_tests::io_mode());
    let config = Config { memory_bytes: MEMORY_MIN_BYTES, thread, io, ..Config::new(&url) };
    let config = Config { hedge: true, ..config };
    let first = Engine::open(config.clone()).unwrap();
    let mut host = Host::open(&first, 1, None);
    host.write(1);
    let handle = host.checkpoint();
    drop((host, first));
    let second = Engine::open(config).unwrap();
    let mut host = Host::open(&second, 1, Some(handle));
    for _ in 0..3 {
        host.read(1);
    }
    let http = second.statistics().shards[0].http;
    println!("{http:?}");
    if second.io().kind == IoKind::Uring {
        assert!(http.hedges > 0 && http.hedges_won > 0, "{http:?}");
        assert!(http.hedges * 20 <= http.requests, "{http:?}");
    }
}

#[test]
fn every_request_is_counted() {
    let kind = Kind::Minio;
    let Some(server) = server(kind, "counted") else { return };
    let proxy = Proxy::new(&server.address, 7);
    let said = run("counts", kind, &url(kind, &proxy.endpoint(), "counted"));
    let counts = proxy.counts();
    let of = |method: &str| counts.requests_of(method);
    let seen = [of("GET"), of("PUT") + of("POST"), of("HEAD"), of("DELETE")];
    assert!(said.contains(&format!("counted: {seen:?}")), "{seen:?}, {said}");
}

/// Writes and reads through two engines, and tells what they counted.
#[test]
fn counts() {
    let Ok(url) = std::env::var(URL) else { return };
    let first = engine(&url, ShardThread::Owned);
    let mut host = Host::open(&first, 1, None);
    host.write(1);
    host.drain();
    let handle = host.checkpoint();
    let mut all = first.statistics().requests();
    drop((host, first));
    let second = engine(&url, ShardThread::Owned);
    let mut host = Host::open(&second, 1, Some(handle));
    host.read(1);
    host.drain();
    let statistics = second.statistics();
    all.add(&statistics.requests());
    println!("{all:?}");
    assert!(all.puts > 0 && all.parts > 0, "{all:?}");
    assert!(all.put_bytes + all.part_bytes > KEYS * VALUE_BYTES as u64 * 6 / 7, "{all:?}");
    let gets = [all.gets + all.lists, all.puts + all.parts, all.heads, all.deletes];
    println!("counted: {gets:?}");
    let reads = statistics.shards[0].counters.coalescer;
    assert!(all.gets >= reads.reads && all.get_bytes >= reads.read_bytes, "{all:?}, {reads:?}");
}

/// A host of one store.
struct Host {
    session: Session,
    store: StoreId,
    states: StateTable,
    keys: u64,
}

impl Host {
    fn open(engine: &Engine, number: u64, handle: Option<Vec<u8>>) -> Self {
        let mut session = engine.session(0).unwrap();
        let mut states = StateTable::default();
        states.declare("v", StateKind::Value).unwrap();
        let handles = handle.into_iter().collect();
        let config = StoreConfig { states, handles, ..StoreConfig::new(number, KEY_GROUPS) };
        let (store, states) = session.open_store(config).unwrap();
        let keys = std::env::var(COUNT).unwrap().parse().unwrap();
        Self { session, store, states, keys }
    }

    /// Asks for each key what `request` says, and hands each answer to `seen`.
    fn each(
        &mut self,
        request: impl Fn(&StateTable, StoreId, &mut Batch, u64),
        mut seen: impl FnMut(u64, &Status, &[u8]),
    ) {
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        let (mut next, mut ended) = (0, 0);
        while ended < self.keys {
            while next < self.keys && next - ended < BATCH {
                request(&self.states, self.store, &mut batch, next);
                next += 1;
            }
            self.session.submit(&mut batch).unwrap();
            let some = self.session.poll(Some(PATIENCE), &mut done).unwrap();
            assert!(some > 0, "{ended} of {} were answered", self.keys);
            ended += some as u64;
            for item in &done.items {
                if let Status::Failed { index } = item.status {
                    panic!("{}: {}", item.user_data, done.errors[index as usize]);
                }
                seen(item.user_data, &item.status, done.value(item));
            }
        }
    }

    fn write(&mut self, round: u64) {
        self.each(
            |states, store, batch, key| {
                let bytes = key.to_be_bytes();
                let target =
                    Target { key: Key::new(&bytes, KEY_GROUPS), namespace: &[], user_data: key };
                let state = states.value(store, "v").unwrap();
                match expected(key, round) {
                    Some(value) => state.request_put(batch, &target, &value).unwrap(),
                    None => state.request_delete(batch, &target).unwrap(),
                }
            },
            |_, _, _| {},
        );
    }

    fn read(&mut self, round: u64) {
        self.each(
            |states, store, batch, key| {
                let bytes = key.to_be_bytes();
                let target =
                    Target { key: Key::new(&bytes, KEY_GROUPS), namespace: &[], user_data: key };
                states.value(store, "v").unwrap().request_get(batch, &target).unwrap();
            },
            |key, status, value| match expected(key, round) {
                Some(expected) => assert_eq!(value, expected, "{key}: {status:?}"),
                None => assert_eq!(*status, Status::Absent, "{key}"),
            },
        );
    }

    fn drain(&mut self) {
        self.session.run_control(ControlOp::Drain(self.store)).unwrap();
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        self.session.checkpoint(self.store).unwrap()
    }

    fn release(&mut self, handle: &[u8]) {
        self.session.run_control(ControlOp::Release(self.store, handle.to_vec())).unwrap();
    }
}

/// What a key has after a round: some keys are deleted in it.
fn expected(key: u64, round: u64) -> Option<Vec<u8>> {
    if (key + round).is_multiple_of(7) {
        return None;
    }
    let mut rng = Rng::new(key << 8 | round);
    Some((0..VALUE_BYTES).map(|_| rng.next_u64() as u8).collect())
}

fn engine(url: &str, thread: ShardThread) -> Engine {
    let io = aquifer_tests::io_mode();
    Engine::open(Config { memory_bytes: MEMORY_MIN_BYTES, thread, io, ..Config::new(url) }).unwrap()
}

/// Writes, cuts, restores elsewhere, reads everything, and leaves nothing.
#[test]
fn in_a_store() {
    let Ok(url) = std::env::var(URL) else { return };
    for (number, thread) in [(1, ShardThread::Owned), (2, ShardThread::Inline)] {
        let first = engine(&url, thread);
        let mut host = Host::open(&first, number, None);
        host.write(1);
        let old = host.checkpoint();
        host.write(2);
        let new = host.checkpoint();
        host.release(&old);
        host.read(2);
        drop((host, first));

        let second = engine(&url, thread);
        let mut host = Host::open(&second, number, Some(new.clone()));
        host.read(2);
        let listed = host.session.run_control(ControlOp::List(new.clone())).unwrap();
        let ControlResult::Objects(objects) = listed else { panic!("{listed:?}") };
        assert!(objects.len() > 1, "{objects:?}");
        let dfs = Dfs::open(&url).unwrap();
        for object in &objects {
            assert_eq!(patiently(|| dfs.size(&object.name)).unwrap(), object.bytes);
            let headers = patiently(|| dfs.content_headers(&object.name)).unwrap();
            assert_eq!(headers.is_empty(), url.starts_with("webhdfs:"), "{headers:?}");
        }
        let statistics = second.statistics();
        assert!(statistics.dfs.gets > 0, "{:?}", statistics.dfs);
        // Those that sign urls are read by the ring itself, and those that need no signature.
        let http = statistics.shards[0].http;
        println!("{thread:?}: {http:?}");
        let signs = ["s3:", "gs:"].iter().any(|scheme| url.starts_with(scheme));
        let rings = thread == ShardThread::Owned && second.io().kind == IoKind::Uring;
        if rings && (signs || std::env::var_os(ON_RING).is_some()) {
            assert!(http.requests > 0 && http.bytes > 0, "{http:?}");
        }
        drop((host, second));
        goes_in_and_out(&url, &new);
    }
}

/// What a dump of a checkpoint brings back into the store is the same.
fn goes_in_and_out(url: &str, handle: &[u8]) {
    let export = |handle: &[u8]| {
        let source = Source::load(Root::of_url(url).unwrap(), &[handle.to_vec()]).unwrap();
        let mut dump = Vec::new();
        export::to_output(&source, &mut dump, &ProgressBar::hidden()).unwrap();
        dump
    };
    let (dump, folder) = (export(handle), tempfile::tempdir().unwrap());
    let (dfs, path) = (Dfs::open(url).unwrap(), folder.path().join("handle"));
    load(&dump[..], &dfs, 9, &path, Sizes::default(), &ProgressBar::hidden()).unwrap();
    assert!(export(&std::fs::read(path).unwrap()) == dump);
}

/// Tries again what failed for the moment.
fn patiently<T>(mut ask: impl FnMut() -> aquifer::types::Result<T>) -> aquifer::types::Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(error) if error.kind == ErrorKind::Io && begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            ended => return ended,
        }
    }
}
