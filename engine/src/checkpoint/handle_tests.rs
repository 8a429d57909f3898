use super::*;
use crate::io::test_support::check_golden;
use crate::types::Incarnation;
use crate::types::error::ErrorKind;

const GOLDEN: &[u8] = include_bytes!("../../testdata/handle-v1.bin");

fn manifest_name() -> ObjectName {
    let incarnation = Incarnation { host_epoch: 7, nonce: 0x0123_4567_89ab_cdef << 60 };
    ObjectName { store: 3, incarnation, kind: ObjectKind::Manifest, seq: 41, rand: 0xfeed_f00d }
}

fn handle() -> Handle {
    Handle::of(manifest_name(), b"the bytes of a manifest")
}

#[test]
fn a_handle_is_written_and_read_as_ever() {
    check_golden("handle-v1.bin", GOLDEN, &handle().encode());
    assert_eq!(GOLDEN.len(), HANDLE_BYTES);
    assert_eq!(Handle::decode(GOLDEN).unwrap(), handle());
}

#[test]
fn a_handle_that_is_not_whole_is_refused() {
    for len in 0..GOLDEN.len() {
        assert_eq!(Handle::decode(&GOLDEN[..len]).unwrap_err().kind, ErrorKind::Corrupt);
    }
    let longer = [GOLDEN, &[0]].concat();
    assert_eq!(Handle::decode(&longer).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn a_handle_with_a_flipped_bit_is_refused() {
    for bit in 0..GOLDEN.len() * 8 {
        let mut bytes = GOLDEN.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Handle::decode(&bytes).unwrap_err().kind, ErrorKind::Corrupt, "bit {bit}");
    }
}

// Another field and a hash that fits it.
fn with(at: usize, value: u8) -> Vec<u8> {
    let mut bytes = GOLDEN.to_vec();
    bytes[at] = value;
    let check = hash64(&bytes[..HANDLE_BYTES - 8]);
    bytes[HANDLE_BYTES - 8..].copy_from_slice(&check.to_le_bytes());
    bytes
}

#[test]
fn a_whole_handle_of_something_else_is_refused() {
    const VERSION_AT: usize = 4;
    const KIND_AT: usize = 5 + 32;
    assert!(Handle::decode(&with(VERSION_AT, FORMAT_VERSION)).is_ok());
    for other in [with(0, b'X'), with(VERSION_AT, 0), with(KIND_AT, 1), with(KIND_AT, 3)] {
        assert_eq!(Handle::decode(&other).unwrap_err().kind, ErrorKind::Corrupt);
    }
    let newer = with(VERSION_AT, FORMAT_VERSION + 1);
    assert_eq!(Handle::decode(&newer).unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn handles_that_stand_one_behind_the_other_are_taken_apart() {
    let newer = [MAGIC, &[FORMAT_VERSION + 1][..], &[7; 90]].concat();
    for pieces in [
        vec![GOLDEN],
        vec![GOLDEN, GOLDEN, GOLDEN],
        vec![GOLDEN, &GOLDEN[..77]],
        vec![GOLDEN, b"something else"],
        vec![GOLDEN, &newer],
        vec![&newer],
        vec![&[0; 2 * HANDLE_BYTES]],
        vec![b""],
    ] {
        assert_eq!(split(&pieces.concat()), pieces);
    }
}

#[test]
fn a_handle_knows_its_manifest() {
    handle().verify(b"the bytes of a manifest").unwrap();
    for other in [&b"the bytes of a Manifest"[..], b"the bytes of a manifest.", b""] {
        let error = handle().verify(other).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt);
        assert!(error.text.contains(&manifest_name().to_string()), "{error}");
    }
}
