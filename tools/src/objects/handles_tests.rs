use aquifer::checkpoint::handle::Handle;
use aquifer::types::ObjectKind;

use super::read;
use crate::objects::testing::name;
use crate::page::hex;

#[test]
fn handles_one_behind_the_other_are_taken_apart() {
    let handles: Vec<Vec<u8>> =
        (1..=3).map(|seq| Handle::of(name(ObjectKind::Manifest, seq), b"").encode()).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handles");
    std::fs::write(&path, handles.concat()).unwrap();
    for given in [path.to_str().unwrap(), &hex(&handles.concat())] {
        let read = read(given, None).unwrap().handles;
        let (names, bytes): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        assert_eq!(names, ["handle", "handle 2", "handle 3"]);
        assert_eq!(bytes, handles);
    }
}
