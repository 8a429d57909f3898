//! Exports of several checkpoints, and exports that are interrupted.

use std::fs::{self, File};
use std::path::Path;

use aquifer::types::ObjectKind;
use aquifer::types::error::ErrorKind;
use indicatif::ProgressBar;

use super::{Exported, to_file, to_output};
use crate::dump::testing::{dump, exported, import, source};

const ALL: (u16, u16) = (0, 15);

fn export(folder: &Path, handles: &[&str], to: &str) -> anyhow::Result<Exported> {
    let source = source(folder, handles)?;
    to_file(&source, &folder.join(to), &ProgressBar::hidden())
}

/// The one that an export of these handles would go on with.
fn partial(folder: &Path, handles: &[&str], to: &str) -> std::path::PathBuf {
    let digest = source(folder, handles).unwrap().digest();
    folder.join(format!("{to}.{digest:016x}.partial"))
}

#[test]
fn handles_of_several_stores_make_one_dump_by_key_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (store, range) in [(1, (0, 4)), (2, (5, 5)), (3, (6, 15))] {
        import(&dump(range, 0)[..], path, store, &format!("{store}")).unwrap();
    }
    for handles in [["1", "2", "3"], ["3", "1", "2"]] {
        assert!(exported(path, &handles) == dump(ALL, 0), "{handles:?}");
    }
    // Neighbours alone are a dump of what they hold.
    assert!(exported(path, &["2", "1"]) == dump((0, 5), 0));
    for (handles, what) in [
        (&["1", "3"][..], "no checkpoint holds key groups 5"),
        (&["1", "2", "1"], "both hold key groups 0"),
    ] {
        let Err(error) = source(path, handles) else { panic!("{handles:?} are taken") };
        assert!(error.text.contains(what), "{error}");
    }
}

#[test]
fn an_export_goes_on_behind_the_last_whole_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let whole = dump(ALL, 0);
    import(&whole[..], path, 1, "h").unwrap();
    let left = partial(path, &["h"], "out");
    let mut blocks_most = 0;
    for len in (0..=whole.len()).step_by(whole.len() / 16).chain([whole.len()]) {
        for damage in [false, true] {
            let mut bytes = whole[..len].to_vec();
            if damage {
                // Also behind what it wrote, as a file system leaves after a power cut.
                bytes.extend_from_slice(&[0; 100]);
                bytes[len / 2] ^= 8;
            }
            fs::write(&left, &bytes).unwrap();
            let done = export(path, &["h"], "out").unwrap();
            assert_eq!(done.place.bytes, whole.len() as u64);
            assert!(fs::read(path.join("out")).unwrap() == whole, "{len} bytes, {damage}");
            assert!(!left.exists(), "{len} bytes");
            blocks_most = blocks_most.max(done.blocks_left);
            fs::remove_file(path.join("out")).unwrap();
        }
    }
    assert_eq!(blocks_most, 16);
    // What others have left is not gone on with.
    import(&dump(ALL, 1)[..], path, 2, "other").unwrap();
    fs::write(&left, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(export(path, &["other"], "out").unwrap().blocks_left, 0);
    assert!(fs::read(path.join("out")).unwrap() == dump(ALL, 1));
    assert!(left.exists());
    let error = export(path, &["h"], "out").unwrap_err().to_string();
    assert!(error.contains("out is there already"), "{error}");
}

#[test]
fn two_exports_do_not_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    import(&dump(ALL, 0)[..], folder.path(), 1, "h").unwrap();
    let held = File::create(partial(folder.path(), &["h"], "out")).unwrap();
    held.lock().unwrap();
    let error = export(folder.path(), &["h"], "out").unwrap_err().to_string();
    assert!(error.contains("another export writes"), "{error}");
    drop(held);
    export(folder.path(), &["h"], "out").unwrap();
}

#[test]
fn damage_of_a_checkpoint_ends_an_export_that_goes_on_when_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let whole = dump(ALL, 0);
    import(&whole[..], path, 1, "h").unwrap();
    let handle = fs::read(path.join("h")).unwrap();
    let handle = aquifer::checkpoint::handle::Handle::decode(&handle).unwrap();
    let manifest = source(path, &["h"]).unwrap().root.manifest(&handle).unwrap();
    let last = manifest.tables.last().unwrap().name;
    assert_eq!(last.kind, ObjectKind::Sst);
    let object = path.join("dfs").join(last.to_string());
    let bytes = fs::read(&object).unwrap();

    let mut damaged = bytes.clone();
    damaged[5000] ^= 1;
    fs::write(&object, &damaged).unwrap();
    let error = export(path, &["h"], "out").unwrap_err();
    let told = format!("{error:#}");
    assert!(told.contains(&last.to_string()) && told.contains("checksum"), "{told}");
    let mut out = Vec::new();
    let source = source(path, &["h"]).unwrap();
    to_output(&source, &mut out, &ProgressBar::hidden()).unwrap_err();
    assert!(whole.starts_with(&out) && out.len() < whole.len(), "nothing wrong, and no end");

    fs::remove_file(&object).unwrap();
    let error = export(path, &["h"], "out").unwrap_err();
    let kind = error.downcast_ref::<aquifer::types::Error>().map(|error| error.kind);
    assert_eq!(kind, Some(ErrorKind::MissingObject), "{error:#}");
    fs::write(&object, &bytes).unwrap();
    assert!(export(path, &["h"], "out").unwrap().blocks_left > 0);
    assert!(fs::read(path.join("out")).unwrap() == whole);
}
