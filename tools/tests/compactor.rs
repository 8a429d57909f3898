//! Engines whose merges go to compactors, which are other processes: the state is what it would be
//! without them, whatever becomes of these processes and whatever they say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aquifer::io::clock;
use aquifer::io::dfs::Dfs;
use aquifer::io::sealed::{GREETING_BYTES, Secret};
use aquifer::io::wire::Wire;
use aquifer::limits::{COMPACTOR_GREETING_MS, COMPACTOR_SILENT_MS, MEMORY_MIN_BYTES};
use aquifer::lsm::errand::{Errand, Report};
use aquifer::shard::compactors::CompactorStatistics;
use aquifer::shard::engine::{Config, Engine, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::ControlOp;
use aquifer::sst::TableRef;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target, ValueState};
use aquifer_tests::host::{PATIENCE, wait_until};
use aquifer_tests::io_mode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SECRET: &str = "canary-2f61c5-of-the-tests";
const KEY_GROUPS: u32 = 128;
const KEYS: u64 = 6_000;
/// Values of a round: 256 bytes for each of a third of the keys, which is half a MiB.
const VALUE_BYTES: usize = 256;
/// Rounds after which merges have run: each flushes a table, and nine of them are merged.
const ROUNDS: u64 = 24;

/// A folder for the DFS, the secret and the logs.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        fs::create_dir(folder.path().join("dfs")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn dfs(&self) -> String {
        format!("file://{}", self.path("dfs").display())
    }

    /// Starts a compactor whose log is a file of this name.
    fn compactor(&self, log: &str, args: &[&str]) -> Process {
        self.compactor_on(&self.dfs(), "127.0.0.1:0", log, args)
    }

    fn compactor_on(&self, dfs: &str, listen: &str, log: &str, args: &[&str]) -> Process {
        let log = self.path(log);
        let child = Command::new(env!("CARGO_BIN_EXE_aquifer"))
            .args(["compactor", "--listen", listen, "--dfs", dfs, "--secret-file"])
            .arg(self.path("secret"))
            .args(args)
            .stderr(File::create(&log).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Process { child, log, address: String::new() };
        wait_until("it listens", || {
            let log = process.log();
            let address = log.split_once("compactor on ").and_then(|(_, on)| on.split_once(": "));
            address.map(|(address, _)| process.address = address.to_owned()).is_some()
        });
        process
    }

    fn host(&self, compactors: &[&str]) -> Host {
        Host::open(Config {
            memory_bytes: MEMORY_MIN_BYTES,
            io: io_mode(),
            compactors: compactors.iter().map(|&address| address.to_owned()).collect(),
            compactor_secret_file: Some(self.path("secret")),
            ..Config::new(self.dfs())
        })
    }

    /// Tables and drafts on the DFS.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.path("dfs")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path.display().to_string()),
                }
            }
        }
        files
    }
}

/// A process of `aquifer compactor`.
struct Process {
    child: Child,
    log: PathBuf,
    address: String,
}

impl Process {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// An engine with a store, and what the store should hold.
struct Host {
    // Dropped before the engine.
    session: Session,
    engine: Engine,
    store: StoreId,
    values: ValueState,
    model: BTreeMap<u64, Vec<u8>>,
    round: u64,
    handle: Vec<u8>,
}

impl Host {
    fn open(config: Config) -> Self {
        let engine = Engine::open(config).unwrap();
        let mut session = engine.session(0).unwrap();
        let (store, values) = open_store(&mut session, &[]);
        let (model, round, handle) = Default::default();
        Self { session, engine, store, values, model, round, handle }
    }

    fn run(&mut self, batch: &mut Batch) -> Completions {
        let mut all = Completions::default();
        let mut done = Completions::default();
        let mut missing = batch.requests.len();
        while missing > 0 {
            self.session.submit(batch).unwrap();
            assert!(self.session.poll(Some(PATIENCE), &mut done).unwrap() > 0, "it hangs");
            missing -= done.items.len();
            for item in &done.items {
                match item.status {
                    Status::Failed { index } => panic!("{}", done.errors[index as usize]),
                    status => all.push_value(item.user_data, status, done.value(item)),
                }
            }
        }
        all
    }

    /// Writes a third of the keys, deletes a few, and flushes that.
    fn write(&mut self) {
        self.round += 1;
        let mut batch = Batch::default();
        for key in (0..KEYS).filter(|key| (key * 7 + self.round).is_multiple_of(3)) {
            let bytes = key.to_be_bytes();
            let target = target(&bytes, key);
            if (key + self.round).is_multiple_of(17) {
                self.values.request_delete(&mut batch, &target).unwrap();
                self.model.remove(&key);
            } else {
                let value = value(key, self.round);
                self.values.request_put(&mut batch, &target, &value).unwrap();
                self.model.insert(key, value);
            }
        }
        self.run(&mut batch);
        // Cuts flush.
        self.handle = self.session.checkpoint(self.store).unwrap();
    }

