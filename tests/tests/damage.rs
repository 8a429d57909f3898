//! A restore from objects that are not whole. A manifest fails it; a table fails the requests that
//! touch it. Both name the object, and when the damage is undone all is well.

use std::path::{Path, PathBuf};

use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::Error;
use aquifer::types::error::ErrorKind;
use aquifer_tests::io_mode;

const KEY_GROUPS: u32 = 16;

fn store_config(handle: Option<Vec<u8>>) -> StoreConfig {
    let mut states = StateTable::default();
    states.declare("v", StateKind::Value).unwrap();
    StoreConfig { states, handles: handle.into_iter().collect(), ..StoreConfig::new(1, KEY_GROUPS) }
}

fn session(folder: &Path) -> (Engine, Session) {
    let dfs = format!("file://{}", folder.display());
    let (memory_bytes, thread, io) = (64 << 20, ShardThread::Inline, io_mode());
    let config = Config { memory_bytes, thread, io, ..Config::new(dfs) };
    let engine = Engine::open(config).unwrap();
    let session = engine.session(0).unwrap();
    (engine, session)
}

/// A checkpoint of a store of some thousand rows.
fn checkpoint(folder: &Path) -> Vec<u8> {
    let (_engine, mut session) = session(folder);
    let (store, states) = session.open_store(store_config(None)).unwrap();
    let state = states.value(store, "v").unwrap();
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    for number in 0..4000_u32 {
        let bytes = number.to_be_bytes();
        let key = Key::new(&bytes, KEY_GROUPS);
        let target = Target { key, namespace: &[], user_data: 0 };
        state.request_put(&mut batch, &target, &[7; 100]).unwrap();
    }
    while session.in_flight() > 0 || !batch.requests.is_empty() {
        session.submit(&mut batch).unwrap();
        session.poll(None, &mut done).unwrap();
        assert!(done.items.iter().all(|c| c.status == Status::Done), "{:?}", done.errors);
    }
    session.checkpoint(store).unwrap()
}

fn object(folder: &Path, kind: &str) -> PathBuf {
    let only = |folder: &Path| std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut entries = std::fs::read_dir(only(&only(folder))).unwrap().map(|e| e.unwrap().path());
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(kind);
    entries.find(is_it).unwrap()
}

/// What getting the first row of a restored store says: its value, or what failed.
fn get(session: &mut Session, store: StoreId, states: &StateTable) -> Result<Vec<u8>, Error> {
    let state = states.value(store, "v").unwrap();
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    let key = Key::new(&[0; 4], KEY_GROUPS);
    state.request_get(&mut batch, &Target { key, namespace: &[], user_data: 0 }).unwrap();
    session.submit(&mut batch).unwrap();
    while done.items.is_empty() {
        session.poll(None, &mut done).unwrap();
    }
    match done.items[0].status {
        Status::Value => Ok(done.value(&done.items[0]).to_vec()),
        Status::Failed { index } => Err(done.errors[index as usize].clone()),
        other => panic!("{other:?} for a row that was written"),
    }
}

/// What a restore says after `damage` was done to the manifest, or a get after it was done to the
/// table. The same engine answers when the damage was undone.
#[track_caller]
fn restore(kind: &str, damage: impl Fn(&Path)) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let handle = checkpoint(folder.path());
    let path = object(folder.path(), kind);
    let whole = std::fs::read(&path).unwrap();
    damage(&path);
    let (_engine, mut session) = session(folder.path());
    let opened = session.open_store(store_config(Some(handle.clone())));
    let (error, opened) = match opened {
        Ok((store, states)) => {
            (get(&mut session, store, &states).unwrap_err(), Some((store, states)))
        }
        Err(error) => (error, None),
    };
    println!("{error}");
    check_text(&error, folder.path(), &path);
    assert_eq!(opened.is_some(), kind == "sst", "a restore reads the manifest alone");
    std::fs::write(&path, whole).unwrap();
    let reopen = || session.open_store(store_config(Some(handle))).unwrap();
    let (store, states) = opened.unwrap_or_else(reopen);
    assert_eq!(get(&mut session, store, &states).unwrap(), [7; 100]);
    error
}

