use super::*;
use crate::io::test_support::check_golden;
use crate::types::ObjectKind;

const GOLDEN: &[u8] = include_bytes!("../../testdata/root-v1.bin");

fn handle(seq: u64) -> Handle {
    let incarnation = Incarnation { host_epoch: 7, nonce: 0x0123_4567_89ab_cdef << 60 };
    let kind = ObjectKind::Manifest;
    let name = ObjectName { store: 3, incarnation, kind, seq, rand: 0xfeed_f00d };
    Handle::of(name, b"the bytes of a manifest")
}

fn root() -> Root {
    let incarnation = Incarnation { host_epoch: 8, nonce: 0xfedc_ba98 };
    Root { store: 3, number: 70, incarnation, kept: vec![handle(42), handle(41)] }
}

// Other bytes, and a checksum that fits them.
fn stamped(name: &ObjectName, mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - 4;
    let check = keyed_crc(object_key(name), 0, &bytes[..body]);
    bytes[body..].copy_from_slice(&check.to_le_bytes());
    bytes
}

#[test]
fn a_root_is_written_and_read_as_ever() {
    check_golden("root-v1.bin", GOLDEN, &root().encode());
    assert_eq!(Root::decode(&root().name(), GOLDEN).unwrap(), root());
    let most = Root { kept: (0..16).map(handle).collect(), ..root() };
    assert_eq!(most.encode().len(), ROOT_BYTES_MAX);
    assert_eq!(Root::decode(&most.name(), &most.encode()).unwrap(), most);
    let empty = Root { kept: Vec::new(), ..root() };
    assert_eq!(Root::decode(&empty.name(), &empty.encode()).unwrap(), empty);
}

#[test]
fn what_is_not_whole_is_refused() {
    let name = root().name();
    for len in 0..GOLDEN.len() {
        assert_eq!(Root::decode(&name, &GOLDEN[..len]).unwrap_err().kind, ErrorKind::Corrupt);
    }
    for bit in 0..GOLDEN.len() * 8 {
        let mut bytes = GOLDEN.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = Root::decode(&name, &bytes).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt, "bit {bit}");
    }
    // The root of another number, or store, under this name.
    for other in [ObjectName::root(3, 71), ObjectName::root(4, 70)] {
        assert_eq!(Root::decode(&other, GOLDEN).unwrap_err().kind, ErrorKind::Corrupt);
    }
}

#[test]
fn what_is_forged_is_refused() {
    let name = root().name();
    let with = |at: usize, value: u8| {
        let mut bytes = GOLDEN.to_vec();
        bytes[at] = value;
        Root::decode(&name, &stamped(&name, bytes)).map_err(|error| error.kind)
    };
    assert_eq!(with(0, b'A'), Ok(root()));
    assert_eq!(with(0, b'X'), Err(ErrorKind::Corrupt));
    assert_eq!(with(8, 2), Err(ErrorKind::Unsupported));
    assert_eq!(with(8, 0), Err(ErrorKind::Corrupt));
    for count in [0, 1, 3, 17, 255] {
        assert_eq!(with(HEAD_BYTES - 1, count), Err(ErrorKind::Corrupt), "{count} checkpoints");
    }
    // A handle that does not hold.
    assert_eq!(with(HEAD_BYTES + 20, 1), Err(ErrorKind::Corrupt));
    for far in [ObjectName::root(3, ROOT_NUMBER_MAX + 1), ObjectName { rand: 1, ..name }] {
        let error = Root::decode(&far, &stamped(&far, GOLDEN.to_vec())).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt);
    }
}

#[test]
fn what_lies_under_a_name_is_told() {
    let name = root().name();
    let loaded = |bytes: &[u8]| Found::of(&name, Ok(bytes.to_vec()));
    assert!(matches!(loaded(GOLDEN), Found::Root(found) if found == root()));
    assert!(matches!(loaded(&GOLDEN[1..]), Found::Unclear(e) if e.kind == ErrorKind::Corrupt));
    let failed = |kind| Found::of(&name, Err(Error::new(kind, "so")));
    assert!(matches!(failed(ErrorKind::MissingObject), Found::Nothing));
    assert!(matches!(failed(ErrorKind::Io), Found::Unclear(e) if e.kind == ErrorKind::Io));
}

#[test]
fn no_root_is_deleted_before_its_boundary_is_old() {
    for spacing in [1, 2, 4, 64] {
        let mut gone = Vec::new();
        for number in 1..10 * spacing {
            if let Some(old) = obsolete(number, spacing) {
                let above = boundary(old, spacing).unwrap();
                assert!(old < above && above + spacing <= number, "{old} goes with {number}");
                gone.push(old);
            }
        }
        assert!(gone.iter().all(|old| !old.is_multiple_of(spacing)), "boundaries stay");
        let all = (1..8 * spacing).filter(|number| !number.is_multiple_of(spacing));
        assert!(gone.iter().copied().eq(all), "each goes once: {gone:?}");
    }
}