    /// Writes so often that merges are due, and waits for them.
    fn write_and_merge(&mut self) {
        (0..ROUNDS).for_each(|_| self.write());
        self.drain();
    }

    fn drain(&mut self) {
        self.session.run_control(ControlOp::Drain(self.store)).unwrap();
    }

    /// Reads every key, as the store is and as its last checkpoint opens.
    fn check(&mut self) {
        self.read_all();
        self.handle = self.session.checkpoint(self.store).unwrap();
        self.session.run_control(ControlOp::Close(self.store)).unwrap();
        (self.store, self.values) = open_store(&mut self.session, &self.handle);
        self.read_all();
    }

    fn read_all(&mut self) {
        let mut batch = Batch::default();
        for key in 0..KEYS {
            let bytes = key.to_be_bytes();
            self.values.request_get(&mut batch, &target(&bytes, key)).unwrap();
        }
        let done = self.run(&mut batch);
        for item in &done.items {
            let found = matches!(item.status, Status::Value).then(|| done.value(item).to_vec());
            assert_eq!(found.as_ref(), self.model.get(&item.user_data), "key {}", item.user_data);
        }
    }

    fn compactors(&self) -> CompactorStatistics {
        self.engine.statistics().compactors
    }

    fn merges(&self) -> u64 {
        self.engine.statistics().shards[0].counters.merges
    }
}

fn target(key: &[u8], user_data: u64) -> Target<'_> {
    Target { key: Key::new(key, KEY_GROUPS), namespace: &[], user_data }
}

/// Incompressible: what is written is what is merged.
fn value(key: u64, round: u64) -> Vec<u8> {
    let mut state = key << 20 | round;
    let mut value = Vec::with_capacity(VALUE_BYTES);
    while value.len() < VALUE_BYTES {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        value.extend_from_slice(&(state >> 32).to_le_bytes()[..4]);
    }
    value
}

fn open_store(session: &mut Session, handle: &[u8]) -> (StoreId, ValueState) {
    let mut states = StateTable::default();
    states.declare("value", StateKind::Value).unwrap();
    let handles = (!handle.is_empty()).then(|| handle.to_vec()).into_iter().collect();
    let config = StoreConfig { states, handles, ..StoreConfig::new(1, KEY_GROUPS) };
    let (store, states) = session.open_store(config).unwrap();
    (store, states.value(store, "value").unwrap())
}

#[test]
fn merges_elsewhere_leave_the_state_as_merges_here() {
    let (near, far) = (Place::new(), Place::new());
    let compactors = [far.compactor("a.log", &[]), far.compactor("b.log", &["--merges", "1"])];
    let mut here = near.host(&[]);
    let mut away = far.host(&[&compactors[0].address, &compactors[1].address]);
    here.write_and_merge();
    away.write_and_merge();
    here.check();
    away.check();
    let (none, some) = (here.compactors(), away.compactors());
    assert_eq!(none, CompactorStatistics::default());
    assert!(some.merges > 0 && some.written_bytes > 0, "{some:?}");
    assert_eq!(some.returned, 0, "{some:?}");
    assert_eq!(away.merges(), here.merges(), "the same merges");
    assert!(some.each.iter().all(|one| one.merges > 0), "they take turns: {some:?}");
    // Neither side has anything to tell, and nothing tells the secret.
    for compactor in &compactors {
        assert_eq!(compactor.log().lines().count(), 1, "{}", compactor.log());
    }
    let stored = far.files().iter().any(|file| {
        let bytes = fs::read(file).unwrap();
        bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
    });
    assert!(!stored && !format!("{:?}", away.engine.statistics()).contains(SECRET));
}

#[test]
fn a_compactor_that_is_killed_in_the_middle_loses_nothing() {
    let place = Place::new();
    // Slow, so that it is hit at work.
    let slow = format!("{}?latency=20ms", place.dfs());
    let mut compactor = place.compactor_on(&slow, "127.0.0.1:0", "0.log", &[]);
    let mut host = place.host(&[&compactor.address]);
    let mut killed = 0;
    while killed < 5 {
        host.write();
        if host.engine.statistics().shards[0].jobs.merges_running > 0 {
            std::thread::sleep(Duration::from_millis(30 * killed));
            compactor.signal(Signal::SIGKILL);
            killed += 1;
            // At the same address, as a service manager starts it.
            let address = compactor.address.clone();
            drop(compactor);
            compactor = place.compactor_on(&slow, &address, &format!("{killed}.log"), &[]);
        }
    }
    host.drain();
    host.check();
    let compactors = host.compactors();
    assert!(compactors.returned > 0, "{compactors:?}");
    assert!(compactors.each[0].failures > 0, "{compactors:?}");
    // It is taken back when its time alone is over.
    let merges = compactors.merges;
    wait_until("it is asked again", || {
        host.write();
        host.compactors().merges > merges
    });
    host.drain();
    host.check();
}

