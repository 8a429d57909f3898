//! Imports that are interrupted, and dumps and files that are not what they should be.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use aquifer::checkpoint::handle::Handle;
use aquifer::io::dfs::Dfs;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectKind, ObjectName};
use indicatif::ProgressBar;

use super::load;
use crate::dump::testing::{SMALL, dump, exported, import};
use crate::objects::Root;

const ALL: (u16, u16) = (0, 15);

/// Gives so many bytes and then fails.
struct Interrupted<'a>(&'a [u8]);

impl Read for Interrupted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(io::Error::other("interrupted")),
            read => Ok(read),
        }
    }
}

fn objects(folder: &Path, store: u64) -> BTreeSet<ObjectName> {
    let dfs = Dfs::open(folder.join("dfs").to_str().unwrap()).unwrap();
    dfs.list(store).unwrap().into_iter().map(|object| object.name).collect()
}

/// What the handle needs.
fn named(folder: &Path, name: &str) -> BTreeSet<ObjectName> {
    let root = Root::of_url(folder.join("dfs").to_str().unwrap()).unwrap();
    let handle = Handle::decode(&fs::read(folder.join(name)).unwrap()).unwrap();
    let tables = root.manifest(&handle).unwrap().tables;
    tables.iter().map(|table| table.name).chain([handle.manifest]).collect()
}

#[test]
fn an_import_holds_what_the_dump_does() {
    let folder = tempfile::tempdir().unwrap();
    for (store, range) in [(1, ALL), (2, (3, 9)), (3, (15, 15))] {
        let dump = dump(range, 0);
        let done = import(&dump[..], folder.path(), store, &format!("{store}")).unwrap();
        assert_eq!((done.place.bytes, done.head.range), (dump.len() as u64, range));
        assert!(exported(folder.path(), &[&format!("{store}")]) == dump, "{range:?}");
        assert_eq!(objects(folder.path(), store), named(folder.path(), &format!("{store}")));
    }
    // A store without rows is one, too.
    let writer = crate::dump::Writer::create(Vec::new(), &crate::dump::testing::head(ALL)).unwrap();
    let empty = writer.finish().unwrap().0;
    assert_eq!(import(&empty[..], folder.path(), 4, "empty").unwrap().tables, 0);
    assert!(exported(folder.path(), &["empty"]) == empty);
}

#[test]
fn an_import_goes_on_where_it_was_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let dump = dump(ALL, 0);
    let mut store = 0;
    let mut kept_most = 0;
    for len in (0..dump.len()).step_by(dump.len() / 12) {
        store += 1;
        let name = format!("{store}");
        let error = import(Interrupted(&dump[..len]), folder.path(), store, &name).unwrap_err();
        assert!(format!("{error:#}").contains("interrupted"), "{len} bytes: {error:#}");
        assert!(!folder.path().join(&name).exists(), "{len} bytes are no import");
        // Twice, the second time a little further on.
        let more = (len + dump.len() / 7).min(dump.len() - 1);
        import(Interrupted(&dump[..more]), folder.path(), store, &name).unwrap_err();
        let before = objects(folder.path(), store);
        let done = import(&dump[..], folder.path(), store, &name).unwrap();
        assert!(exported(folder.path(), &[&name]) == dump, "{len} bytes");
        let (named, after) = (named(folder.path(), &name), objects(folder.path(), store));
        let again = named.intersection(&before).count();
        assert_eq!(again > 0, done.blocks_kept > 0, "{len} bytes: its tables are used");
        let manifests = |name: &&ObjectName| name.kind == ObjectKind::Manifest;
        assert_eq!(after.iter().filter(manifests).count(), 1, "{len} bytes");
        kept_most = kept_most.max(done.blocks_kept);
        assert!(!folder.path().join(format!("{store}.partial")).exists());
    }
    assert!(kept_most > 10, "{kept_most}");
}

fn refused(dump: &[u8], folder: &Path, name: &str) -> String {
    format!("{:#}", import(dump, folder, 1, name).expect_err("it is refused"))
}

#[test]
fn an_import_goes_on_with_the_same_dump_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other, small) = (dump(ALL, 0), dump(ALL, 1), dump((0, 0), 0));
    let path = folder.path();
    import(Interrupted(&one[..one.len() / 2]), path, 1, "h").unwrap_err();
    for dump in [&other, &small] {
        let error = refused(dump, path, "h");
        assert!(error.contains("of another dump") && error.contains("h.partial"), "{error}");
    }
    // What it kept is of another DFS.
    let kept = fs::read(path.join("h.partial")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("h.partial"), &kept).unwrap();
    let error = refused(&one, elsewhere.path(), "h");
    assert!(error.contains("remove") && error.contains("h.partial"), "{error}");
    for at in 0..kept.len() {
        let mut damaged = kept.clone();
        damaged[at] ^= 1;
        fs::write(path.join("h.partial"), &damaged).unwrap();
        let error = refused(&one, path, "h");
        assert!(error.contains("not that of an import"), "byte {at}: {error}");
    }
    fs::write(path.join("h.partial"), &kept).unwrap();
    import(&one[..], path, 1, "h").unwrap();
    assert!(exported(path, &["h"]) == one);
    let error = refused(&one, path, "h");
    assert!(error.contains("h is there already"), "{error}");
    assert!(exported(path, &["h"]) == one);
}

#[test]
fn a_damaged_dump_makes_no_handle() {
    let folder = tempfile::tempdir().unwrap();
    let dump = dump(ALL, 0);
    for (at, name) in (0..dump.len()).step_by(dump.len() / 9).zip("abcdefghijkl".chars()) {
        let mut damaged = dump.clone();
        damaged[at] ^= 4;
        let name = name.to_string();
        let error = import(&damaged[..], folder.path(), 1, &name).unwrap_err();
        let kind = error.downcast_ref::<Error>().map(|error| error.kind);
        assert_eq!(kind, Some(ErrorKind::Corrupt), "byte {at}: {error:#}");
        let told = format!("{error:#}");
        assert!(told.contains("block ") || at < 100, "byte {at}: {told}");
        assert!(!folder.path().join(&name).exists(), "byte {at}");
        // The rest of a copy that is whole completes it.
        import(&dump[..], folder.path(), 1, &name).unwrap();
        assert!(exported(folder.path(), &[&name]) == dump, "byte {at}");
    }
    for cut in [1, 30, dump.len() / 2] {
        let error = refused(&dump[..dump.len() - cut], folder.path(), "z");
        assert!(error.contains("block "), "{cut} bytes less: {error}");
    }
}

#[test]
fn what_fails_for_the_moment_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let dump = dump(ALL, 0);
    let url = format!("file://{}/dfs?fail=0.3&seed=1", folder.path().display());
    let (dfs, handle) = (Dfs::open(&url).unwrap(), folder.path().join("h"));
    load(&dump[..], &dfs, 1, &handle, SMALL, &ProgressBar::hidden()).unwrap();
    assert!(exported(folder.path(), &["h"]) == dump);
    let error = import(&dump[..], folder.path(), 1, "none/h").unwrap_err().to_string();
    assert!(error.contains("no folder for"), "{error}");
}
