//! What lets one into a store or a compactor is told nowhere, whatever goes wrong on the way: not
//! in logs of any level, errors, handles, statistics, metrics, reports, or files in the root.
//!
//! Credentials come from the environment, so engines run in processes of their own; or from the
//! host, by options or when it is asked.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Instant;

use aquifer::io::dfs::Dfs;
use aquifer::io::host::credentials::{CredentialSource, Given, Lease, SOURCES};
use aquifer::io::wire::SECRET_VARIABLE;
use aquifer::shard::engine::{Access, Config};
use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer::state::request::{Batch, Completions};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName, Result};
use aquifer_tests::host::{self, Host, PATIENCE};
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::servers::{self, Kind, Server};
use aquifer_tests::sim::rng::Rng;
use log::{LevelFilter, Log, Metadata, Record};

const TOKEN: &str = "canary-token-5ca1ab1e";
const COMPACTOR: &str = "canary-compactor-0ddba11";
/// One that the server does not know.
const WRONG: &str = "canary-wrong-secret-f00d";
/// What only a signed url has.
const SIGNED: [&str; 2] = ["X-Amz-Signature", "X-Amz-Credential"];

/// Set in the process of an engine: the server, and whether it lets the engine in.
const SERVER: &str = "AQUIFER_CANARY_SERVER";
const WELCOME: &str = "AQUIFER_CANARY_WELCOME";
/// How the credentials come that `GIVEN` has: by options, or by a source; else as all tools read
/// them.
const WAY: &str = "AQUIFER_CANARY_WAY";
const GIVEN: &str = "AQUIFER_CANARY_GIVEN";
const WAYS: [&str; 3] = ["environment", "options", "source"];
const BUCKET: &str = "canary";
const KEYS: u64 = 4_000;

/// Says all that anybody logs.
struct ToStderr;

impl Log for ToStderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}: {}\n", record.level(), record.target(), record.args());
        drop(std::io::stderr().write_all(line.as_bytes()));
    }

    fn flush(&self) {}
}

fn url(address: &str) -> String {
    format!("s3://{BUCKET}/state?endpoint=http://{address}")
}

/// Gives what it has, now and then a line too much, for less than the store may keep a request.
struct Vault(AtomicU64);

impl CredentialSource for Vault {
    fn credentials(&self, place: &str) -> Result<Lease> {
        eprintln!("asked for {place}");
        let text = std::env::var(GIVEN).expect("set with the way");
        match self.0.fetch_add(1, Ordering::Relaxed) % 3 {
            1 => Err(of_the_moment(&Error::invalid(format!("it is shut for token={TOKEN}")))),
            2 => Given::parse(format!("{text}\n{TOKEN}").as_bytes())
                .map(|given| Lease { given, expires_s: None })
                .map_err(|error| of_the_moment(&error)),
            _ => {
                let lease = Lease { given: Given::parse(text.as_bytes())?, expires_s: None };
                eprintln!("{lease:?}");
                Ok(lease)
            }
        }
    }
}

fn of_the_moment(error: &Error) -> Error {
    Error::new(ErrorKind::Io, &error.text)
}

fn access() -> Access {
    static LENT: Once = Once::new();
    match std::env::var(WAY).as_deref() {
        Ok("options") => {
            let text = std::env::var(GIVEN).expect("set with the way");
            Access::Given(Given::parse(text.as_bytes()).expect("credentials"))
        }
        Ok("source") => {
            let vault = || Arc::new(Vault(AtomicU64::new(0)));
            LENT.call_once(|| SOURCES.lend("vault", vault()).expect("a free name"));
            Access::Source("vault".to_owned())
        }
        _ => Access::Environment,
    }
}

/// Faults that speak: each says something else to the client.
fn faults(elsewhere: &str) -> Vec<Fault> {
    vec![
        Fault::Answer { status: 503, retry_after: None },
        Fault::Answer { status: 403, retry_after: None },
        Fault::Answer { status: 400, retry_after: None },
        Fault::Reset,
        Fault::LoseReply,
        Fault::Truncate(100),
        Fault::WholeBody,
        Fault::WrongRange { shift: 4096, honest: true },
        Fault::WrongRange { shift: 4096, honest: false },
        Fault::Redirect(elsewhere.to_owned()),
    ]
}

/// A host to be redirected to: nobody may bring it what signs requests.
fn elsewhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its own").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 8 << 10];
            let len = stream.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..len]).to_ascii_lowercase();
            if head.contains("\r\nauthorization:") || head.contains("\r\nx-amz-security-token:") {
                eprintln!("told to another host: {TOKEN}");
            }
            drop(stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    address
}

fn open(address: &str, handle: Option<Vec<u8>>) -> Host {
    // Nobody is there.
    let compactors = vec!["127.0.0.1:9".to_owned()];
    let config = Config { access: access(), compactors, ..host::config(&url(address)) };
    eprintln!("{config:?}");
    Host::open(config, handle)
}

