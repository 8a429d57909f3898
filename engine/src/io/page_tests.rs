use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::io::test_support::Folder;
use crate::types::error::ErrorKind;

// A page is `page of 12`.
fn writer_of(head: &[u8]) -> Option<u32> {
    std::str::from_utf8(head).ok()?.strip_prefix("page of ")?.parse().ok()
}

fn page(path: &Path) -> Result<Page> {
    Page::new(path, writer_of)
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_reader_sees_a_whole_page_whenever_it_looks() {
    let folder = Folder::new();
    let path = folder.path().join("page");
    let mut page = page(&path).unwrap();
    page.write(b"first").unwrap();
    let reader = std::thread::spawn({
        let path = path.clone();
        move || (0..2000).map(|_| fs::read(&path).unwrap()).collect::<Vec<_>>()
    });
    let mut number = 0_u8;
    while !reader.is_finished() {
        number = number.wrapping_add(1);
        page.write(&vec![number; 30_000]).unwrap();
    }
    for seen in reader.join().unwrap() {
        let whole = seen.len() == 30_000 && seen.iter().all(|byte| *byte == seen[0]);
        assert!(whole || seen == b"first", "{} bytes", seen.len());
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(page);
    assert_eq!(names(&folder), Vec::<String>::new());
}

#[test]
fn what_is_not_a_page_is_refused_and_left_alone() {
    let folder = Folder::new();
    let other = folder.path().join("other");
    fs::write(&other, "mine").unwrap();
    let link = folder.path().join("link");
    symlink(&other, &link).unwrap();
    for (path, what) in [
        (&*other, "not a page"),
        (&*link, "not a file"),
        (folder.path(), "not a file"),
        (Path::new("/dev/null"), "not a file"),
        (Path::new("/"), "names no file"),
        (&folder.path().join("missing").join("page"), "missing"),
    ] {
        let error = page(path).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.text.contains(what), "{error}");
    }
    assert_eq!(fs::read(&other).unwrap(), b"mine");
    assert_eq!(names(&folder).len(), 2);
}

#[test]
fn what_took_its_place_meanwhile_is_left_alone() {
    let folder = Folder::new();
    let (path, other) = (folder.path().join("page"), folder.path().join("other"));
    let mut page = page(&path).unwrap();
    page.write(b"page").unwrap();
    fs::write(&other, "other").unwrap();
    fs::rename(&other, &path).unwrap();
    assert!(page.write(b"again").is_err());
    drop(page);
    assert_eq!(fs::read(&path).unwrap(), b"other");
    assert_eq!(names(&folder), ["page"]);
}

#[test]
fn an_old_page_is_taken_over_and_that_of_an_engine_that_runs_is_not() {
    let folder = Folder::new();
    let path = folder.path().join("page");
    let mut first = page(&path).unwrap();
    let mine = format!("page of {}", std::process::id());
    first.write(mine.as_bytes()).unwrap();
    let error = page(&path).unwrap_err();
    assert!(error.text.contains("another engine of this process"), "{error}");
    drop(first);
    // Left by a process that had this one's number; by one that is gone; by one that runs.
    for (left, runs) in
        [(mine, false), ("page of 4294967295".into(), false), ("page of 1".into(), true)]
    {
        fs::write(&path, &left).unwrap();
        assert_eq!(page(&path).is_err(), runs, "{left}");
        assert_eq!(path.exists(), runs, "what was taken over goes with its new owner");
    }
    let old = SystemTime::now() - Duration::from_millis(PAGE_STALE_MS + 1000);
    File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    page(&path).unwrap().write(b"new").unwrap();
}
