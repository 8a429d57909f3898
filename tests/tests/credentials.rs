//! Who an engine is to its store, as its host says: by options, or when it is asked, and anew when
//! the store lets nobody in any more that it let in before. The environment names nobody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aquifer::io::dfs::Dfs;
use aquifer::io::host::credentials::{CredentialSource, Given, Lease, SOURCES, Secret};
use aquifer::io::retry::patiently;
use aquifer::shard::engine::{Access, Config};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName, Result};
use aquifer_tests::host::{self, Host, PATIENCE};
use aquifer_tests::proxy::Proxy;
use aquifer_tests::servers::{self, Credentials, Kind, start_beside};

const KEYS: u64 = 20_000;
/// Whom the second server lets in.
const SECOND: Credentials = Credentials { user: "second-user", secret: "second-secret-of-tests" };

fn value(key: u64) -> Vec<u8> {
    (0..40_u64).flat_map(|word| (key * 977 + word * word).to_be_bytes()).collect()
}

fn name() -> ObjectName {
    let path = "0000000000000001/0000000000000000-00000000000000000000000000000007/\
                manifest-0000000000000000-0000000000000007";
    path.parse().unwrap()
}

fn open(url: &str, access: Access, handle: Option<Vec<u8>>) -> Host {
    Host::open(Config { access, ..host::config(url) }, handle)
}

fn put(host: &mut Host) {
    assert_eq!(host.each(0..KEYS, true, value).len(), 0);
}

fn get(host: &mut Host) {
    assert_eq!(host.each(0..KEYS, false, value).len(), 0);
}

fn options_let_in(kind: Kind) -> Option<String> {
    let server = servers::told(servers::shared(kind))?;
    server.create_bucket("options");
    let url = kind.url(&server.endpoint(), "options");
    let access = Access::Given(kind.given(kind.credentials()));
    let mut host = open(&url, access.clone(), None);
    put(&mut host);
    let handle = host.checkpoint();
    host.close();
    let mut host = open(&url, access, Some(handle));
    get(&mut host);
    host.close();
    Some(url)
}

#[test]
fn a_bucket_that_is_not_there_is_told_from_one_that_holds_nothing() {
    for kind in servers::KINDS {
        let Some(server) = servers::told(servers::shared(kind)) else { continue };
        server.create_bucket("holds-nothing");
        let list = |bucket| {
            let access = Access::Given(kind.given(kind.credentials()));
            let url = kind.url(&server.endpoint(), bucket);
            patiently(|| Dfs::open_as(&url, &access)?.list(1)).map(|found| found.len())
        };
        assert_eq!(list("holds-nothing").unwrap(), 0, "{kind:?}");
        match list("is-not-there") {
            // A folder as any other.
            Ok(0) if kind == Kind::Hdfs => {}
            Err(error) => assert!(error.text.contains("bucket"), "{kind:?}: {error}"),
            other => panic!("{kind:?}: {other:?}"),
        }
    }
}

#[test]
fn options_alone_let_an_engine_into_google_cloud_storage() {
    options_let_in(Kind::FakeGcs);
}

#[test]
fn options_alone_let_an_engine_into_hdfs() {
    options_let_in(Kind::Hdfs);
}

#[test]
fn options_alone_let_an_engine_into_azure_blob_storage() {
    let Some(url) = options_let_in(Kind::Azurite) else { return };
    let strangers = Credentials { secret: "c3RyYW5nZXJz", ..Kind::Azurite.credentials() };
    let strangers = Access::Given(Kind::Azurite.given(strangers));
    let error = Dfs::open_as(&url, &strangers).unwrap().size(&name()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io, "{error}");
    assert!(!error.text.contains("c3RyYW5nZXJz"), "{error}");
}

#[test]
fn options_alone_let_an_engine_into_s3() {
    let Some(url) = options_let_in(Kind::Minio) else { return };
    let given = |who| Kind::Minio.given(who);
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
        Ok(Lease { given: Kind::Minio.given(*self.who.lock().unwrap()), expires_s: None })
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

    let mut host = open(&url, access.clone(), None);
    put(&mut host);
    let handle = host.checkpoint();
    host.close();
    let mut host = open(&url, access.clone(), Some(handle));
    get(&mut host);
    let before = vault.asked.load(Ordering::Relaxed);
    assert!(before > 0);
    // Nobody who was let in before is let in now.
    *vault.who.lock().unwrap() = SECOND;
    proxy.stand_before(&second.address);
    get(&mut host);
    put(&mut host);
    let handle = host.checkpoint();
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
    let again = patiently(|| dfs.size(&name()));
    assert_eq!(again.unwrap_err().kind, ErrorKind::MissingObject);
    dfs.close(PATIENCE).unwrap();
    let mut host = open(&url, access, Some(handle));
    get(&mut host);
    host.close();
    SOURCES.take_back("vault").unwrap();
}
