//! The commands that look at a state, take it out and in again, and clear up behind it, and a
//! compactor, each as a process and on a real object store.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aquifer::io::dfs::Dfs;
use aquifer::io::trials::pattern;
use aquifer::limits::REMOTE_PART_BYTES;
use aquifer::shard::compactors::CompactorStatistics;
use aquifer::shard::engine::{Access, Config};
use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer::types::ObjectName;
use aquifer_tests::host::{self, Host, PATIENCE};
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::said;
use aquifer_tests::servers::{self, Kind};
use aquifer_tests::sim::rng::Rng;
use log::LevelFilter;
use serde_json::Value;
use tempfile::TempDir;

const BUCKET: &str = "commands";
const KEYS: u64 = 6_000;
/// Each flushes a table of half a MiB, and nine of them are merged.
const ROUNDS: u64 = 24;
/// Ages are told in whole seconds: what was just written is older than none of them after this.
const AGE: Duration = Duration::from_secs(2);

/// Incompressible, so that merges are worth an errand.
fn value(key: u64) -> Vec<u8> {
    let mut rng = Rng::new(key);
    (0..32).flat_map(|_| rng.next_u64().to_be_bytes()).collect()
}

fn access(kind: Kind) -> Access {
    Access::Given(kind.given(kind.credentials()))
}

/// Where commands run, and who they are to which store.
struct Place(TempDir, Kind);

impl Place {
    fn new(kind: Kind) -> Self {
        Self(tempfile::tempdir().unwrap(), kind)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
        command.args(args).current_dir(&self.0).envs(self.1.variables(self.1.credentials()));
        command
    }

    /// What a command answers, if it ends so.
    fn answer(&self, code: i32, args: &[&str]) -> Value {
        let output = self.command(args).arg("--json").output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (answer, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {answer}{said}");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{args:?}: {error}: {answer}"))
    }

    /// What a scrub names.
    fn orphans(&self, code: i32, args: &[&str]) -> Vec<String> {
        let answer = self.answer(code, args);
        let named = answer["orphans"].as_array().unwrap().iter();
        named.map(|row| row["object"].as_str().unwrap().to_owned()).collect()
    }
}

/// A compactor over a root, and where it listens; dropped it is killed.
struct Compactor(Child, String);

impl Compactor {
    fn start(place: &Place, url: &str) -> Self {
        let args =
            ["compactor", "--listen", "127.0.0.1:0", "--dfs", url, "--secret-file", "secret"];
        let log = place.path("compactor.log");
        let mut command = place.command(&args);
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let mut compactor = Self(command.spawn().unwrap(), String::new());
        let begun = Instant::now();
        while compactor.1.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "it does not listen");
            let said = fs::read_to_string(&log).unwrap();
            let address = said.split_once("compactor on ").and_then(|(_, on)| on.split_once(": "));
            compactor.1 = address.map_or(String::new(), |(address, _)| address.to_owned());
            std::thread::sleep(Duration::from_millis(5));
        }
        compactor
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A checkpoint and its objects.
type Cut = (Vec<u8>, Vec<ObjectName>);

/// Writes the state so often that merges are due, for which a compactor on the root `merged` is
/// asked. What it did, and the first checkpoint and the last.
fn write(place: &Place, url: &str, merged: &str) -> (CompactorStatistics, [Cut; 2]) {
    fs::write(place.path("secret"), "of-the-commands-alone").unwrap();
    let compactor = Compactor::start(place, merged);
    let mut host = Host::open(
        Config {
            access: access(place.1),
            compactors: vec![compactor.1.clone()],
            compactor_secret_file: Some(place.path("secret")),
            ..host::config(url)
        },
        None,
    );
    let mut handles = Vec::new();
    for round in 0..ROUNDS {
        let some = (0..KEYS).filter(|key| round == 0 || (key + round).is_multiple_of(3));
        assert_eq!(host.each(some, true, value).len(), 0);
        handles.push(host.checkpoint());
    }
    host.session.run_control(ControlOp::Drain(host.store)).unwrap();
    handles.push(host.checkpoint());
    let compactors = host.engine.statistics().compactors;
    let ends = [handles.remove(0), handles.pop().unwrap()].map(|handle| {
        let listed = host.session.run_control(ControlOp::List(handle.clone())).unwrap();
        let ControlResult::Objects(objects) = listed else { panic!("{listed:?}") };
        (handle, objects.iter().map(|object| object.name).collect())
    });
    host.close();
    (compactors, ends)
}

