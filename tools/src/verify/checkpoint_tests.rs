use std::fs;

use aquifer::limits::PAGE_BYTES;
use aquifer::types::ObjectName;
use indicatif::ProgressBar;

use super::{Checked, Checker, FAULTS_MAX, Fault, Kind};
use crate::objects::testing::{ROWS, Store};

fn check(store: &Store, deep: bool) -> Checked {
    let mut checker = Checker::new(store.root(), deep, ProgressBar::hidden());
    checker.check(&store.handle.encode())
}

fn only(checked: &Checked) -> (Kind, &str, Option<u64>) {
    let [fault] = &checked.faults[..] else { panic!("{:?}", checked.faults) };
    (fault.kind, &fault.object, fault.offset)
}

fn table(store: &Store) -> (ObjectName, String) {
    let name = store.manifest.tables[0].name;
    (name, name.to_string())
}

#[test]
fn a_whole_checkpoint_has_no_faults() {
    let store = Store::new();
    for deep in [false, true] {
        let checked = check(&store, deep);
        assert_eq!((checked.faults.len(), checked.tables), (0, 2), "{:?}", checked.faults);
        assert_eq!(checked.rows, if deep { 2 * (2 * ROWS + 1) } else { 0 });
        assert_eq!(checked.manifest, Some(store.handle.manifest.to_string()));
    }
}

#[test]
fn a_table_that_two_checkpoints_name_is_read_once() {
    let store = Store::new();
    let mut checker = Checker::new(store.root(), true, ProgressBar::hidden());
    let handle = store.handle.encode();
    assert!(checker.check(&handle).rows > 0);
    assert_eq!(checker.check(&handle).rows, 0);
    let (name, path) = table(&store);
    // One that was not whole is looked at again.
    store.flip(&name, 50);
    let mut checker = Checker::new(store.root(), true, ProgressBar::hidden());
    for _ in 0..2 {
        assert_eq!(only(&checker.check(&handle)), (Kind::Damaged, &path[..], Some(0)));
    }
}

#[test]
fn what_is_missing_or_cut_is_named() {
    let store = Store::new();
    let (name, path) = table(&store);
    let whole = fs::read(store.path(&name)).unwrap();
    fs::write(store.path(&name), &whole[..whole.len() - PAGE_BYTES]).unwrap();
    let end = (whole.len() - PAGE_BYTES) as u64;
    assert_eq!(only(&check(&store, false)), (Kind::Damaged, &path[..], Some(end)));
    fs::remove_file(store.path(&name)).unwrap();
    assert_eq!(only(&check(&store, false)), (Kind::Missing, &path[..], None));
    fs::create_dir(store.path(&name)).unwrap();
    assert_eq!(only(&check(&store, false)), (Kind::Damaged, &path[..], None));
    let manifest = store.handle.manifest;
    fs::remove_file(store.path(&manifest)).unwrap();
    assert_eq!(only(&check(&store, false)).0, Kind::Missing);
}

#[test]
fn every_flipped_bit_is_found() {
    let store = Store::new();
    let (name, path) = table(&store);
    let table_ref = store.manifest.tables[0];
    let parts = [table_ref.file_bytes - 4000, table_ref.meta_offset + 40];
    for at in parts {
        store.flip(&name, at);
        let checked = check(&store, false);
        let place = at - at % PAGE_BYTES as u64;
        assert_eq!(only(&checked), (Kind::Damaged, &path[..], Some(place)), "byte {at}");
        store.flip(&name, at);
    }
    store.flip(&name, 17);
    assert_eq!(check(&store, false).faults, [], "a unit is read by a deep check alone");
    assert_eq!(only(&check(&store, true)), (Kind::Damaged, &path[..], Some(0)));
    store.flip(&name, 17);
    for at in 0..fs::metadata(store.path(&store.handle.manifest)).unwrap().len() {
        store.flip(&store.handle.manifest, at);
        assert_eq!(only(&check(&store, false)).0, Kind::Damaged, "byte {at}");
        store.flip(&store.handle.manifest, at);
    }
    assert_eq!(check(&store, true).faults, []);
    let mut handle = store.handle.encode();
    handle[20] ^= 1;
    let mut checker = Checker::new(store.root(), false, ProgressBar::hidden());
    assert_eq!(only(&checker.check(&handle)).1, "the handle");
}

#[test]
fn keys_that_are_not_the_stores_are_found_where_readers_meet_them() {
    let mut store = Store::new();
    // The second tablet begins at group 16 and names the first table alone.
    store.manifest.range = (0, 20);
    store.write_manifest();
    let checked = check(&store, true);
    assert!(checked.faults.iter().all(|f| f.what.contains("not of the store's")), "{checked:?}");
    assert!(checked.faults.iter().all(|f| f.object == table(&store).1), "{checked:?}");
    assert!(!checked.faults.is_empty());

    let mut store = Store::new();
    store.manifest.states = vec![1, 3, 0, 1, b'm'];
    store.write_manifest();
    let faults = check(&store, true).faults;
    assert!(faults.iter().any(|f| f.what.contains("not one of state 1, a map")), "{faults:?}");
    store.manifest.states = vec![0];
    store.write_manifest();
    let faults = check(&store, true).faults;
    assert!(faults.iter().any(|f| f.what.contains("no state 1")), "{faults:?}");
    store.manifest.range = (5, 2);
    store.write_manifest();
    assert!(check(&store, false).faults[0].what.contains("key groups are not below"));
}

#[test]
fn a_file_that_cannot_be_read_is_not_called_damaged() {
    let store = Store::new();
    let (name, _) = table(&store);
    let folder = store.path(&name).parent().unwrap().to_owned();
    // A path through a file: the system refuses it without saying that nothing is there.
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, b"").unwrap();
    assert_eq!(check(&store, false).faults[0].kind, Kind::Unreadable);
}

#[test]
fn faults_beyond_the_limit_are_counted() {
    let mut checked = Checked::default();
    let fault =
        Fault { kind: Kind::Missing, object: String::new(), offset: None, what: String::new() };
    (0..FAULTS_MAX + 7).for_each(|_| checked.add(fault.clone()));
    assert_eq!((checked.faults.len(), checked.left_off), (FAULTS_MAX, 7));
}
