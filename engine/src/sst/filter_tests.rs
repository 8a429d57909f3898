use crate::codec::reader::Reader;
use crate::limits::FILTER_KEYS_MAX;
use crate::sst::filter::{Filter, FilterBits, may_repeat, places};
use crate::sst::testing::Random;

const BITS: [FilterBits; 2] = [FilterBits::Eight, FilterBits::Sixteen];

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
    for bits in BITS {
        for count in (1..40).chain([1000, FILTER_KEYS_MAX]) {
            let all = hashes(count, random);
            let filter = decoded(&Filter::build(bits, &mut all.clone()));
            filter.prefetch(all[0]);
            assert!(all.iter().all(|&h| filter.may_hold(h)), "{bits:?} of {count}");
            let passed = (0..20_000).filter(|_| filter.may_hold(random.next())).count();
            let most = if bits == FilterBits::Eight { 140 } else { 5 };
            assert!(passed <= most, "{bits:?} of {count}: {passed}");
        }
    }
}

#[test]
fn equal_hashes_are_one() {
    let random = &mut Random(5);
    for count in [2, 3, 50, 5000] {
        let mut all = hashes(count, random);
        assert!(!may_repeat(&all));
        // Hashes that share a slot must not hide a pair.
        all.extend((0..20_u64).map(|i| i << 40));
        let again = [all[0], all[count / 2], 7 << 40];
        all.extend(again);
        assert!(may_repeat(&all));
        let filter = Filter::build(FilterBits::Eight, &mut all.clone());
        assert!(matches!(filter, Filter::Eight(_)));
        assert!(all.iter().all(|&h| filter.may_hold(h)));
    }
    assert!(!may_repeat(&(0..1000).map(|i| i << 44).collect::<Vec<_>>()));
}

#[test]
fn the_written_formula_is_the_one_in_use() {
    let random = &mut Random(6);
    let mut all = hashes(5000, random);
    let Filter::Eight(filter) = Filter::build(FilterBits::Eight, &mut all) else {
        panic!("5000 distinct hashes make a filter");
    };
    for &hash in &all {
        let mixed = super::mix(hash, filter.descriptor.seed);
        let held = places(&filter.descriptor, hash).map(|i| filter.fingerprints[i]);
        assert_eq!(held[0] ^ held[1] ^ held[2], (mixed ^ mixed >> 32) as u8);
    }
}

#[test]
fn forged_filters_never_panic() {
    let random = &mut Random(7);
    for bits in BITS {
        let mut bytes = Vec::new();
        Filter::build(bits, &mut hashes(30, random)).put(&mut bytes);
        for len in 0..bytes.len() {
            assert!(Filter::decode(&mut Reader::new(&bytes[..len])).is_err());
        }
        for _ in 0..20_000 {
            let mut forged = bytes.clone();
            let at = random.below(24);
            forged[at] = [0, 1, 4, 0x40, 0x80, random.next() as u8][random.below(6)];
            if let Ok(filter) = Filter::decode(&mut Reader::new(&forged)) {
                for _ in 0..20 {
                    let hash = random.next();
                    filter.prefetch(hash);
                    let _ = filter.may_hold(hash);
                }
                let _ = filter.may_hold(u64::MAX);
            }
        }
    }
    assert!(decoded(&Filter::None).may_hold(1));
}
