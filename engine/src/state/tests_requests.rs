use crate::codec::hash::hash64;
use crate::codec::varint;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::state::request::{Batch, Op, StoreId};
use crate::state::{Entries, Items, Key, StateKind, StateTable, Target, decode};
use crate::types::error::ErrorKind;
use crate::types::key::{collection_prefix, key_parts};
use crate::types::{MergeOp, StateId};

const STORE: StoreId = StoreId(9);
const KEY: &[u8] = b"user-1";

fn table() -> StateTable {
    let mut table = StateTable::default();
    table.declare("v", StateKind::Value).unwrap();
    table.declare("l", StateKind::List).unwrap();
    table.declare("m", StateKind::Map).unwrap();
    table.declare("r", StateKind::Reducing(MergeOp::Min)).unwrap();
    table
}

fn target(user_data: u64) -> Target<'static> {
    Target { key: Key::new(KEY, 128), namespace: b"w", user_data }
}

fn spans(elements: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for element in elements {
        varint::put(&mut out, element.len() as u64);
        out.extend_from_slice(element);
    }
    out
}

// (operation, map key or empty, value) of every request, after checking what all have in common.
fn read(batch: &Batch, state: u8) -> Vec<(Op, Vec<u8>, Vec<u8>)> {
    let rows = batch.requests.iter().enumerate().map(|(i, request)| {
        let stored = request.key.of(&batch.bytes);
        let parts = key_parts(stored).unwrap();
        assert_eq!((request.user_data, request.store), (i as u64, STORE));
        assert_eq!(request.hash, hash64(stored));
        assert_eq!((parts.key, parts.namespace, parts.state), (KEY, &b"w"[..], StateId(state)));
        assert_eq!(parts.group, Key::new(KEY, 128).group);
        let map_key = stored[parts.prefix_len..].to_vec();
        (request.op, map_key, request.value.of(&batch.bytes).to_vec())
    });
    rows.collect()
}

#[test]
fn value_requests() {
    let value = table().value(STORE, "v").unwrap();
    let mut batch = Batch::default();
    value.request_get(&mut batch, &target(0)).unwrap();
    value.request_put(&mut batch, &target(1), b"x").unwrap();
    value.request_put(&mut batch, &target(2), b"").unwrap();
    value.request_delete(&mut batch, &target(3)).unwrap();
    let none = Vec::new;
    assert_eq!(
        read(&batch, 1),
        [
            (Op::Get, none(), none()),
            (Op::Put, none(), b"x".to_vec()),
            (Op::Put, none(), none()),
            (Op::Delete, none(), none())
        ]
    );
}

#[test]
fn list_requests_and_their_elements() {
    let list = table().list(STORE, "l").unwrap();
    let mut batch = Batch::default();
    let long = vec![7; 300];
    list.request_add(&mut batch, &target(0), &[b"a"]).unwrap();
    list.request_add(&mut batch, &target(1), &[b"", &long]).unwrap();
    list.request_update(&mut batch, &target(2), &[b"b", b"c"]).unwrap();
    list.request_update(&mut batch, &target(3), &[]).unwrap();
    list.request_get(&mut batch, &target(4)).unwrap();
    let append = Op::Merge(MergeOp::Append);
    let rows = read(&batch, 2);
    assert_eq!(rows[0], (append, vec![], spans(&[b"a"])));
    assert_eq!(rows[1], (append, vec![], spans(&[b"", &long])));
    assert_eq!(rows[2], (Op::Put, vec![], spans(&[b"b", b"c"])));
    assert_eq!(rows[3], (Op::Delete, vec![], vec![]));
    assert_eq!(rows[4], (Op::Get, vec![], vec![]));

    // Appended operands are a list again.
    let joined = [&rows[0].2[..], &rows[1].2].concat();
    let items = Items::check(&joined).unwrap();
    assert_eq!(items.len(), 3);
    assert_eq!(items.collect::<Vec<_>>(), [&b"a"[..], b"", &long]);
    assert_eq!(Items::check(&[]).unwrap().count(), 0);
}

