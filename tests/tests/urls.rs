//! A host whose files lie in an object store signs a url for each: shards read there by themselves,
//! and by calls of the host what the url does not bring. Nobody is told what is signed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use aquifer::io::clock;
use aquifer::io::host::credentials::Secret;
use aquifer::io::host::{End, Entry, FILE_SYSTEMS, FileSystem, Piece, SignedUrl};
use aquifer::io::read_driver::IoKind;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, Result};
use aquifer_tests::host::{self, Host};
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::said;
use aquifer_tests::servers::{self, Credentials, Kind};
use log::LevelFilter;
use opendal::services::S3;
use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::runtime::{Builder, Handle};

const KIND: Kind = Kind::Minio;
/// Few enough for one table.
const KEYS: u64 = 10_000;
const HOUR: Duration = Duration::from_secs(3600);

/// All that was said, which has nothing secret.
fn said() -> String {
    let said = said::lines().join("\n");
    let Credentials { user, secret } = KIND.credentials();
    for secret in [user, secret, "X-Amz-", "hunter2"] {
        let line = said.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "it tells {secret}: {}", line.unwrap_or_default());
    }
    said
}

/// What the client of the host runs on.
fn handle() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        said::listen(LevelFilter::Trace);
        // What the HTTP client asks for even without https.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

fn client(endpoint: &str, bucket: &str) -> Operator {
    let Credentials { user, secret } = KIND.credentials();
    let builder = S3::default().endpoint(endpoint).bucket(bucket).region("us-east-1");
    let builder = builder.access_key_id(user).secret_access_key(secret).disable_config_load();
    let http = HttpTransporter::new(ReqwestTransport::new(reqwest::Client::new()));
    let operator = Operator::new(builder.disable_ec2_metadata()).unwrap();
    operator.with_context(OperationContext::new().with_http_transport(http))
}

/// How long a url lasts, and when that is said to be, in seconds from now.
type Sign = dyn Fn() -> Result<Option<(Duration, Option<i64>)>> + Send + Sync;

/// A file system of a host: a bucket, for which it signs.
struct Bucket {
    files: Operator,
    // The same at the proxy, by which calls do not go.
    signer: Operator,
    sign: Box<Sign>,
    drafts: Mutex<HashMap<usize, Vec<u8>>>,
    words: AtomicUsize,
    reads: AtomicU64,
    // Urls that were asked for, by path.
    asked: Mutex<HashMap<String, u64>>,
}

fn failed(error: &opendal::Error) -> Error {
    let kind = match error.kind() {
        opendal::ErrorKind::NotFound => ErrorKind::MissingObject,
        _ => ErrorKind::Io,
    };
    Error::new(kind, error.to_string())
}

impl FileSystem for Bucket {
    fn put(&self, piece: Piece<'_>) -> Result<bool> {
        if *piece.word == 0 {
            *piece.word = 1 + self.words.fetch_add(1, Ordering::Relaxed);
        }
        let mut drafts = self.drafts.lock().unwrap();
        let mut draft = drafts.remove(piece.word).unwrap_or_default();
        if piece.end == End::GivenUp {
            return Ok(true);
        }
        draft.extend_from_slice(piece.bytes);
        if piece.end == End::More {
            drafts.insert(*piece.word, draft);
            return Ok(true);
        }
        drop(drafts);
        let put = self.files.write_with(piece.path, draft).if_not_exists(piece.only_new);
        match handle().block_on(put.into_future()) {
            Err(error) if error.kind() == opendal::ErrorKind::ConditionNotMatch => Ok(false),
            put => put.map(|_| true).map_err(|e| failed(&e)),
        }
    }

