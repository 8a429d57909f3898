//! Who an engine is to its store, as its host says: by options, or when it is asked, and anew when
//! the store lets nobody in any more that it let in before. The environment names nobody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aquifer::io::dfs::Dfs;
use aquifer::io::host::credentials::{CredentialSource, Given, Lease, SOURCES, Secret};
use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::engine::{Access, Config, Engine, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName, Result};
use aquifer_tests::io_mode;
use aquifer_tests::proxy::Proxy;
use aquifer_tests::servers::{self, Credentials, Kind, start_beside};

const KEY_GROUPS: u32 = 16;
const KEYS: u64 = 20_000;
/// An answer takes a millisecond: who waits for this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(120);
/// Whom the second server lets in.
const SECOND: Credentials = Credentials { user: "second-user", secret: "second-secret-of-tests" };

fn given(who: Credentials) -> Given {
    let mut given = Given::default();
    given.set("AWS_ACCESS_KEY_ID", Secret::new(who.user)).unwrap();
    given.set("AWS_SECRET_ACCESS_KEY", Secret::new(who.secret)).unwrap();
    given
}

struct Host {
    session: Session,
    store: StoreId,
    states: StateTable,
    engine: Engine,
}

impl Host {
    fn open(url: &str, access: Access, handle: Option<Vec<u8>>) -> Self {
        let config =
            Config { access, memory_bytes: MEMORY_MIN_BYTES, io: io_mode(), ..Config::new(url) };
        let engine = Engine::open(config).unwrap();
        let mut session = engine.session(0).unwrap();
        let mut states = StateTable::default();
        states.declare("v", StateKind::Value).unwrap();
        let handles = handle.into_iter().collect();
        let config = StoreConfig { states, handles, ..StoreConfig::new(1, KEY_GROUPS) };
        let (store, states) = session.open_store(config).unwrap();
        Self { session, store, states, engine }
    }

    /// Puts a value under each key, or gets each; then all must be what was put.
    fn each(&mut self, puts: bool) {
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        for key in 0..KEYS {
            let bytes = key.to_be_bytes();
            let key_of = Key::new(&bytes, KEY_GROUPS);
            let target = Target { key: key_of, namespace: &[], user_data: key };
            let state = self.states.value(self.store, "v").unwrap();
            if puts {
                state.request_put(&mut batch, &target, &value(key)).unwrap();
            } else {
                state.request_get(&mut batch, &target).unwrap();
            }
        }
        let mut seen = 0;
        while seen < KEYS {
            self.session.submit(&mut batch).unwrap();
            assert!(self.session.poll(Some(PATIENCE), &mut done).unwrap() > 0, "requests hang");
            for item in &done.items {
                seen += 1;
                let status = if puts { Status::Done } else { Status::Value };
                assert_eq!(item.status, status, "{:?}", done.errors);
                assert!(puts || done.value(item) == value(item.user_data), "{}", item.user_data);
            }
        }
    }

    fn close(self) {
        drop(self.session);
        self.engine.close(PATIENCE).unwrap();
    }
}

fn value(key: u64) -> Vec<u8> {
    (0..40_u64).flat_map(|word| (key * 977 + word * word).to_be_bytes()).collect()
}

fn name() -> ObjectName {
    let path = "0000000000000001/0000000000000000-00000000000000000000000000000007/\
                manifest-0000000000000000-0000000000000007";
    path.parse().unwrap()
}

#[test]
fn options_alone_let_an_engine_in() {
    let kind = Kind::Minio;
    let Some(server) = servers::told(servers::shared(kind)) else { return };
    server.create_bucket("options");
    let url = format!("s3://options/state?endpoint={}", server.endpoint());
    let access = Access::Given(given(kind.credentials()));
    let mut host = Host::open(&url, access.clone(), None);
    host.each(true);
    let handle = host.session.checkpoint(host.store).unwrap();
    host.close();
    let mut host = Host::open(&url, access, Some(handle));
    host.each(false);
    host.close();
    let strangers = Dfs::open_as(&url, &Access::Given(given(SECOND))).unwrap();
    let error = strangers.size(&name()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.text.contains("not expired") && !error.text.contains(SECOND.secret), "{error}");
    let both = format!("{url}&credentials=anonymous");
    let error = Dfs::open_as(&both, &Access::Given(given(SECOND))).unwrap_err();
    assert!(error.text.contains("leave one out"), "{error}");
    let mut half = Given::default();
    half.set("AWS_SESSION_TOKEN", Secret::new("hunter2")).unwrap();
    let error = Dfs::open_as(&url, &Access::Given(half)).unwrap_err();
    assert!(error.text.contains("AWS_SECRET_ACCESS_KEY"), "{error}");
    assert!(!error.text.contains("hunter2"), "{error}");
}

/// Gives what it holds, and counts how often.
struct Vault {
    who: Mutex<Credentials>,
    asked: AtomicU64,
    fails: AtomicBool,
}

impl CredentialSource for Vault {
    fn credentials(&self, place: &str) -> Result<Lease> {
        assert_eq!(place, "s3://rotation/state/");
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Io, "the vault is closed, token=hunter2"));
        }
        Ok(Lease { given: given(*self.who.lock().unwrap()), expires_s: None })
    }
}

#[test]
fn an_engine_goes_on_when_its_credentials_were_exchanged() {
    let kind = Kind::Minio;
    let Some(first) = servers::told(servers::start(kind)) else { return };
    first.create_bucket("rotation");
    let second = start_beside(&first, SECOND);
    let proxy = Proxy::new(&first.address, 1);
    let url = format!("s3://rotation/state?endpoint={}", proxy.endpoint());
    let (asked, fails) = (AtomicU64::new(0), AtomicBool::new(false));
    let vault = Arc::new(Vault { who: Mutex::new(kind.credentials()), asked, fails });
    SOURCES.lend("vault", vault.clone()).unwrap();
    let access = Access::Source("vault".to_owned());

    let mut host = Host::open(&url, access.clone(), None);
    host.each(true);
    let handle = host.session.checkpoint(host.store).unwrap();
    host.close();
    let mut host = Host::open(&url, access.clone(), Some(handle));
    host.each(false);
    let before = vault.asked.load(Ordering::Relaxed);
    assert!(before > 0);
    // Nobody who was let in before is let in now.
    *vault.who.lock().unwrap() = SECOND;
    proxy.stand_before(&second.address);
    host.each(false);
    host.each(true);
    let handle = host.session.checkpoint(host.store).unwrap();
    assert!(vault.asked.load(Ordering::Relaxed) > before, "it was asked for others");
    host.close();

    // A source that fails is told, and asked again.
    vault.fails.store(true, Ordering::Relaxed);
    let dfs = Dfs::open_as(&url, &access).unwrap();
    let error = dfs.size(&name()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.text.contains("credentials for s3://rotation/state/: the vault is"), "{error}");
    assert!(!error.text.contains("hunter2"), "{error}");
    vault.fails.store(false, Ordering::Relaxed);
    assert_eq!(dfs.size(&name()).unwrap_err().kind, ErrorKind::MissingObject);
    dfs.close(PATIENCE).unwrap();
    let mut host = Host::open(&url, access, Some(handle));
    host.each(false);
    host.close();
    SOURCES.take_back("vault").unwrap();
}
