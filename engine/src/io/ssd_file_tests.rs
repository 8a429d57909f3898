use super::*;
use crate::io::test_support::Folder;

#[test]
fn a_file_is_kept_shortened_and_used_once() {
    let folder = Folder::new();
    let config = SsdConfig::new(folder.path().join("a/b"), 64 << 20);
    let bytes = config.shard_bytes(2).unwrap();
    assert_eq!(bytes, 32 << 20);
    let first = open(&config, 1, bytes).unwrap();
    assert_eq!(first.stored_bytes, 0);
    assert!(first.free_bytes > 0);
    let error = open(&config, 1, bytes).unwrap_err();
    assert!(error.text.contains("an engine that runs"), "{}", error.text);
    open(&config, 0, bytes).unwrap();
    drop(first);
    let path = config.folder.join("shard-1.cache");
    File::options().write(true).open(path).unwrap().set_len(40 << 20).unwrap();
    assert_eq!(open(&config, 1, bytes).unwrap().stored_bytes, bytes);
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    for bytes in [0, SSD_BYTES_MIN - 1, SSD_BYTES_MAX + 1] {
        assert_eq!(SsdConfig::new("x", bytes).shard_bytes(1).unwrap_err().kind, ErrorKind::Invalid);
    }
    assert!(SsdConfig::new("x", SSD_BYTES_MIN).shard_bytes(2).is_err());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = Folder::new();
    let file = folder.path().join("file");
    std::fs::write(&file, []).unwrap();
    let config = SsdConfig::new(file.join("x"), SSD_BYTES_MIN);
    let error = open(&config, 0, SSD_BYTES_MIN).unwrap_err();
    assert!(error.text.contains("making the folder of"), "{}", error.text);
}
