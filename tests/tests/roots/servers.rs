//! Stores without a coordinator in real object stores, and the way there that loses replies.
//!
//! Credentials come from the environment, so each test runs the engine in a process of its own.

use std::process::Command;
use std::time::Duration;

use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::engine::{Config, Engine, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::error::ErrorKind;
use aquifer::types::{ObjectName, Result};
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::servers::{self, Kind, Server};

const KEY_GROUPS: u32 = 16;
/// Set in the process of the engine: the url of its DFS.
const URL: &str = "AQUIFER_TEST_ROOTS";

fn server(kind: Kind, bucket: &str) -> Option<&'static Server> {
    let server = servers::told(servers::shared(kind))?;
    server.create_bucket(bucket);
    Some(server)
}

/// Runs `test` of this program in a process that has the credentials of the server.
fn run(test: &str, kind: Kind, endpoint: &str, bucket: &str) {
    let servers::Credentials { user, secret } = kind.credentials();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command.env(URL, format!("s3://{bucket}/state?endpoint={endpoint}"));
    command.env("AWS_ACCESS_KEY_ID", user).env("AWS_SECRET_ACCESS_KEY", secret);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn stores_commit_in_s3_by_themselves_over_a_way_that_loses_replies() {
    let kind = Kind::Minio;
    let Some(server) = server(kind, "roots") else { return };
    let proxy = Proxy::new(&server.address, 7);
    let soon = Duration::from_millis(500);
    let faults = [Fault::LoseReply, Fault::ApplyLate(soon), Fault::ApplyAgain(soon)];
    for (fault, skip) in faults.clone().into_iter().zip([0, 2, 1]) {
        proxy.rule(Rule::new(fault).method("PUT").path("/root-").skip(skip).times(2));
    }
    run("servers::two_openings", kind, &proxy.endpoint(), "roots");
    let counts = proxy.counts();
    for fault in faults {
        assert!(counts.faults_of(fault.name()) > 0, "{}: {counts:?}", fault.name());
    }
}

#[test]
fn a_root_that_is_missed_for_a_while_after_it_was_put_is_the_openings_own() {
    let kind = Kind::Minio;
    let Some(server) = server(kind, "stale") else { return };
    let proxy = Proxy::new(&server.address, 7);
    // Those that openings look for, do not find, and put: the first, and those behind the newest.
    for number in [1, 6, 9] {
        let root = ObjectName::root(1, number).to_string();
        proxy.rule(Rule::new(Fault::Stale).method("GET").path(&root).times(4));
    }
    run("servers::two_openings", kind, &proxy.endpoint(), "stale");
    // The first answer of each was true.
    assert_eq!(proxy.counts().faults_of("stale"), 9);
}

#[test]
fn a_store_that_lets_several_win_is_refused() {
    let kind = Kind::S3s;
    let Some(server) = server(kind, "several") else { return };
    run("servers::refused", kind, &server.endpoint(), "several");
}

struct Host {
    session: Session,
    store: StoreId,
    states: StateTable,
}

impl Host {
    fn open(engine: &Engine, host_epoch: u64) -> Result<Self> {
        let mut session = engine.session(0)?;
        let mut states = StateTable::default();
        states.declare("v", StateKind::Value)?;
        let config = StoreConfig { host_epoch, states, keep: 2, ..StoreConfig::new(1, KEY_GROUPS) };
        let (store, states) = session.open_store(config)?;
        Ok(Self { session, store, states })
    }

    fn run(&mut self, write: Option<u64>) -> Option<u64> {
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        let key = Key::new(b"key", KEY_GROUPS);
        let target = Target { key, namespace: &[], user_data: 0 };
        let state = self.states.value(self.store, "v").unwrap();
        match write {
            Some(value) => state.request_put(&mut batch, &target, &value.to_le_bytes()).unwrap(),
            None => state.request_get(&mut batch, &target).unwrap(),
        }
        self.session.submit(&mut batch).unwrap();
        while self.session.poll(None, &mut done).unwrap() == 0 {}
        let item = &done.items[0];
        assert!(!matches!(item.status, Status::Failed { .. }), "{:?}", done.errors);
        let value = done.value(item);
        (!value.is_empty()).then(|| u64::from_le_bytes(value.try_into().unwrap()))
    }

    fn commit(&mut self, value: u64) -> Result<Vec<u8>> {
        self.run(Some(value));
        self.session.checkpoint(self.store)
    }
}

fn engine(url: String) -> Engine {
    let io = aquifer_tests::io_mode();
    Engine::open(Config { memory_bytes: MEMORY_MIN_BYTES, io, ..Config::new(url) }).unwrap()
}

#[test]
fn two_openings() {
    let Ok(url) = std::env::var(URL) else { return };
    let (one, two) = (engine(url.clone()), engine(url));
    let mut first = Host::open(&one, 1).unwrap();
    assert_eq!(first.run(None), None);
    for value in 1..=4 {
        first.commit(value).unwrap();
    }
    first.run(Some(100));
    let mut second = Host::open(&two, 2).unwrap();
    assert_eq!(second.run(None), Some(4), "what was committed last");
    second.commit(5).unwrap();
    let error = first.commit(101).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
    assert!(error.text.contains("of host epoch 2"), "{error}");
    second.commit(6).unwrap();
    let mut third = Host::open(&one, 3).unwrap();
    assert_eq!(third.run(None), Some(6));
    third.commit(7).unwrap();
}

#[test]
fn refused() {
    let Ok(url) = std::env::var(URL) else { return };
    let engine = engine(url);
    let Err(error) = Host::open(&engine, 1) else { panic!("it was not refused") };
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert!(error.text.contains("keep the handles"), "{error}");
}