#[test]
fn commands_do_in_a_store_what_they_do_in_a_folder() {
    let kind = Kind::Minio;
    let Some(server) = servers::told(servers::shared(kind)) else { return };
    server.create_bucket(BUCKET);
    let url = kind.url(&server.endpoint(), BUCKET);
    let other = url.replace("/state?", "/other?");
    let place = Place::new(kind);
    let (compactors, [(first, old), (last, kept)]) = write(&place, &url, &url);
    assert!(compactors.merges > 0 && compactors.returned == 0, "{compactors:?}");
    fs::write(place.path("first"), &first).unwrap();
    fs::write(place.path("last"), &last).unwrap();

    let whole = place.answer(0, &["verify", "last", "--dfs", &url, "--deep"]);
    assert_eq!(whole["checkpoint_1"]["result"], "whole", "{whole}");
    is_read_twice(&place, &server.address);
    let shown = place.answer(0, &["inspect", "last", "--dfs", &url]);
    let manifest = &shown["handle_1"]["manifest"];
    assert_eq!(shown["handle_1"]["checksum"], "holds", "{shown}");
    let tables = manifest["table_references"].as_array().unwrap();
    assert_eq!(tables.len() + 1, kept.len(), "{manifest}");
    let table = tables[0]["object_name"].as_str().unwrap();
    let shown = place.answer(0, &["inspect", table, "--dfs", &url]);
    assert_eq!(shown["units"]["rows"], shown["resident_part"]["properties"]["rows"], "{shown}");
    place.answer(0, &["inspect", table, "--dfs", &url, "--unit", "0"]);

    let dump = place.answer(0, &["export", "last", "--dfs", &url, "--to", "a.dump"]);
    assert_eq!(dump["rows"], KEYS, "{dump}");
    let import = ["import", "a.dump", "--dfs", &other, "--handle", "other", "--store", "7"];
    assert_eq!(place.answer(0, &import)["rows"], KEYS);
    place.answer(0, &["verify", "other", "--dfs", &other, "--deep"]);
    place.answer(0, &["export", "other", "--dfs", &other, "--to", "b.dump"]);
    assert!(fs::read(place.path("a.dump")).unwrap() == fs::read(place.path("b.dump")).unwrap());

    clears_up(&place, &url, [&old, &kept]);
    let config = Config { access: access(kind), ..host::config(&url) };
    let mut host = Host::open(config, Some(last));
    assert_eq!(host.each(0..KEYS, false, value).len(), 0);
    host.close();

    Dfs::open_as(&url, &access(kind)).unwrap().delete(&table.parse().unwrap()).unwrap();
    let damage = place.answer(1, &["verify", "last", "--dfs", &url]);
    assert!(damage.to_string().contains(table), "{damage}");
    let lost = place.command(&["export", "last", "--dfs", &url, "--to", "c.dump"]).output();
    assert_eq!(lost.unwrap().status.code(), Some(1));
}

#[test]
fn a_compactor_on_another_root_gives_merges_back_at_once() {
    let kind = Kind::Minio;
    let Some(server) = servers::told(servers::shared(kind)) else { return };
    said::listen(LevelFilter::Warn);
    let bucket = "commands-elsewhere";
    server.create_bucket(bucket);
    let url = kind.url(&server.endpoint(), bucket);
    let place = Place::new(kind);
    let (compactors, _) = write(&place, &url, &url.replace("/state?", "/other?"));
    assert!(compactors.merges == 0 && compactors.returned > 0, "{compactors:?}");
    let said = said::lines();
    let remedy = |line: &&String| line.contains("is the root of its --dfs that of the engine?");
    let why = said.iter().find(remedy).unwrap_or_else(|| panic!("{said:?}"));
    assert!(!why.contains("it failed"), "it was not waited for: {why}");
}

