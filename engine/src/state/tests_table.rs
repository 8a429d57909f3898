use crate::codec::reader::Reader;
use crate::limits::{STATE_NAME_BYTES_MAX, STATES_MAX};
use crate::state::request::StoreId;
use crate::state::{StateKind, StateTable};
use crate::types::error::ErrorKind;
use crate::types::{MergeOp, StateId};

const STORE: StoreId = StoreId(3);

fn table() -> StateTable {
    let mut table = StateTable::default();
    table.declare("count", StateKind::Value).unwrap();
    table.declare("events", StateKind::List).unwrap();
    table.declare("profile", StateKind::Map).unwrap();
    table.declare("total", StateKind::Reducing(MergeOp::Sum)).unwrap();
    table.declare("first", StateKind::Reducing(MergeOp::Min)).unwrap();
    table.declare("last", StateKind::Reducing(MergeOp::Max)).unwrap();
    table
}

fn encoded(table: &StateTable) -> Vec<u8> {
    let mut out = Vec::new();
    table.encode(&mut out);
    out
}

#[test]
fn ids_count_from_one_and_a_state_keeps_its_own() {
    let mut table = table();
    assert_eq!(table.find("count").unwrap(), (StateId(1), StateKind::Value));
    assert_eq!(table.find("last").unwrap().0, StateId(6));
    assert_eq!(table.declare("profile", StateKind::Map).unwrap(), StateId(3));
    assert_eq!(table.len(), 6);
    assert_eq!(table.get(StateId(2)).unwrap().name, "events");
    assert_eq!(table.get(StateId(0)), None);
    assert_eq!(table.get(StateId(7)), None);
}

#[test]
fn tables_join_if_one_begins_as_the_other_does() {
    let longer = table();
    let mut shorter = StateTable::default();
    shorter.declare("count", StateKind::Value).unwrap();
    for (mut into, from) in [(shorter.clone(), &longer), (longer.clone(), &shorter)] {
        into.join(from).unwrap();
        assert_eq!(into, longer);
    }
    let refused = |name: &str, kind| {
        let mut other = StateTable::default();
        other.declare(name, kind).unwrap();
        let error = table().join(&other).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        error.text.to_string()
    };
    let name = refused("events", StateKind::List);
    assert!(name.contains("state 1 is `count` (value)") && name.contains("`events` (list)"));
    assert!(refused("count", StateKind::Map).contains("`count` (map)"));
}

#[test]
fn an_unknown_name_is_answered_with_the_closest() {
    let text = |name| table().value(STORE, name).unwrap_err().text;
    assert_eq!(&*text("cout"), "no state is named `cout`; did you mean `count`?");
    assert_eq!(&*text("profiles"), "no state is named `profiles`; did you mean `profile`?");
    assert!(text("zzz").ends_with("`total`, `first`, `last`"), "{}", text("zzz"));
    let empty = StateTable::default().value(STORE, "x").unwrap_err();
    assert_eq!(&*empty.text, "no state is named `x`; this store has no states; declare it");
}

#[test]
fn a_handle_of_another_kind_is_refused() {
    let table = table();
    let text = &*table.value(STORE, "events").unwrap_err().text;
    assert_eq!(text, "state `events` is list, not value; open it as list or take another name");
    assert_eq!(table.reducing(STORE, "count").unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(table.map(STORE, "total").unwrap_err().kind, ErrorKind::Invalid);
    let mut changed = table.clone();
    assert!(changed.declare("total", StateKind::Reducing(MergeOp::Max)).is_err());
    assert_eq!(changed, table);
}

#[test]
fn the_limits_of_a_table_hold() {
    let mut table = StateTable::default();
    assert!(table.declare("", StateKind::Value).is_err());
    assert!(table.declare(&"x".repeat(STATE_NAME_BYTES_MAX + 1), StateKind::Value).is_err());
    assert!(table.declare("x", StateKind::Reducing(MergeOp::Append)).is_err());
    for i in 0..STATES_MAX {
        assert_eq!(table.declare(&format!("s{i}"), StateKind::List).unwrap().0 as usize, i + 1);
    }
    let full = table.declare("one more", StateKind::List).unwrap_err();
    assert!(full.text.contains("at most 255 states"), "{full}");
    assert_eq!(StateTable::decode(&mut Reader::new(&encoded(&table))).unwrap(), table);
}

#[test]
fn decode_reads_what_encode_wrote_and_stops_behind_it() {
    let mut bytes = encoded(&table());
    bytes.extend_from_slice(b"next");
    let mut reader = Reader::new(&bytes);
    assert_eq!(StateTable::decode(&mut reader).unwrap(), table());
    assert_eq!(reader.remaining(), 4);
}

#[test]
fn the_encoding_never_changes() {
    let mut table = StateTable::default();
    table.declare("v", StateKind::Value).unwrap();
    table.declare("r", StateKind::Reducing(MergeOp::Max)).unwrap();
    assert_eq!(encoded(&table), b"\x02\x01\x00\x01v\x04\x04\x01r");
}

#[test]
fn every_truncation_is_corrupt() {
    let bytes = encoded(&table());
    for end in 0..bytes.len() {
        let error = StateTable::decode(&mut Reader::new(&bytes[..end])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt, "{end}: {error}");
    }
}

#[test]
fn every_bit_flip_is_corrupt_or_another_table() {
    let table = table();
    let bytes = encoded(&table);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match StateTable::decode(&mut Reader::new(&flipped)) {
            Ok(other) => {
                assert_ne!(other, table, "bit {bit}");
                // What was accepted is a table: it writes the bytes it was read from.
                assert!(flipped.starts_with(&encoded(&other)), "bit {bit}");
            }
            Err(error) => assert_eq!(error.kind, ErrorKind::Corrupt, "bit {bit}: {error}"),
        }
    }
}
