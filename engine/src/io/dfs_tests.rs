use std::fs;

use super::*;
use crate::io::clock;
use crate::io::test_support::{Folder, name};
use crate::types::error::ErrorKind;

fn both(test: impl Fn(&Dfs)) {
    let folder = Folder::new();
    test(&Dfs::open(folder.url()).unwrap());
    test(&Dfs::open(&format!("memory://dfs-{}", entropy::nonce().unwrap())).unwrap());
}

#[test]
fn put_load_delete() {
    both(|dfs| {
        let object = name(1);
        assert_eq!(dfs.load(&object, 10).unwrap_err().kind, ErrorKind::MissingObject);
        assert_eq!(dfs.open_object(&object, 0).unwrap_err().kind, ErrorKind::MissingObject);
        dfs.put(&object, b"state").unwrap();
        assert_eq!(dfs.load(&object, 5).unwrap(), b"state");
        let error = dfs.load(&object, 4).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge);
        dfs.delete(&object).unwrap();
        dfs.delete(&object).unwrap();
        assert_eq!(dfs.load(&object, 5).unwrap_err().kind, ErrorKind::MissingObject);
        let counters = dfs.counters();
        assert_eq!((counters.puts, counters.put_bytes), (1, 5));
        assert_eq!((counters.gets, counters.get_bytes), (1, 5));
        assert_eq!(counters.deletes, 2);
    });
}

#[test]
fn a_repeated_put_succeeds_and_another_one_does_not() {
    both(|dfs| {
        let object = name(2);
        dfs.put(&object, b"mine").unwrap();
        dfs.put(&object, b"mine").unwrap();
        for other in [b"else".as_slice(), b"longer than mine"] {
            let error = dfs.put(&object, other).unwrap_err();
            assert!(error.text.contains("used twice"), "{error}");
        }
        assert_eq!(dfs.load(&object, 100).unwrap(), b"mine");
    });
}

#[test]
fn an_object_is_created_once_and_listed() {
    both(|dfs| {
        assert_eq!(dfs.list(name(7).store).unwrap(), []);
        assert!(dfs.create(&name(7), b"first").unwrap());
        assert!(!dfs.create(&name(7), b"second").unwrap());
        assert!(!dfs.create(&name(7), b"first").unwrap());
        assert_eq!(dfs.load(&name(7), 9).unwrap(), b"first");
        let listed = dfs.list(name(7).store).unwrap();
        assert_eq!(listed.iter().map(|o| (o.name, o.bytes)).collect::<Vec<_>>(), [(name(7), 5)]);
        assert_eq!(dfs.list(name(7).store + 1).unwrap(), []);
    });
}

#[test]
fn a_missing_object_is_told_with_what_to_do() {
    both(|dfs| {
        let errors = [
            dfs.load(&name(8), 1).unwrap_err(),
            dfs.size(&name(8)).unwrap_err(),
            dfs.read(&name(8), 0, 1).unwrap_err(),
            dfs.open_object(&name(8), 1).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind, ErrorKind::MissingObject);
            let named = error.text.contains(&name(8).to_string());
            assert!(
                named
                    && error.text.contains("something else deleted it: see")
                    && error.text.contains("not the root"),
                "{error}"
            );
        }
    });
}

#[test]
fn no_temporary_file_is_left_behind() {
    let folder = Folder::new();
    let dfs = Dfs::open(folder.url()).unwrap();
    dfs.put(&name(3), b"a").unwrap();
    dfs.put(&name(3), b"a").unwrap();
    dfs.put(&name(3), b"b").unwrap_err();
    let path = folder.path().join(name(3).to_string());
    let files = fs::read_dir(path.parent().unwrap()).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert_eq!(files, [path]);
}

#[test]
fn a_moved_root_keeps_its_objects() {
    let folder = Folder::new();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let dfs = Dfs::open(old.to_str().unwrap()).unwrap();
    assert!(old.is_dir());
    dfs.put(&name(4), b"x").unwrap();
    fs::rename(&old, &new).unwrap();
    let dfs = Dfs::open(new.to_str().unwrap()).unwrap();
    assert_eq!(dfs.load(&name(4), 1).unwrap(), b"x");
}

#[test]
fn a_root_that_takes_no_objects_is_refused() {
    let folder = Folder::new();
    let path = folder.path().join("file");
    fs::write(&path, b"").unwrap();
    for root in [path.to_str().unwrap(), "/proc/state"] {
        let error = Dfs::open(root).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.text.contains(root) && error.text.contains("folder"), "{error}");
    }
}

#[test]
fn roots_in_memory_are_shared_by_name() {
    let url = format!("memory://shared-{}", entropy::nonce().unwrap());
    Dfs::open(&url).unwrap().put(&name(6), b"x").unwrap();
    assert_eq!(Dfs::open(&url).unwrap().load(&name(6), 1).unwrap(), b"x");
    let other = Dfs::open(&format!("{url}-other")).unwrap();
    assert_eq!(other.load(&name(6), 1).unwrap_err().kind, ErrorKind::MissingObject);
}

#[test]
fn injected_faults_follow_their_seed() {
    let fates = |seed: u64| -> Vec<bool> {
        let dfs = Dfs::open(&format!("memory://fates?fail=0.5&seed={seed}")).unwrap();
        (0..64).map(|_| dfs.delete(&name(7)).is_ok()).collect()
    };
    assert_eq!(fates(1), fates(1));
    assert_ne!(fates(1), fates(2));
    let failed = fates(1).iter().filter(|ok| !**ok).count();
    assert!((16..48).contains(&failed), "{failed} of 64");

    let dfs = Dfs::open("memory://always?fail=1").unwrap();
    let error = dfs.put(&name(8), b"x").unwrap_err();
    assert!(error.text.contains("injected"), "{error}");

    let slow = Dfs::open("memory://slow?latency=5ms").unwrap();
    let start = clock::now();
    slow.delete(&name(9)).unwrap();
    assert!(clock::now() - start >= 5_000_000);
}

#[test]
fn what_is_no_file_in_place_of_an_object_is_damage() {
    let folder = Folder::new();
    let dfs = Dfs::open(folder.url()).unwrap();
    let (directory, pipe) = (name(4), name(5));
    fs::create_dir_all(folder.path().join(directory.to_string())).unwrap();
    let path = folder.path().join(pipe.to_string());
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    for (object, what) in [(directory, "it is a folder"), (pipe, "it is no file")] {
        for error in [dfs.load(&object, 10).unwrap_err(), dfs.open_object(&object, 0).unwrap_err()]
        {
            assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
            assert!(
                error.text.contains(&format!("{object} below the DFS root: {what}")),
                "{error}"
            );
        }
    }
}