#[test]
fn a_compactor_that_was_stopped_and_goes_on_changes_nothing() {
    let place = Place::new();
    let slow = format!("{}?latency=20ms", place.dfs());
    let compactor = place.compactor_on(&slow, "127.0.0.1:0", "log", &[]);
    let mut host = place.host(&[&compactor.address]);
    while host.engine.statistics().shards[0].jobs.merges_running == 0 {
        host.write();
    }
    compactor.signal(Signal::SIGSTOP);
    // The store waits for it until it counts as lost, serves meanwhile, and merges itself.
    let started = Instant::now();
    wait_until("it is given up", || {
        host.write();
        host.compactors().returned > 0
    });
    assert!(started.elapsed() < Duration::from_millis(COMPACTOR_SILENT_MS) + PATIENCE);
    host.drain();
    let kept = host.session.checkpoint(host.store).unwrap();
    let model = host.model.clone();
    compactor.signal(Signal::SIGCONT);
    // It learns that nobody waits for it, or ends a table that nobody knows.
    host.write_and_merge();
    host.check();
    host.session.run_control(ControlOp::Close(host.store)).unwrap();
    (host.store, host.values) = open_store(&mut host.session, &kept);
    host.model = model;
    host.read_all();
    wait_until("it serves again", || {
        host.write();
        host.compactors().merges > 0
    });
    host.drain();
    host.check();
}

#[test]
fn an_engine_does_not_wait_for_a_compactor_to_close() {
    let place = Place::new();
    let compactor = place.compactor("log", &[]);
    compactor.signal(Signal::SIGSTOP);
    let mut host = place.host(&[&compactor.address]);
    while host.engine.statistics().shards[0].jobs.merges_running == 0 {
        host.write();
    }
    let Host { session, engine, .. } = host;
    drop(session);
    // The merge still waits for a greeting.
    engine.close(Duration::from_millis(COMPACTOR_GREETING_MS / 2)).unwrap();
}

/// A host whose compactor is this address: all merges come back, and the log of the engine, which
/// is what the failures are counted from, names nothing secret.
fn all_come_back(place: &Place, address: &str) -> CompactorStatistics {
    let mut host = place.host(&[address]);
    host.write_and_merge();
    host.check();
    let compactors = host.compactors();
    assert_eq!(compactors.merges, 0, "{compactors:?}");
    assert!(compactors.returned > 0 && compactors.each[0].failures > 0, "{compactors:?}");
    compactors
}

#[test]
fn a_compactor_with_another_secret_is_refused_and_refuses() {
    let place = Place::new();
    let other = Place::new();
    fs::write(other.path("secret"), "another secret of the tests").unwrap();
    let compactor = other.compactor_on(&place.dfs(), "127.0.0.1:0", "log", &[]);
    all_come_back(&place, &compactor.address);
    // The engine saw it first: no errand was sent.
    wait_until("it says so", || compactor.log().contains("ended the connection"));
    assert!(!compactor.log().contains(SECRET), "{}", compactor.log());
}

#[test]
fn a_compactor_of_another_dfs_is_of_no_use() {
    let (place, other) = (Place::new(), Place::new());
    let compactor = other.compactor("log", &[]);
    all_come_back(&place, &compactor.address);
}

/// Listens, and does this with each connection.
fn listening(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.unwrap())));
    address
}

#[test]
fn whatever_listens_there_harms_nothing() {
    let greeting = |version: u8| {
        let mut greeting = aquifer::io::sealed::greeting([7; 32]);
        greeting[4] = version;
        greeting
    };
    let serves: [Box<dyn Fn(TcpStream) + Send>; 6] = [
        Box::new(drop),
        Box::new(|mut stream| stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap()),
        Box::new(move |mut stream| stream.write_all(&greeting(2)).unwrap()),
        Box::new(move |mut stream| {
            stream.write_all(&greeting(1)).unwrap();
            let _theirs = stream.read_exact(&mut [0; GREETING_BYTES]);
            let _left = stream.write_all(&[0x5a; 300_000]);
        }),
        Box::new(move |mut stream| {
            stream.write_all(&greeting(1)).unwrap();
            let _theirs = stream.read_exact(&mut [0; GREETING_BYTES]);
            let _left = stream.write_all(&[0xff; 4]);
        }),
        // Says nothing, and stays.
        Box::new(|mut stream| drop(stream.read_to_end(&mut Vec::new()))),
    ];
    let place = Place::new();
    for serve in serves {
        all_come_back(&place, &listening(serve));
    }
}