/// What comes other than it is, once, is no damage: of any read of a verification.
fn is_read_twice(place: &Place, address: &str) {
    let proxy = Proxy::new(address, 1);
    let url = place.1.url(&proxy.endpoint(), BUCKET);
    let is_whole = || {
        let whole = place.answer(0, &["verify", "last", "--dfs", &url, "--deep"]);
        assert_eq!(whole["checkpoint_1"]["result"], "whole", "{whole}");
    };
    is_whole();
    let gets = proxy.counts().requests_of("GET");
    for skip in 0..gets {
        let fault = Fault::WrongRange { shift: 64, honest: false };
        proxy.rule(Rule::new(fault).method("GET").skip(skip).times(1));
        is_whole();
        proxy.clear();
    }
    let met = proxy.counts().faults_of("wrong range");
    assert!(gets > 3 && met == gets, "{met} of {gets}: manifest, resident parts, units");
}

/// Scrubs with the last checkpoint alone: what only others need goes, once it is old enough.
fn clears_up(place: &Place, url: &str, [old, kept]: [&[ObjectName]; 2]) {
    let scrub = ["scrub", "last", "--dfs", url, "--grace", "0s"];
    assert_eq!(place.orphans(0, &["scrub", "last", "--dfs", url]), [""; 0], "all is young");
    // As old as the others by then.
    std::thread::sleep(AGE);
    let named = place.orphans(1, &scrub);
    let gone = |name: &&ObjectName| !kept.contains(name);
    assert!(old.iter().filter(gone).count() > 0);
    for name in old.iter().filter(gone) {
        assert!(named.contains(&name.to_string()), "{name}: {named:?}");
    }
    assert!(kept.iter().all(|name| !named.contains(&name.to_string())), "{named:?}");
    assert_eq!(place.orphans(0, &[&scrub[..], &["--delete"]].concat()).len(), named.len());
    assert_eq!(place.orphans(0, &scrub), [""; 0]);
    place.answer(0, &["verify", "last", "--dfs", url, "--deep"]);
    place.answer(1, &["verify", "first", "--dfs", url]);
}

#[test]
fn parts_that_nobody_joined_are_scrubbed_from_hdfs() {
    let kind = Kind::Hdfs;
    let Some(server) = servers::told(servers::shared(kind)) else { return };
    server.create_bucket(BUCKET);
    let proxy = Proxy::new(&server.address, 1);
    let url = kind.url(&proxy.endpoint(), BUCKET);
    let place = Place::new(kind);
    let config = || Config { access: access(kind), ..host::config(&url) };
    let mut host = Host::open(config(), None);
    assert_eq!(host.each(0..KEYS, true, value).len(), 0);
    let handle = host.checkpoint();
    host.close();
    fs::write(place.path("last"), &handle).unwrap();
    let dfs = Dfs::open_as(&url, &access(kind)).unwrap();
    let kept = dfs.list(1).unwrap();
    // Joined, and never named.
    let refused = Fault::Answer { status: 403, retry_after: None };
    proxy.rule(Rule::new(refused).method("PUT").path("op=RENAME"));
    let name = ObjectName { seq: 1 << 40, ..kept[0].name };
    dfs.put(&name, &pattern(2 * REMOTE_PART_BYTES)).unwrap_err();
    proxy.clear();
    let scrub = ["scrub", "last", "--dfs", &url, "--grace", "0s"];
    assert_eq!(place.orphans(0, &["scrub", "last", "--dfs", &url]), [""; 0], "all is young");
    std::thread::sleep(AGE);
    let named = place.orphans(1, &scrub);
    assert!(named.len() == 1 && named[0].starts_with("tmp-parts/"), "{named:?}");
    assert_eq!(place.orphans(0, &[&scrub[..], &["--delete"]].concat()), named);
    assert_eq!(place.orphans(0, &scrub), [""; 0]);
    assert_eq!(dfs.list(1).unwrap().len(), kept.len());
    let mut host = Host::open(config(), Some(handle));
    assert_eq!(host.each(0..KEYS, false, value).len(), 0);
    host.close();
}
