use super::*;

#[test]
fn no_more_than_the_limit_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, [7; 100]).unwrap();
    assert_eq!(read(&path, 100).unwrap(), [7; 100]);
    assert_eq!(read(&path, 99).unwrap_err().kind(), ErrorKind::FileTooLarge);
}

#[test]
fn what_has_no_end_is_not_read() {
    for (path, why) in [("/dev/zero", "no file"), ("/dev/null", "no file"), ("/", "a folder")] {
        let path = Path::new(path);
        assert!(read(path, 10).unwrap_err().to_string().contains(why), "{}", path.display());
        assert!(check(path).is_err(), "{}", path.display());
    }
    assert_eq!(read(Path::new("/none"), 10).unwrap_err().kind(), ErrorKind::NotFound);
}
