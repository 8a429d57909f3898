//! Stores without a coordinator in real object stores, and the way there that loses replies.
//!
//! Credentials come from the environment, so each test runs the engine in a process of its own.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aquifer::io::host::{End, Entry, FILE_SYSTEMS, FileSystem, Piece};
use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::engine::{Config, Engine, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName, Result};
use aquifer_tests::host::PATIENCE;
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
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    let anonymous = if kind == Kind::FakeGcs { "&credentials=anonymous" } else { "" };
    command.env(URL, format!("{}{anonymous}", kind.url(endpoint, bucket)));
    command.envs(kind.variables(kind.credentials()));
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
fn stores_commit_in_google_cloud_storage_by_themselves() {
    let kind = Kind::FakeGcs;
    let Some(server) = server(kind, "roots") else { return };
    run("servers::two_openings", kind, &server.endpoint(), "roots");
}

#[test]
fn stores_commit_in_azure_blob_storage_by_themselves() {
    let kind = Kind::Azurite;
    let Some(server) = server(kind, "roots") else { return };
    run("servers::two_openings", kind, &server.endpoint(), "roots");
}

#[test]
fn stores_that_let_several_win_or_tell_nobody_who_won_are_refused() {
    for kind in [Kind::S3s, Kind::Hdfs] {
        let Some(server) = server(kind, "several") else { continue };
        run("servers::refused", kind, &server.endpoint(), "several");
    }
}

#[test]
fn stores_commit_in_a_file_system_of_the_host_by_themselves() {
    FILE_SYSTEMS.lend("shelf", Arc::new(Shelf::default())).unwrap();
    two_openings_at("host://shelf/state");
    FILE_SYSTEMS.take_back("shelf").unwrap();
}

/// A file system of the host, in memory.
#[derive(Default)]
struct Shelf {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    drafts: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Shelf {
    fn find<T>(&self, path: &str, read: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let missing = || Error::new(ErrorKind::MissingObject, format!("{path} is not there"));
        self.objects.lock().unwrap().get(path).map(|bytes| read(bytes)).ok_or_else(missing)
    }
}

impl FileSystem for Shelf {
    fn put(&self, piece: Piece<'_>) -> Result<bool> {
        let mut drafts = self.drafts.lock().unwrap();
        let mut draft = drafts.remove(piece.path).unwrap_or_default();
        draft.extend_from_slice(piece.bytes);
        let mut objects = self.objects.lock().unwrap();
        match piece.end {
            End::GivenUp => {}
            End::More => drop(drafts.insert(piece.path.to_owned(), draft)),
            End::Last if piece.only_new && objects.contains_key(piece.path) => return Ok(false),
            End::Last => drop(objects.insert(piece.path.to_owned(), draft)),
        }
        Ok(true)
    }

    fn read(&self, path: &str, offset: u64, into: &mut [u8]) -> Result<usize> {
        self.find(path, |bytes| {
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn size(&self, path: &str) -> Result<u64> {
        self.find(path, |bytes| bytes.len() as u64)
    }

    fn list(&self, prefix: &str, add: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        let objects = self.objects.lock().unwrap();
        for (path, bytes) in objects.iter().filter(|(path, _)| path.starts_with(prefix)) {
            if !add(Entry { path, bytes: bytes.len() as u64, modified_s: None }) {
                break;
            }
        }
        Ok(())
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.objects.lock().unwrap().remove(path);
        Ok(())
    }
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

fn engine(url: &str) -> Engine {
    let io = aquifer_tests::io_mode();
    Engine::open(Config { memory_bytes: MEMORY_MIN_BYTES, io, ..Config::new(url) }).unwrap()
}

#[test]
fn two_openings() {
    let Ok(url) = std::env::var(URL) else { return };
    two_openings_at(&url);
}

fn two_openings_at(url: &str) {
    let (one, two) = (engine(url), engine(url));
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
    drop((first, second, third));
    [one, two].into_iter().for_each(|engine| engine.close(PATIENCE).unwrap());
}

#[test]
fn refused() {
    let Ok(url) = std::env::var(URL) else { return };
    let engine = engine(&url);
    let Err(error) = Host::open(&engine, 1) else { panic!("it was not refused") };
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert!(error.text.contains("keep the handles"), "{error}");
}