/// An error names the object by its path below the root, and damage what to do.
#[track_caller]
fn check_text(error: &Error, root: &Path, path: &Path) {
    let name = path.strip_prefix(root).unwrap().to_str().unwrap();
    assert!(error.text.contains(name), "{name}: {error}");
    if error.kind == ErrorKind::Corrupt {
        assert!(error.text.contains("restore from an older checkpoint"), "{error}");
    }
}

fn missing(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

/// Cuts bytes off the end of a file.
fn cut_off(bytes: u64) -> impl Fn(&Path) {
    move |path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
    }
}

/// Changes one bit.
fn flipped(at: impl Fn(usize) -> usize) -> impl Fn(&Path) {
    move |path| {
        let mut bytes = std::fs::read(path).unwrap();
        let at = at(bytes.len());
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
}

fn emptied(path: &Path) {
    std::fs::write(path, []).unwrap();
}

#[test]
fn a_missing_manifest_is_named() {
    assert_eq!(restore("manifest", missing).kind, ErrorKind::MissingObject);
}

#[test]
fn a_truncated_manifest_is_named() {
    assert_eq!(restore("manifest", cut_off(1)).kind, ErrorKind::Corrupt);
    assert_eq!(restore("manifest", emptied).kind, ErrorKind::Corrupt);
}

#[test]
fn a_changed_manifest_fails_its_checksum() {
    let error = restore("manifest", flipped(|len| len / 2));
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.text.contains("checksum"), "{error}");
}

#[test]
fn a_changed_table_fails_its_checksum() {
    // In its resident part, before the page of the footer.
    let error = restore("sst", flipped(|len| len - 4096 - 100));
    assert_eq!(error.kind, ErrorKind::Corrupt);
}

#[test]
fn a_changed_unit_fails_the_reads_that_need_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let handle = checkpoint(folder.path());
    let path = object(folder.path(), "sst");
    flipped(|_| 100)(&path);
    let (_engine, mut session) = session(folder.path());
    let (store, states) = session.open_store(store_config(Some(handle))).unwrap();
    let state = states.value(store, "v").unwrap();
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    for number in 0..4000_u32 {
        let bytes = number.to_be_bytes();
        let target = Target { key: Key::new(&bytes, KEY_GROUPS), namespace: &[], user_data: 0 };
        state.request_get(&mut batch, &target).unwrap();
    }
    let (mut found, mut failed) = (0, 0);
    while session.in_flight() > 0 || !batch.requests.is_empty() {
        session.submit(&mut batch).unwrap();
        session.poll(None, &mut done).unwrap();
        found += done.items.iter().filter(|c| c.status == Status::Value).count();
        for error in &done.errors {
            assert_eq!(error.kind, ErrorKind::Corrupt);
            check_text(error, folder.path(), &path);
            assert!(error.text.contains("unit at byte 0: checksum differs"), "{error}");
            failed += 1;
        }
    }
    assert_eq!(found + failed, 4000);
    assert!((1..200).contains(&failed), "{failed} of one unit");
}

#[test]
fn a_missing_table_is_named() {
    assert_eq!(restore("sst", missing).kind, ErrorKind::MissingObject);
}

#[test]
fn a_truncated_table_is_named() {
    // Its last page, a piece of its resident part, all of it; not whole pages.
    for bytes in [4096, 8192, 100] {
        assert_eq!(restore("sst", cut_off(bytes)).kind, ErrorKind::Corrupt, "{bytes}");
    }
    assert_eq!(restore("sst", emptied).kind, ErrorKind::Corrupt);
}

#[test]
fn an_engine_may_go_while_tables_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let handle = checkpoint(folder.path());
    for _ in 0..20 {
        let (_engine, mut session) = session(folder.path());
        session.open_store(store_config(Some(handle.clone()))).unwrap();
    }
}
