use crate::codec::reader::Reader;
use crate::limits::{FILTER_BITS_LAST, FILTER_BITS_MAX, FILTER_BITS_UPPER, FILTER_KEYS_MAX};
use crate::sst::filter::{BLOCK_BITS, BLOCK_BYTES, BLOCKS_MAX, Filter};
use crate::sst::testing::Random;

fn hashes(count: usize, random: &mut Random) -> Vec<u64> {
    (0..count).map(|_| random.next()).collect()
}

fn decoded(filter: &Filter) -> Filter {
    let mut bytes = Vec::new();
    filter.put(&mut bytes);
    let mut reader = Reader::new(&bytes);
    let out = Filter::decode(&mut reader).expect("just written");
    assert_eq!(reader.remaining(), 0);
    out
}

#[test]
fn no_hash_is_denied_and_few_strangers_pass() {
    let random = &mut Random(4);
    // Of 200 000 strangers, with room for chance.
    for (key_bits, most) in [(FILTER_BITS_LAST, 1100), (FILTER_BITS_UPPER, 230)] {
        for count in (1..40).chain([1000, FILTER_KEYS_MAX]) {
            let all = hashes(count, random);
            let filter = decoded(&Filter::build(key_bits, &all));
            filter.prefetch(all[0]);
            assert!(all.iter().all(|&h| filter.may_hold(h)), "{key_bits} bits of {count}");
            let bits = filter.memory_bytes() * 8;
            assert!(bits >= key_bits * count && bits < key_bits * count + BLOCK_BITS);
            let passed = (0..200_000).filter(|_| filter.may_hold(random.next())).count();
            assert!(passed <= most, "{key_bits} bits of {count}: {passed}");
        }
    }
}

#[test]
fn the_written_formula_is_the_one_in_use() {
    let hash = 0x0123_4567_89ab_cdef_u64;
    let mut bytes = Vec::new();
    Filter::build(FILTER_BITS_LAST, &[hash; 100]).put(&mut bytes);
    let blocks = 100 * FILTER_BITS_LAST as u64 / 512 + 1;
    assert_eq!(bytes[..4], (blocks as u32).to_le_bytes());
    let block = (0x89ab_cdef_u64 * blocks) >> 32;
    let mixed = (hash ^ 0x0123_4567).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for word in 0..8 {
        let at = 4 + 64 * block as usize + 8 * word;
        let bit = (mixed >> (16 + 6 * word)) % 64;
        assert_eq!(bytes[at..at + 8], (1_u64 << bit).to_le_bytes());
    }
}

#[test]
fn forged_filters_never_panic() {
    let random = &mut Random(7);
    let mut bytes = Vec::new();
    Filter::build(FILTER_BITS_UPPER, &hashes(30, random)).put(&mut bytes);
    for len in 0..bytes.len() {
        assert!(Filter::decode(&mut Reader::new(&bytes[..len])).is_err());
    }
    for blocks in [0, BLOCKS_MAX as u32 + 1, u32::MAX] {
        bytes[..4].copy_from_slice(&blocks.to_le_bytes());
        bytes.resize(4 + (BLOCKS_MAX + 1) * BLOCK_BYTES, 0);
        assert!(Filter::decode(&mut Reader::new(&bytes)).is_err(), "{blocks} blocks");
    }
    let largest = Filter::build(FILTER_BITS_MAX, &hashes(FILTER_KEYS_MAX, random));
    assert_eq!(decoded(&largest), largest);
}
