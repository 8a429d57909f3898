use super::{ABSENT_BASE, Dataset, MAP_ENTRIES, WrongValue};

fn dataset(key_size_bytes: u32, value_size_bytes: u32, random_bytes: u32) -> Dataset {
    Dataset { records: 1000, key_size_bytes, value_size_bytes, random_bytes, seed: 5, maps: false }
}

fn value_of(data: &Dataset, index: u64, version: u64) -> Vec<u8> {
    let mut value = vec![0xaa; data.value_size_bytes as usize];
    data.value(index, version, &mut value);
    value
}

#[test]
fn a_key_leads_back_to_its_index() {
    for size in [8, 9, 16, 23, 64] {
        let data = dataset(size, 8, 8);
        let mut key = vec![0; size as usize];
        for index in [0, 1, 999, ABSENT_BASE, ABSENT_BASE + 999] {
            data.key(index, &mut key);
            assert_eq!(data.index_of(&key), Some(index));
        }
    }
    assert_eq!(dataset(8, 8, 8).index_of(b"short"), None);
}

#[test]
fn keys_fall_evenly_over_their_first_byte() {
    let (data, mut key, mut parts) = (dataset(16, 8, 8), [0; 16], [0u32; 8]);
    for index in 0..8000 {
        data.key(index, &mut key);
        parts[usize::from(key[0] >> 5)] += 1;
    }
    assert!(parts.iter().all(|part| (850..1150).contains(part)), "{parts:?}");
}

#[test]
fn values_of_every_size_check_and_tell_their_version() {
    for size in [8, 9, 15, 16, 100, 128, 4096] {
        for random in [8, size / 2, size] {
            let data = dataset(16, size, random.max(8));
            for version in [0, 1, 77, super::VERSION_MAX] {
                assert_eq!(data.check(3, &value_of(&data, 3, version)), Ok(version), "{size}");
            }
        }
    }
}

#[test]
fn any_changed_byte_is_found() {
    let data = dataset(16, 45, 30);
    let value = value_of(&data, 3, 9);
    for at in 0..value.len() {
        let mut wrong = value.clone();
        wrong[at] ^= 0x10;
        assert!(data.check(3, &wrong).is_err(), "byte {at}");
    }
    assert_eq!(data.check(3, &value[1..]), Err(WrongValue::Length(44)));
}

#[test]
fn values_of_other_keys_seeds_and_mixed_versions_are_wrong() {
    let data = dataset(16, 128, 128);
    let value = value_of(&data, 3, 9);
    assert!(matches!(data.check(4, &value), Err(WrongValue::Header(_))));
    assert!(matches!(Dataset { seed: 6, ..data }.check(3, &value), Err(WrongValue::Header(_))));
    let mut mixed = value;
    mixed[64..].copy_from_slice(&value_of(&data, 3, 10)[64..]);
    assert_eq!(data.check(3, &mixed), Err(WrongValue::Body { offset: 64 }));
}

#[test]
fn the_change_makes_the_next_version() {
    let (data, mut key, mut next) = (dataset(16, 128, 64), [0; 16], Vec::new());
    data.key(3, &mut key);
    data.next_value(&key, None, &mut next);
    assert_eq!(data.check(3, &next), Ok(0));
    data.next_value(&key, Some(&value_of(&data, 3, 9)), &mut next);
    assert_eq!(data.check(3, &next), Ok(10));
    data.next_value(&key, Some(b"not a value of this key"), &mut next);
    assert_eq!(next, b"not a value of this key");
}

#[test]
fn versions_share_no_words() {
    let data = dataset(16, 128, 128);
    let (one, two) = (value_of(&data, 3, 1), value_of(&data, 3, 2));
    let equal = one.chunks(8).zip(two.chunks(8)).filter(|(a, b)| a == b).count();
    assert_eq!(equal, 0);
}

#[test]
fn in_maps_a_key_is_that_of_its_map_and_the_number_of_its_entry() {
    let data = Dataset { maps: true, ..dataset(16, 32, 32) };
    let key = |index: u64| {
        let mut key = [0; 16];
        data.key(index, &mut key);
        key
    };
    assert_eq!(key(0)[..8], key(MAP_ENTRIES - 1)[..8]);
    assert_ne!(key(0)[..8], key(MAP_ENTRIES)[..8]);
    assert_eq!(key(MAP_ENTRIES + 7)[8..], 7_u64.to_be_bytes());
    for index in [0, 7, MAP_ENTRIES, 5 * MAP_ENTRIES + 999] {
        assert_eq!(data.index_of(&key(index)), Some(index));
    }
}