/// A compactor that knows the secret, takes each errand and reports this.
fn liar(place: &Place, lie: fn(&Errand, &Dfs) -> Vec<TableRef>) -> String {
    let dfs = place.dfs();
    listening(move |stream| {
        let deadline = clock::now() + PATIENCE.as_nanos() as u64;
        let secret = Secret::new(SECRET.as_bytes()).unwrap();
        let mut wire = Wire::accept(stream, &secret, deadline).unwrap();
        wire.send(&Report::Ready.encode(), deadline).unwrap();
        let errand = Errand::decode(&wire.receive(deadline).unwrap()).unwrap();
        let tables = lie(&errand, &Dfs::open(&dfs).unwrap());
        wire.send(&Report::Done(tables).encode(), deadline).unwrap();
    })
}

#[test]
fn a_compactor_that_names_foreign_tables_is_not_believed() {
    let lies: [fn(&Errand, &Dfs) -> Vec<TableRef>; 5] = [
        // The input instead of a merge of them.
        |errand, _| vec![errand.inputs[0]],
        // Tables that were never written.
        |errand, _| {
            let named = |&name| TableRef { name, ..errand.inputs[0] };
            errand.names.iter().map(named).collect()
        },
        // A table of another store.
        |errand, _| {
            let mut table = errand.inputs[0];
            table.name.store += 1;
            vec![table]
        },
        // An input's bytes under the name that was ordered.
        |errand, dfs| {
            let table = TableRef { name: errand.names[0], ..errand.inputs[0] };
            let bytes = dfs.load(&errand.inputs[0].name, 1 << 30).unwrap();
            dfs.put(&table.name, &bytes).unwrap();
            vec![table]
        },
        // Lengths that nobody has memory for.
        |errand, _| {
            let mut table = TableRef { name: errand.names[0], ..errand.inputs[0] };
            table.meta_len = 256 << 20;
            table.file_bytes = table.meta_offset + (256 << 20) + 4096;
            vec![table]
        },
    ];
    for lie in lies {
        let place = Place::new();
        let address = liar(&place, lie);
        all_come_back(&place, &address);
    }
}

#[test]
fn the_command_says_what_it_lacks() {
    let place = Place::new();
    let fails = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_aquifer"))
            .args(args)
            .env_remove("AQUIFER_COMPACTOR_SECRET")
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(fails(&["compactor", "--dfs", "dfs"]).contains("AQUIFER_COMPACTOR_SECRET"));
    let missing = fails(&["compactor", "--dfs", "dfs", "--secret-file", "missing"]);
    assert!(missing.contains("missing"), "{missing}");
    let bench = ["bench", "load", "--records", "1K", "--memory", "48M", "--compactors"];
    assert!(fails(&[&bench[..], &["host:1"]].concat()).contains("AQUIFER_COMPACTOR_SECRET"));
    let address = fails(&[&bench[..], &["host", "--secret-file", "secret"]].concat());
    assert!(address.contains("use HOST:PORT"), "{address}");
}

#[test]
fn the_load_generator_and_the_word_count_send_their_merges_away() {
    let place = Place::new();
    let compactor = place.compactor("log", &[]);
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_aquifer"))
            .args(args)
            .args(["--dfs", &place.dfs(), "--compactors", &compactor.address])
            .env("AQUIFER_COMPACTOR_SECRET", SECRET)
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success() && !said.contains(SECRET), "{said}");
    };
    let report = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(place.path(name)).unwrap()).unwrap()
    };
    let bench = "bench load,get --records 700K --memory 48M --verify --seconds 1 --warmup 0 \
                 --quiet --json bench.json";
    run(&bench.split_whitespace().collect::<Vec<_>>());
    let counters = report("bench.json").to_string();
    assert!(counters.contains("merges_elsewhere") && !counters.contains(SECRET), "{counters}");
    let text: String = (0..900_000_u64).map(|i| format!("w{} ", i * i % 399_989)).collect();
    fs::write(place.path("words"), text).unwrap();
    let count = "run wordcount words --memory 48M --checkpoint-every 20K --json count.json";
    run(&count.split_whitespace().collect::<Vec<_>>());
    let count = report("count.json");
    assert!(count["merges_elsewhere"].as_u64().unwrap() > 0, "{count}");
    assert_eq!((&count["merges_returned"], &count["verified"]), (&0.into(), &true.into()));
    assert_eq!(compactor.log().lines().count(), 1, "{}", compactor.log());
}
