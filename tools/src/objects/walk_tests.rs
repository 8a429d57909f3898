use aquifer::sst::Table;
use aquifer::types::RowKind;
use aquifer::types::key::KeyParts;

use super::{Flaw, Tally, Watch, shown_key, walk};
use crate::objects::testing::{ROWS, Store, entry_key, rows, value_key};

#[derive(Default)]
struct Seen {
    flaws: Vec<Flaw>,
    refused: Option<Vec<u8>>,
}

impl Watch for Seen {
    fn flaw(&mut self, flaw: Flaw) {
        self.flaws.push(flaw);
    }

    fn wrong_key(&mut self, key: &[u8], _parts: &KeyParts<'_>) -> Option<String> {
        (self.refused.as_deref() == Some(key)).then(|| "refused".to_owned())
    }
}

fn opened(store: &Store) -> Table {
    let table_ref = store.manifest.tables[0];
    store.object(&table_ref.name).table(table_ref).unwrap()
}

fn walked(store: &Store, table: &Table, seen: &mut Seen) -> Tally {
    walk(&store.object(table.name()), table, seen).unwrap()
}

#[test]
fn a_whole_table_is_counted() {
    let store = Store::new();
    let (table, mut seen) = (opened(&store), Seen::default());
    let tally = walked(&store, &table, &mut seen);
    assert_eq!(seen.flaws, []);
    assert_eq!((tally.rows, tally.deletes, tally.merges), (2 * ROWS + 1, ROWS / 10, ROWS / 10));
    assert_eq!(tally.puts, tally.rows - tally.deletes - tally.merges);
    assert_eq!((tally.raw_units + tally.lz4_units, tally.damaged_units), (table.units().into(), 0));
    assert_eq!((tally.large_values, tally.user_bytes), (1, table.user_bytes()));
    assert_eq!(tally.rows_by_state.into_iter().collect::<Vec<_>>(), [(1, ROWS + 1), (2, ROWS)]);
    assert_eq!(tally.key_groups, Some((0, 31)));
}

#[test]
fn damage_of_a_unit_or_a_value_is_found_at_its_place() {
    let store = Store::new();
    let table = opened(&store);
    let place = table.unit(5).unwrap();
    store.flip(table.name(), place.offset + 100);
    let mut seen = Seen::default();
    let tally = walked(&store, &table, &mut seen);
    assert_eq!(tally.damaged_units, 1);
    assert_eq!(seen.flaws.len(), 1, "{:?}", seen.flaws);
    assert_eq!(seen.flaws[0].offset, Some(place.offset));
    assert!(seen.flaws[0].what.contains("checksum differs"), "{:?}", seen.flaws);

    let store = Store::new();
    let last = table.unit(table.units() - 1).unwrap();
    store.flip(table.name(), last.offset - 8192);
    let mut seen = Seen::default();
    walked(&store, &table, &mut seen);
    assert!(seen.flaws[0].what.contains("value of 70000 bytes"), "{:?}", seen.flaws);
}

#[test]
fn a_filter_that_denies_a_row_is_found() {
    let mut rows = rows();
    // A hash that is not the key's: what a defect of a writer would leave.
    rows[77].0 ^= 0x5555_5555_5555;
    let store = Store::of(&rows);
    let (table, mut seen) = (opened(&store), Seen::default());
    walked(&store, &table, &mut seen);
    assert!(seen.flaws[0].what.ends_with("the filter denies its key"), "{:?}", seen.flaws);
}

#[test]
fn a_key_that_the_store_refuses_and_one_that_is_none_are_found() {
    let store = Store::new();
    let (table, refused) = (opened(&store), value_key(3, 333));
    let mut seen = Seen { refused: Some(refused), ..Seen::default() };
    walked(&store, &table, &mut seen);
    assert!(seen.flaws[0].what.ends_with("refused"), "{:?}", seen.flaws);

    let mut rows = rows();
    let key = vec![0xff; 9];
    rows.push((aquifer::codec::hash::hash64(&key), key, RowKind::Put, Vec::new()));
    let store = Store::of(&rows);
    let (table, mut seen) = (opened(&store), Seen::default());
    walked(&store, &table, &mut seen);
    assert!(seen.flaws[0].what.ends_with("not a stored key"), "{:?}", seen.flaws);
}

#[test]
fn keys_are_shown_by_their_parts() {
    let key = value_key(5, 0x6162_6364_6566_6768);
    assert_eq!(shown_key(&key).unwrap(), "group 5 key \"abcdefgh\" state 1");
    let entry = entry_key(9, b"m\"", 0x6162_6364_6566_6768);
    let want = "group 9 key \"m\\\"\" state 2 map key \"abcdefgh\"";
    assert_eq!(shown_key(&entry).unwrap(), want);
    assert_eq!(shown_key(b"\x7f"), None);
}