/// Puts all keys, or gets them. What fails is told.
fn each(host: &mut Host, round: Option<u64>) {
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    for key in 0..KEYS {
        let value = round.map(|round| {
            // No compression makes nothing of it.
            let mut rng = Rng::new(key << 4 | round);
            (0..300).map(|_| rng.next_u64() as u8).collect::<Vec<u8>>()
        });
        host.ask(&mut batch, key, value.as_deref());
    }
    while host.session.in_flight() > 0 || !batch.requests.is_empty() {
        host.session.submit(&mut batch).expect("the shard lives");
        let some = host.session.poll(Some(PATIENCE), &mut done).expect("the shard lives");
        assert!(some > 0, "requests hang");
        done.errors.iter().for_each(|error| eprintln!("{error} {error:?}"));
    }
}

fn checkpoint(host: &mut Host) -> Vec<u8> {
    let cut = (0..10).find_map(|_| {
        let cut = host.session.checkpoint(host.store);
        cut.inspect_err(|error| eprintln!("{error} {error:?}")).ok()
    });
    let handle = cut.expect("ten times");
    eprintln!("{}", String::from_utf8_lossy(&handle));
    handle
}

/// The life of a store, on a way that breaks now and then. The objects of its last checkpoint.
fn live(proxy: &Proxy, elsewhere: &str) -> Vec<ObjectName> {
    let address = proxy.address();
    for fault in faults(elsewhere) {
        let of_bodies =
            matches!(fault, Fault::Truncate(_) | Fault::WholeBody | Fault::WrongRange { .. });
        let rule = Rule::new(fault).chance(100);
        proxy.rule(if of_bodies { rule.method("GET") } else { rule });
    }
    let mut host = open(&address, None);
    let mut handle = Vec::new();
    for round in 0..3 {
        each(&mut host, Some(round));
        let drained = host.session.run_control(ControlOp::Drain(host.store));
        eprintln!("{drained:?}");
        handle = checkpoint(&mut host);
    }
    eprintln!("{:?}", host.engine.statistics());
    drop(host);
    proxy.clear();
    let mut host = open(&address, Some(handle.clone()));
    each(&mut host, None);
    let listed = host.session.run_control(ControlOp::List(handle)).expect("it is there");
    eprintln!("{listed:?} {:?}", host.engine.statistics());
    let ControlResult::Objects(objects) = listed else { panic!("{listed:?}") };
    objects.iter().map(|object| object.name).collect()
}

/// Every operation on a way that is broken.
fn fail(proxy: &Proxy, elsewhere: &str, names: &[ObjectName]) {
    for fault in faults(elsewhere) {
        proxy.clear();
        proxy.rule(Rule::new(fault));
        let dfs = Dfs::open_as(&url(&proxy.address()), &access()).expect("nothing is asked yet");
        let name = &names[0];
        let other = ObjectName { seq: u64::MAX, ..*name };
        eprintln!("{:?}", dfs.load(name, 1 << 20).err());
        eprintln!("{:?}", dfs.read(names.last().expect("one"), 4096, 4096).err());
        eprintln!("{:?} {:?}", dfs.size(name).err(), dfs.list(1).err());
        eprintln!("{:?} {:?}", dfs.put(&other, b"x").err(), dfs.delete(&other).err());
    }
}

/// The process of an engine.
fn speak(server: &str) {
    log::set_logger(&ToStderr).expect("the first one");
    log::set_max_level(LevelFilter::Trace);
    let (proxy, elsewhere) = (Proxy::new(server, 7), elsewhere());
    let names = if std::env::var(WELCOME).is_ok() {
        live(&proxy, &elsewhere)
    } else {
        let name = "0000000000000001/0000000000000000-00000000000000000000000000000007/\
                    manifest-0000000000000000-0000000000000007";
        vec![name.parse().expect("a name")]
    };
    fail(&proxy, &elsewhere, &names);
    // Nothing is in the way, and the server itself may refuse.
    proxy.clear();
    let dfs = Dfs::open_as(&url(&proxy.address()), &access()).expect("nothing is asked yet");
    eprintln!("{:?} {:?}", dfs.load(&names[0], 1 << 20).err(), dfs.list(1).err());
    eprintln!("all was said");
}

/// A process that has the credentials of a server.
fn with_credentials(mut command: Command, kind: Kind) -> Command {
    let servers::Credentials { user, secret } = kind.credentials();
    command.env("AWS_ACCESS_KEY_ID", user).env("AWS_SECRET_ACCESS_KEY", secret);
    command.env(SECRET_VARIABLE, COMPACTOR).env("RUST_BACKTRACE", "1");
    command
}