    fn read(&self, path: &str, offset: u64, into: &mut [u8]) -> Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let range = offset..offset + into.len() as u64;
        let read = handle().block_on(self.files.read_with(path).range(range).into_future());
        let read = match read {
            Err(error) if error.kind() == opendal::ErrorKind::RangeNotSatisfied => return Ok(0),
            read => read.map_err(|e| failed(&e))?.to_vec(),
        };
        into[..read.len()].copy_from_slice(&read);
        Ok(read.len())
    }

    fn size(&self, path: &str) -> Result<u64> {
        let found = handle().block_on(self.files.stat(path));
        found.map(|found| found.content_length()).map_err(|e| failed(&e))
    }

    fn list(&self, prefix: &str, add: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        let found = handle().block_on(self.files.list_with(prefix).recursive(true).into_future());
        for entry in found.map_err(|e| failed(&e))? {
            let (path, bytes) = (format!("/{}", entry.path()), entry.metadata().content_length());
            if !add(Entry { path: &path, bytes, modified_s: None }) {
                break;
            }
        }
        Ok(())
    }

    fn delete(&self, path: &str) -> Result<()> {
        handle().block_on(self.files.delete(path)).map_err(|e| failed(&e))
    }

    fn url(&self, path: &str) -> Result<Option<SignedUrl>> {
        *self.asked.lock().unwrap().entry(path.to_owned()).or_default() += 1;
        let Some((valid, left_s)) = (self.sign)()? else { return Ok(None) };
        let signed = handle().block_on(self.signer.presign_read(path, valid));
        let url = Secret::new(signed.map_err(|e| failed(&e))?.uri().to_string());
        let signed = SignedUrl { url, expires_s: left_s.map(|left_s| clock::unix_s() + left_s) };
        said::add(format!("{signed:?}"));
        Ok(Some(signed))
    }
}

/// A bucket in a server, a proxy on the way of what is signed, and a store whose state lies there.
struct Rig {
    proxy: Proxy,
    bucket: Arc<Bucket>,
    name: &'static str,
    handle: Option<Vec<u8>>,
}

impl Rig {
    /// A store of all keys that is closed; nothing if the server is not installed, or if shards
    /// have no ring.
    fn new(
        name: &'static str,
        sign: impl Fn() -> Result<Option<(Duration, Option<i64>)>> + Send + Sync + 'static,
    ) -> Option<Self> {
        let server = servers::told(servers::shared(KIND))?;
        let _logs = handle();
        server.create_bucket(name);
        let proxy = Proxy::new(&server.address, 1);
        let bucket = Arc::new(Bucket {
            files: client(&server.endpoint(), name),
            signer: client(&proxy.endpoint(), name),
            sign: Box::new(sign),
            drafts: Mutex::default(),
            words: AtomicUsize::new(0),
            reads: AtomicU64::new(0),
            asked: Mutex::default(),
        });
        FILE_SYSTEMS.lend(name, bucket.clone()).unwrap();
        let mut rig = Self { proxy, bucket, name, handle: None };
        let mut host = rig.open();
        each(&mut host, 0..KEYS, true);
        rig.handle = Some(host.checkpoint());
        let kind = host.engine.io().kind;
        close(host);
        if kind == IoKind::Portable {
            rig.end();
            return None;
        }
        Some(rig)
    }

    fn open(&self) -> Host {
        Host::open(host::config(&format!("host://{}/state", self.name)), self.handle.clone())
    }

    fn calls(&self) -> u64 {
        self.bucket.reads.load(Ordering::Relaxed)
    }

    fn gets(&self) -> u64 {
        self.proxy.counts().requests_of("GET")
    }

    /// Of the object that it was asked for most.
    fn asked(&self) -> u64 {
        self.bucket.asked.lock().unwrap().values().copied().max().unwrap_or(0)
    }

    fn end(self) {
        FILE_SYSTEMS.take_back(self.name).unwrap();
        let _checked = said();
    }
}

/// Puts a value under each of these keys, or gets each; then all must be what was put.
fn each(host: &mut Host, keys: Range<u64>, puts: bool) {
    let failed = host.each(keys, puts, value);
    assert!(failed.is_empty(), "{failed:?}");
}