#[test]
fn map_requests_share_the_prefix_of_the_map() {
    let map = table().map(STORE, "m").unwrap();
    let mut batch = Batch::default();
    map.request_get(&mut batch, &target(0), b"k").unwrap();
    map.request_put(&mut batch, &target(1), b"k", b"v").unwrap();
    map.request_remove(&mut batch, &target(2), b"k").unwrap();
    map.request_clear(&mut batch, &target(3)).unwrap();
    map.request_scan(&mut batch, &target(4), b"after", 7).unwrap();
    let k = || b"k".to_vec();
    assert_eq!(
        read(&batch, 3),
        [
            (Op::Get, k(), vec![]),
            (Op::Put, k(), b"v".to_vec()),
            (Op::Delete, k(), vec![]),
            (Op::Clear, vec![], vec![]),
            (Op::Scan, vec![], b"after".to_vec())
        ]
    );
    assert_eq!(batch.requests[4].limit, 7);
    let prefix = batch.requests[3].key.of(&batch.bytes);
    for request in &batch.requests {
        assert_eq!(collection_prefix(request.key.of(&batch.bytes)), Some(prefix));
    }

    let requests = batch.requests.len();
    assert_eq!(map.request_get(&mut batch, &target(5), b"").unwrap_err().kind, ErrorKind::Invalid);
    assert!(map.request_scan(&mut batch, &target(5), b"", 0).is_err());
    assert_eq!(batch.requests.len(), requests);
}

#[test]
fn reducing_requests() {
    let reducing = table().reducing(STORE, "r").unwrap();
    let mut batch = Batch::default();
    reducing.request_add(&mut batch, &target(0), -2).unwrap();
    reducing.request_get(&mut batch, &target(1)).unwrap();
    reducing.request_clear(&mut batch, &target(2)).unwrap();
    let rows = read(&batch, 4);
    assert_eq!(rows[0].0, Op::Merge(MergeOp::Min));
    assert_eq!(decode::number(&rows[0].2).unwrap(), -2);
    assert_eq!((rows[1].0, rows[2].0), (Op::Get, Op::Delete));
    assert_eq!(decode::number(&[0; 7]).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn a_request_over_a_limit_leaves_the_batch_as_it_was() {
    let (value, map) = (table().value(STORE, "v").unwrap(), table().map(STORE, "m").unwrap());
    let mut batch = Batch::default();
    value.request_get(&mut batch, &target(0)).unwrap();
    let (bytes, requests) = (batch.bytes.clone(), batch.requests.len());
    let key = vec![1; KEY_BYTES_MAX - 1];
    let long = Target { key: Key::new(&key, 128), namespace: b"w", user_data: 1 };
    let over = Target { key: Key::new(&key, 128), namespace: b"ww", user_data: 1 };
    let refused = [
        value.request_get(&mut batch, &over),
        map.request_put(&mut batch, &long, b"k", b""),
        map.request_scan(&mut batch, &long, b"k", 1),
        value.request_put(&mut batch, &target(1), &vec![0; VALUE_BYTES_MAX + 1]),
    ];
    for error in refused {
        let error = error.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge);
        assert!(error.text.contains("; "), "no remedy: {error}");
    }
    assert_eq!((&batch.bytes, batch.requests.len()), (&bytes, requests));
    value.request_get(&mut batch, &long).unwrap();
    value.request_put(&mut batch, &target(2), &vec![0; VALUE_BYTES_MAX]).unwrap();
}

#[test]
fn entries_tell_keys_values_and_whether_more_follow() {
    let rows = spans(&[b"a", b"1", b"b", b""]);
    let entries = Entries::check(&rows, true).unwrap();
    assert!(entries.more());
    assert_eq!(entries.collect::<Vec<_>>(), [(&b"a"[..], &b"1"[..]), (b"b", b"")]);
    assert_eq!(Entries::check(&[], false).unwrap().len(), 0);
}

#[test]
fn cut_lists_and_entries_are_corrupt() {
    let bytes = spans(&[&[1; 200], b"", b"abc", &[2; 130]]);
    let ends = [0, 202, 203, 207, bytes.len()];
    for end in 0..=bytes.len() {
        let whole = ends.contains(&end);
        assert_eq!(Items::check(&bytes[..end]).is_ok(), whole, "{end}");
        let pairs = [0, 203, bytes.len()].contains(&end);
        assert_eq!(Entries::check(&bytes[..end], false).is_ok(), pairs, "{end}");
    }
    assert!(Items::check(&[0xff; 12]).is_err());
}
