use std::collections::HashMap;

use super::*;
use crate::codec::hash::hash64;

#[test]
fn an_index_is_a_map_through_thousands_of_changes() {
    let slots = 200;
    let (mut index, mut model) = (Index::new(slots), HashMap::new());
    let mut by_slot = vec![0; slots];
    for step in 0..20_000u64 {
        let random = hash64(&step.to_le_bytes());
        let slot = (random % slots as u64) as u32;
        // Few homes, so that probes are long.
        let key = (random >> 32) % 300 + 1;
        let key = (key << 32) | (key % 7);
        if let Some(old) = by_slot.get(slot as usize).filter(|key| **key != 0) {
            model.remove(old);
        }
        index.remove(slot);
        by_slot[slot as usize] = 0;
        if random & 1 << 20 == 0 {
            if let Some((other, _)) = model.insert(key, (slot, step as u32)) {
                by_slot[other as usize] = 0;
            }
            by_slot[slot as usize] = key;
            index.insert(slot, Entry { key, crc: step as u32, pages: 1, hits: 0 });
        }
        for &key in by_slot.iter().filter(|key| **key != 0) {
            let found = index.find(key).map(|slot| (slot, index.crc(slot)));
            assert_eq!(found, model.get(&key).copied(), "step {step}");
        }
        assert_eq!(index.find(key).is_some(), model.contains_key(&key));
    }
}

#[test]
fn a_key_that_was_missed_is_known_until_others_were() {
    let mut index = Index::new(1024);
    assert!(!index.was_missed(77 << 48 | 5));
    assert!(index.was_missed(77 << 48 | 5));
    let others = (0..20_000u64).map(|i| hash64(&i.to_le_bytes()));
    assert!(others.filter(|&key| index.was_missed(key)).count() < 20);
    assert!(!index.was_missed(77 << 48 | 5), "it is long ago");
}

#[test]
fn uses_are_counted_up_to_three() {
    let mut index = Index::new(8);
    index.insert(2, Entry { key: 9, crc: 0, pages: PAGES_MAX as u16, hits: 0 });
    assert_eq!(index.uses(2), (0, PAGES_MAX));
    (0..9).for_each(|_| index.hit(2));
    assert_eq!(index.uses(2), (3, PAGES_MAX));
}
