use crate::limits::{EXTENT_CHECK_BYTES, INLINE_VALUE_BYTES_MAX, VALUE_BYTES_MAX};
use crate::sst::extent::{check, put_crcs, stored_len};
use crate::sst::testing::Random;
use crate::types::error::ErrorKind;

const OFFSET: u64 = 3 * 4096;

fn stored(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_crcs(&mut out, 9, OFFSET, value);
    out.extend_from_slice(value);
    out.resize(stored_len(value.len() as u32) as usize, 0);
    out
}

#[test]
fn values_of_all_sizes_come_back() {
    let random = &mut Random(1);
    let piece = EXTENT_CHECK_BYTES;
    let sizes = [1, INLINE_VALUE_BYTES_MAX + 1, 4092, 4093, piece - 1, piece, piece + 1];
    for size in sizes.into_iter().chain([16 * piece + 5, VALUE_BYTES_MAX]) {
        let value = random.bytes(size);
        let bytes = stored(&value);
        assert!(bytes.len().is_multiple_of(4096) && bytes.len() >= size);
        assert_eq!(check(9, OFFSET, size as u32, &bytes).expect("whole"), value);
    }
}

#[test]
fn damage_of_a_value_is_reported() {
    let value = Random(2).bytes(EXTENT_CHECK_BYTES + 1500);
    let len = value.len() as u32;
    let mut bytes = stored(&value);
    let mut flip = |bit: usize| {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(check(9, OFFSET, len, &bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    };
    (0..4096 * 8).for_each(&mut flip);
    (0..stored_len(len) as usize * 8).step_by(1009).for_each(&mut flip);
    (EXTENT_CHECK_BYTES * 8..stored_len(len) as usize * 8).for_each(&mut flip);
    let whole = bytes;
    for cut in (0..whole.len()).step_by(101) {
        let error = check(9, OFFSET, len, &whole[..cut]).expect_err("truncated");
        assert_eq!(error.kind, ErrorKind::Corrupt);
        assert!(error.text.contains("12288"), "{error}");
    }
    assert!(check(8, OFFSET, len, &whole).is_err(), "another object");
    assert!(check(9, 0, len, &whole).is_err(), "another place");
    for other in [0, 1, len - 1, len + 1, u32::MAX] {
        assert!(check(9, OFFSET, other, &whole).is_err(), "length {other}");
    }
    assert!(check(9, u64::MAX, len, &whole).is_err());
}
