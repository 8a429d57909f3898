use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use aquifer::checkpoint::root::Root;

use super::*;
use crate::objects::testing::{Store, rows, table};
use crate::page::hex;

const DAY: Duration = Duration::from_secs(86_400);

fn args(store: &Store, delete: bool) -> Args {
    Args {
        handles: vec![hex(&store.handle.encode())],
        dfs: Some(store.folder.path().to_str().unwrap().to_owned()),
        grace: DAY,
        delete,
        json: true,
    }
}

fn age(store: &Store, name: &ObjectName, by: Duration) {
    let file = File::options().write(true).open(store.path(name)).unwrap();
    file.set_modified(SystemTime::now() - by).unwrap();
}

#[test]
fn what_is_old_and_unnamed_goes_and_nothing_else() {
    let store = Store::new();
    let orphans = [8, 9].map(|seq| table(&store.folder, seq, &rows()).name);
    let young = table(&store.folder, 10, &rows()).name;
    let kept: Vec<ObjectName> = store.manifest.tables.iter().map(|table| table.name).collect();
    for name in orphans.iter().chain(&kept).chain([&store.handle.manifest]) {
        age(&store, name, 2 * DAY);
    }
    age(&store, &young, DAY - Duration::from_secs(600));
    assert!(!scrub(&args(&store, false)).unwrap(), "orphans are left");
    assert!(orphans.iter().all(|name| store.path(name).exists()), "a look deletes nothing");
    assert!(scrub(&args(&store, true)).unwrap());
    assert!(orphans.iter().all(|name| !store.path(name).exists()));
    for name in kept.iter().chain([&young, &store.handle.manifest]) {
        assert!(store.path(name).exists(), "{name}");
    }
    assert!(scrub(&args(&store, true)).unwrap(), "none is left");
    assert_eq!(fs::read_dir(store.folder.path()).unwrap().count(), 1, "the store alone");
}

#[test]
fn what_killed_processes_leave_besides_objects_goes_too() {
    let store = Store::new();
    let folder = store.folder.path();
    let beside = store.path(&store.handle.manifest);
    let at = |name: &str| beside.with_file_name(name);
    let trial = ObjectName { store: TRIAL_STORE, ..store.handle.manifest };
    let (trial, running) = (store.path(&trial), store.path(&ObjectName { rand: 8, ..trial }));
    let old = [at("tmp-sst-1-2"), trial.clone(), trial.with_file_name("tmp-manifest-1-2")];
    let young = [at("tmp-sst-1-3"), running];
    let foreign = at("notes");
    fs::create_dir_all(trial.parent().unwrap()).unwrap();
    for path in old.iter().chain(&young).chain([&foreign]) {
        fs::write(path, b"half").unwrap();
    }
    for path in old.iter().chain([&foreign]) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - 2 * DAY).unwrap();
    }
    assert!(!scrub(&args(&store, false)).unwrap(), "orphans are left");
    assert!(old.iter().all(|path| path.exists()), "a look deletes nothing");
    assert!(scrub(&args(&store, true)).unwrap());
    assert!(old.iter().all(|path| !path.exists()));
    assert!(young.iter().chain([&foreign]).all(|path| path.exists()));
    // With the last of a trial its folders go.
    fs::remove_file(&young[1]).unwrap();
    fs::write(&trial, b"half").unwrap();
    let file = File::options().write(true).open(&trial).unwrap();
    file.set_modified(SystemTime::now() - 2 * DAY).unwrap();
    assert!(scrub(&args(&store, true)).unwrap());
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "the store alone");
}

#[test]
fn what_a_store_keeps_by_roots_is_needed_without_being_named() {
    let store = Store::new();
    let dfs = Dfs::open(store.folder.path().to_str().unwrap()).unwrap();
    // It keeps a checkpoint that is not named, with a table of its own.
    let only = table(&store.folder, 8, &rows());
    let name = ObjectName { seq: 90, ..store.handle.manifest };
    let mut manifest = store.manifest.clone();
    manifest.tables.push(only);
    manifest.tablets[0].runs.push(manifest.tables.len() as u32 - 1);
    let bytes = manifest.encode(&name);
    dfs.put(&name, &bytes).unwrap();
    let kept = vec![Handle::of(name, &bytes)];
    let root = Root { store: name.store, number: 1, incarnation: name.incarnation, kept };
    dfs.put(&root.name(), &root.encode()).unwrap();
    for name in [only.name, name, root.name()] {
        age(&store, &name, 2 * DAY);
    }
    assert!(scrub(&args(&store, true)).unwrap(), "none is an orphan");
    for name in [only.name, name, root.name()] {
        assert!(store.path(&name).exists(), "{name}");
    }
}

#[test]
fn nothing_goes_where_something_needed_is_missing() {
    let store = Store::new();
    let orphan = table(&store.folder, 8, &rows()).name;
    age(&store, &orphan, 2 * DAY);
    fs::remove_file(store.path(&store.manifest.tables[0].name)).unwrap();
    let error = scrub(&args(&store, true)).unwrap_err();
    assert!(error.to_string().contains("verify"), "{error:#}");
    fs::remove_file(store.path(&store.handle.manifest)).unwrap();
    scrub(&args(&store, true)).unwrap_err();
    assert!(store.path(&orphan).exists());
}