/// What an engine says.
fn engine(server: &Server, welcome: bool, way: &str) -> String {
    let program = || Command::new(std::env::current_exe().unwrap());
    let mut command = if way == "environment" {
        let mut command = with_credentials(program(), server.kind);
        command.env("AWS_SESSION_TOKEN", TOKEN);
        command
    } else {
        let servers::Credentials { user, secret } = server.kind.credentials();
        let given = format!(
            "AWS_ACCESS_KEY_ID = {user}\nAWS_SECRET_ACCESS_KEY = {secret}\n\
             AWS_SESSION_TOKEN = {TOKEN}"
        );
        let mut command = program();
        command.env(WAY, way).env(GIVEN, given);
        command.env(SECRET_VARIABLE, COMPACTOR).env("RUST_BACKTRACE", "1");
        command
    };
    command.args(["--exact", "secrets_are_told_nowhere", "--nocapture"]);
    command.env(SERVER, &server.address);
    if welcome {
        command.env(WELCOME, "1");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(30).collect();
    assert!(output.status.success() && said.contains("all was said"), "{last:#?}");
    assert!(said.contains("TRACE"), "it logs everything");
    said.into_owned()
}

/// What the command says, and leaves.
fn command(server: &Server, folder: &Path) -> String {
    let proxy = Proxy::new(&server.address, 7);
    let refused = Fault::Answer { status: 503, retry_after: None };
    for fault in [refused, Fault::Reset, Fault::LoseReply] {
        proxy.rule(Rule::new(fault).method("PUT").chance(1000));
    }
    let aquifer = || {
        let command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
        let mut command = with_credentials(command, server.kind);
        command.current_dir(folder).env("XDG_RUNTIME_DIR", folder);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let url = url(&proxy.address());
    let mut bench = aquifer();
    bench.args("bench load,get,rmw,checkpoint,restore --records 3K --memory 48M".split(' '));
    bench.args("--seconds 1 --warmup 0 --json report.json --metrics-addr 0 --quiet".split(' '));
    let mut bench = bench.args(["--dfs", &url]).spawn().unwrap();
    let mut lines = BufReader::new(bench.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("metrics on") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let at = said.rsplit("http://").next().unwrap().trim().trim_end_matches("/metrics").to_owned();
    let begun = Instant::now();
    let metrics = loop {
        let metrics = http(&at);
        if metrics.contains("200 OK") || begun.elapsed() > PATIENCE {
            break metrics;
        }
    };
    assert!(metrics.contains("aquifer_"), "{metrics}");
    let page = fs::read_to_string(folder.join(format!("aquifer/{}.json", bench.id()))).unwrap();
    lines.read_to_string(&mut said).unwrap();
    let output = bench.wait_with_output().unwrap();
    assert!(output.status.success(), "{said}");
    let report = fs::read_to_string(folder.join("report.json")).unwrap();
    said = said + &String::from_utf8_lossy(&output.stdout) + &metrics + &page + &report;

    let ask = |args: &[&str], secret: Option<&str>| {
        let mut command = aquifer();
        if let Some(secret) = secret {
            command.env("AWS_SECRET_ACCESS_KEY", secret);
        }
        let output = command.args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    proxy.clear();
    said += &ask(&["probe", &url], None);
    let refused = ask(&["probe", &url], Some(WRONG));
    assert!(refused.contains("403") || refused.contains("credentials"), "{refused}");
    said += &refused;
    said += &ask(&["doctor", "--dfs", &url], Some(WRONG));
    // Where they do not belong.
    let secret = server.kind.credentials().secret;
    said += &ask(&["probe", &format!("s3://me:{secret}@{BUCKET}/state")], None);
    said += &ask(&["probe", &format!("{url}&secret_key={secret}")], None);
    let endpoint = format!("s3://{BUCKET}/state?endpoint=http://me:{secret}@{}", proxy.address());
    said + &ask(&["probe", &endpoint], None)
}

fn http(address: &str) -> String {
    let mut said = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        drop(stream.write_all(head.as_bytes()));
        drop(stream.read_to_string(&mut said));
    }
    said
}

/// All bytes of all files below a folder.
fn files(folder: &Path, seen: &mut dyn FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, seen);
        } else {
            seen(&path, &fs::read(&path).unwrap());
        }
    }
}

fn has(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

fn check(kind: Kind) {
    let Some(server) = servers::told(servers::shared(kind)) else { return };
    server.create_bucket(BUCKET);
    let servers::Credentials { user, secret } = kind.credentials();
    let secrets = [&[user, secret, TOKEN, COMPACTOR, WRONG][..], &SIGNED].concat();
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for way in WAYS {
        // One of them takes any token.
        let welcome = kind == Kind::S3s;
        let who = if welcome { "an engine" } else { "an engine that is refused" };
        let said = engine(server, welcome, way);
        assert_eq!(said.contains("asked for s3://canary/state/"), way == "source");
        all.push((format!("{who}, by {way}"), said));
    }
    if kind == Kind::Minio {
        all.push(("the command".to_owned(), command(server, folder.path())));
    }
    for (who, said) in &all {
        println!("{}: {who} says {} bytes", kind.name(), said.len());
        for secret in &secrets {
            let line = said.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{who} tells {secret}: {:.1000}", line.unwrap_or_default());
        }
    }
    let mut count = 0;
    for root in [server.folder().join("data").join(BUCKET), folder.path().to_owned()] {
        files(&root, &mut |path, bytes| {
            count += 1;
            for secret in &secrets {
                assert!(!has(bytes, secret), "{} has {secret}", path.display());
            }
        });
    }
    assert!(count > 3, "{count} files");
}

#[test]
fn secrets_are_told_nowhere() {
    if let Ok(server) = std::env::var(SERVER) {
        return speak(&server);
    }
    check(Kind::Minio);
    check(Kind::S3s);
}
