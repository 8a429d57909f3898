//! A store that keeps its checkpoints itself and cannot begin with the newest: what its error says
//! is to be done is done, with the tools and with another store.

use std::fs;
use std::path::Path;
use std::process::Command;

use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::engine::{Config, Engine, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::Result;
use aquifer::types::error::ErrorKind;
use serde_json::Value;

const KEY_GROUPS: u32 = 16;

struct Host {
    session: Session,
    store: StoreId,
    states: StateTable,
}

impl Host {
    fn open(engine: &Engine, config: StoreConfig) -> Result<Self> {
        let mut session = engine.session(0)?;
        let mut states = StateTable::default();
        states.declare("v", StateKind::Value)?;
        let (store, states) = session.open_store(StoreConfig { states, ..config })?;
        Ok(Self { session, store, states })
    }

    /// Puts a value under the one key, or gets it.
    fn one(&mut self, value: Option<&[u8]>) -> Vec<u8> {
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        let target = Target { key: Key::new(b"k", KEY_GROUPS), namespace: &[], user_data: 1 };
        let state = self.states.value(self.store, "v").unwrap();
        match value {
            Some(value) => state.request_put(&mut batch, &target, value).unwrap(),
            None => state.request_get(&mut batch, &target).unwrap(),
        }
        self.session.submit(&mut batch).unwrap();
        while self.session.poll(None, &mut done).unwrap() == 0 {}
        let item = &done.items[0];
        let status = if value.is_some() { Status::Done } else { Status::Value };
        assert_eq!(item.status, status, "{:?}", done.errors);
        done.value(item).to_vec()
    }
}

fn aquifer(folder: &Path, args: &[&str]) -> (Value, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    let output = command.args(args).arg("--json").current_dir(folder).output().unwrap();
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (answer, output.status.code().unwrap())
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

#[test]
fn a_store_whose_newest_checkpoint_is_damaged_tells_how_to_go_on_from_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, dfs) = (folder.path(), folder.path().join("dfs"));
    let config = || Config { memory_bytes: MEMORY_MIN_BYTES, ..Config::new(dfs.to_str().unwrap()) };
    let keeps = || StoreConfig { keep: 3, ..StoreConfig::new(7, KEY_GROUPS) };
    let engine = Engine::open(config()).unwrap();
    let mut host = Host::open(&engine, keeps()).unwrap();
    let mut last = Vec::new();
    for value in [&b"first"[..], b"second", b"third"] {
        host.one(Some(value));
        last = host.session.checkpoint(host.store).unwrap();
    }
    drop(host);
    let manifest = aquifer::checkpoint::handle::Handle::decode(&last[..]).unwrap().manifest;
    let file = dfs.join(manifest.to_string());
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();

    let error = Host::open(&engine, keeps()).err().expect("its newest is damaged");
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.text.contains(&manifest.to_string()), "{error}");
    let root = error.text.split_whitespace().find(|word| word.contains("root-")).unwrap();
    assert!(error.text.contains(&format!("{root} names it and 2 older ones")), "{error}");
    let verify = format!("`aquifer verify {root} --dfs URL`");
    let inspect = format!("`aquifer inspect {root} --dfs URL`");
    assert!(error.text.contains(&verify) && error.text.contains(&inspect), "{error}");

    // By its name below the root of the DFS, and as a file.
    let at = dfs.join(root);
    for args in [&["verify", root, "--dfs", "dfs"][..], &["verify", at.to_str().unwrap()]] {
        let (answer, code) = aquifer(path, args);
        assert_eq!(code, 1, "{answer}");
        let result = |number| answer[format!("checkpoint_{number}")]["result"].as_str();
        let whole = [1, 2, 3].map(result);
        assert_eq!(whole, [Some("whole"), Some("whole"), Some("not whole")], "{answer}");
    }
    // What else is needed, nobody knows: that is no answer.
    let mut scrub = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    let output = scrub.arg("scrub").arg(&at).args(["--delete", "--grace", "0s"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("none was deleted") && said.contains(&manifest.to_string()), "{said}");
    let (answer, _) = aquifer(path, &["inspect", root, "--dfs", "dfs"]);
    let older = answer["checkpoints"][1]["handle"].as_str().unwrap();
    let (answer, code) = aquifer(path, &["export", older, "--dfs", "dfs", "--to", "older.dump"]);
    assert_eq!((code, &answer["rows"]), (0, &1.into()), "{answer}");

    let other = StoreConfig { handles: vec![unhex(older)], ..StoreConfig::new(8, KEY_GROUPS) };
    let mut host = Host::open(&engine, other).unwrap();
    assert_eq!(host.one(None), b"second");
    drop(host);
    engine.close(std::time::Duration::from_secs(60)).unwrap();
}

#[test]
fn a_root_stands_for_its_newest_checkpoint_where_one_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (path, dfs) = (folder.path(), folder.path().join("dfs"));
    let config = Config { memory_bytes: MEMORY_MIN_BYTES, ..Config::new(dfs.to_str().unwrap()) };
    let engine = Engine::open(config).unwrap();
    let keeps = StoreConfig { keep: 2, ..StoreConfig::new(7, KEY_GROUPS) };
    let mut host = Host::open(&engine, keeps).unwrap();
    host.one(Some(b"v"));
    host.session.checkpoint(host.store).unwrap();
    host.session.checkpoint(host.store).unwrap();
    drop(host);
    engine.close(std::time::Duration::from_secs(60)).unwrap();
    let root = aquifer::types::ObjectName::root(7, 3).to_string();
    let (answer, code) = aquifer(path, &["export", &root, "--dfs", "dfs", "--to", "dump"]);
    assert_eq!((code, &answer["rows"]), (0, &1.into()), "{answer}");
    let at = dfs.join(&root);
    let (answer, code) = aquifer(path, &["scrub", at.to_str().unwrap()]);
    assert_eq!((code, answer["orphans"].as_array().unwrap().len()), (0, 0), "{answer}");
    // Before its first checkpoint there is none.
    let first = dfs.join(aquifer::types::ObjectName::root(7, 1).to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    let output = command.arg("verify").arg(first).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("names no checkpoint yet"));
}