/// Gets some keys one after the other, so that none is read with its neighbour.
fn get_apart(host: &mut Host, from: u64) {
    (from..KEYS).step_by(20).for_each(|key| each(host, key..key + 1, false));
}

/// Gets one key after the other, until it has come to this; how many.
fn get_until(host: &mut Host, what: &str, so: impl Fn() -> bool) -> u64 {
    let found = (0..KEYS).find(|key| {
        each(host, *key..key + 1, false);
        std::thread::sleep(Duration::from_millis(5));
        so()
    });
    found.unwrap_or_else(|| panic!("all was read, and it did not come to this: {what}")) + 1
}

fn close(host: Host) {
    said::add(format!("{:?}", host.engine.statistics()));
    host.close();
}

fn value(key: u64) -> Vec<u8> {
    (0..40_u64).flat_map(|word| (key * 977 + word * word).to_be_bytes()).collect()
}

#[test]
fn shards_read_by_themselves_what_the_host_signs() {
    let Some(rig) = Rig::new("signs", || Ok(Some((HOUR, Some(3600))))) else { return };
    let mut host = rig.open();
    let first = get_until(&mut host, "the store is asked", || rig.gets() > 0);
    let (calls, gets) = (rig.calls(), rig.gets());
    get_apart(&mut host, first);
    let (calls, gets) = (rig.calls() - calls, rig.gets() - gets);
    assert!(gets > 100 && calls * 20 < gets, "{gets} GETs, {calls} calls");
    assert_eq!(rig.asked(), 1);
    close(host);
    rig.end();
}

#[test]
fn a_url_that_ended_is_signed_anew() {
    // What the server refuses then, and what it does not.
    let short = Duration::from_secs(2);
    for (name, valid, left_s) in [("untold", short, None), ("told", HOUR, Some(2))] {
        let Some(rig) = Rig::new(name, move || Ok(Some((valid, left_s)))) else { return };
        let mut host = rig.open();
        get_until(&mut host, "others are signed", || rig.asked() > 2);
        assert!(rig.gets() > 2, "{name}");
        close(host);
        rig.end();
    }
}

#[test]
fn what_the_store_refuses_is_read_by_calls() {
    let Some(rig) = Rig::new("refuses", || Ok(Some((HOUR, None)))) else { return };
    rig.proxy.rule(Rule::new(Fault::Answer { status: 403, retry_after: None }).method("GET"));
    let mut host = rig.open();
    let first = get_until(&mut host, "the store is asked", || rig.gets() > 0);
    let calls = rig.calls();
    get_apart(&mut host, first);
    assert!(rig.calls() > calls + 100, "{} calls", rig.calls() - calls);
    // Of a url that never served, others are not expected to.
    assert_eq!(rig.asked(), 1);
    close(host);
    rig.end();
}

#[test]
fn a_host_that_cannot_sign_is_told_once_and_called() {
    let text = "the vault is shut for https://store/a?X-Amz-Signature=hunter2, token=hunter2";
    let fails = move || Err(Error::new(ErrorKind::Io, text));
    let Some(rig) = Rig::new("shut", fails) else { return };
    let mut host = rig.open();
    get_until(&mut host, "it is asked", || rig.asked() > 0);
    each(&mut host, 0..KEYS, false);
    host.open_another(2, rig.handle.clone());
    get_until(&mut host, "it is asked again", || rig.asked() > 1);
    each(&mut host, 0..KEYS, false);
    close(host);
    assert_eq!(rig.gets(), 0);
    let said = said();
    let of_it: Vec<&str> = said.lines().filter(|line| line.contains("by themselves")).collect();
    let [line] =
        of_it.iter().filter(|line| line.contains("host://shut/state/")).collect::<Vec<_>>()[..]
    else {
        panic!("{of_it:?}")
    };
    assert!(line.contains("the vault is shut for https://store/a"), "{line}");
    rig.end();
}
