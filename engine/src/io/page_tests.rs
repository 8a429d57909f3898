use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::io::test_support::Folder;

fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_reader_sees_a_whole_page_whenever_it_looks() {
    let folder = Folder::new();
    let path = folder.path().join("page");
    let page = Page::new(&path).unwrap();
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
fn a_link_in_its_place_is_replaced_and_not_followed() {
    let folder = Folder::new();
    let (path, other) = (folder.path().join("page"), folder.path().join("other"));
    fs::write(&other, "other").unwrap();
    symlink(&other, &path).unwrap();
    let page = Page::new(&path).unwrap();
    page.write(b"page").unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"other");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    drop(page);
    assert_eq!(names(&folder), ["other"]);
}

#[test]
fn a_page_without_a_folder_is_refused() {
    let folder = Folder::new();
    let page = Page::new(&folder.path().join("missing").join("page")).unwrap();
    let error = page.write(b"page").unwrap_err();
    assert!(error.text.contains("does its folder exist?"), "{error}");
    assert!(Page::new(Path::new("/")).is_err());
}
