use super::*;
use crate::types::error::ErrorKind;
use crate::types::{Incarnation, ObjectKind};

const KEY_GROUPS: u32 = 128;

fn name(kind: ObjectKind, seq: u64) -> ObjectName {
    let incarnation = Incarnation { host_epoch: 1, nonce: 2 };
    ObjectName { store: 3, incarnation, kind, seq, rand: 4 }
}

fn table(seq: u64) -> TableRef {
    let name = name(ObjectKind::Sst, seq);
    TableRef { name, file_bytes: 0, meta_offset: 0, meta_len: 0, meta_crc: 0 }
}

/// A checkpoint of some key groups: its tablets by low key and tables, newest first.
fn checkpoint(
    seq: u64,
    range: (KeyGroup, KeyGroup),
    tablets: &[(&[u8], &[u64])],
) -> (ObjectName, Manifest) {
    let mut tables: Vec<u64> = tablets.iter().flat_map(|(_, runs)| runs.to_vec()).collect();
    tables.sort_unstable();
    tables.dedup();
    let number = |seq: &u64| tables.binary_search(seq).unwrap() as u32;
    let tablet_ref = |&(low, runs): &(&[u8], &[u64])| TabletRef {
        low: low.into(),
        runs: runs.iter().map(number).collect(),
    };
    let manifest = Manifest {
        store: seq,
        key_groups: KEY_GROUPS,
        range,
        states: vec![0],
        tablets: tablets.iter().map(tablet_ref).collect(),
        tables: tables.iter().map(|&seq| table(seq)).collect(),
        hot: Vec::new(),
    };
    (name(ObjectKind::Manifest, seq), manifest)
}

/// Low keys and tables of the version that a store of `range` begins with.
fn opened(
    checkpoints: &[(ObjectName, Manifest)],
    range: (KeyGroup, KeyGroup),
) -> Vec<(Vec<u8>, Vec<u64>)> {
    let slices = slices(checkpoints, KEY_GROUPS, range).unwrap();
    let version = Version::of_slices(&slices);
    let tablets = version.tablets();
    assert!(tablets.windows(2).all(|pair| pair[0].high.as_deref() == Some(&pair[1].low[..])));
    assert_eq!(tablets.last().unwrap().high, None);
    let seqs = |tablet: &Tablet| tablet.unopened.iter().map(|table| table.name.seq).collect();
    tablets.iter().map(|tablet| (tablet.low.to_vec(), seqs(tablet))).collect()
}

fn of(tablets: &[(&[u8], &[u64])]) -> Vec<(Vec<u8>, Vec<u64>)> {
    tablets.iter().map(|(low, runs)| (low.to_vec(), runs.to_vec())).collect()
}

const WHOLE: [(&[u8], &[u64]); 3] = [(b"", &[9, 1]), (b"\0\x20\x01k", &[9, 2]), (b"\0\x50", &[3])];

#[test]
fn a_store_of_the_same_key_groups_is_as_it_was() {
    let all = [checkpoint(1, (0, 127), &WHOLE)];
    assert_eq!(opened(&all, (0, 127)), of(&WHOLE));
}

#[test]
fn a_part_has_the_runs_of_its_key_groups_and_none_beside_them() {
    let all = [checkpoint(1, (0, 127), &WHOLE)];
    assert_eq!(opened(&all, (0, 31)), of(&[(b"", &[9, 1]), (b"\0\x20", &[])]));
    let both: [(&[u8], &[u64]); 4] =
        [(b"", &[]), (b"\0\x20", &[9, 1]), (b"\0\x20\x01k", &[9, 2]), (b"\0\x21", &[])];
    assert_eq!(opened(&all, (32, 32)), of(&both));
    assert_eq!(opened(&all, (80, 127)), of(&[(b"", &[]), (b"\0\x50", &[3])]));
}

#[test]
fn parts_that_nothing_was_written_to_since_are_whole_again() {
    let all = checkpoint(1, (0, 127), &WHOLE);
    let part = |seq, range| {
        let slices = slices(std::slice::from_ref(&all), KEY_GROUPS, range).unwrap();
        let version = Version::of_slices(&slices);
        let manifest = Manifest::of_version(&version, seq, KEY_GROUPS, range, vec![0]);
        (name(ObjectKind::Manifest, seq), manifest)
    };
    let parts = [part(4, (100, 127)), part(2, (0, 39)), part(3, (40, 99))];
    assert_eq!(opened(&parts, (0, 127)), of(&WHOLE));
    assert_eq!(opened(&parts, (40, 50)), opened(std::slice::from_ref(&all), (40, 50)));
}

#[test]
fn what_lies_outside_of_the_range_of_a_checkpoint_is_not_taken() {
    let (low, high) = ((0, 63), (64, 127));
    let two = [checkpoint(1, high, &[(b"", &[1])]), checkpoint(2, low, &[(b"", &[2])])];
    assert_eq!(opened(&two, (0, 127)), of(&[(b"", &[2]), (b"\0\x40", &[1])]));
    assert_eq!(opened(&two, (64, 64)), of(&[(b"", &[]), (b"\0\x40", &[1]), (b"\0\x41", &[])]));
}

#[track_caller]
fn refused(checkpoints: &[(ObjectName, Manifest)], parts: &[&str]) {
    let error = slices(checkpoints, KEY_GROUPS, (10, 20)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(parts.iter().all(|part| error.text.contains(part)), "{error}");
}

#[test]
fn each_key_group_is_held_by_exactly_one_checkpoint() {
    let part = |seq, range| checkpoint(seq, range, &[(b"", &[])]);
    let (a, b) = (part(1, (0, 15)), part(2, (15, 127)));
    let (a_name, b_name) = (a.0.to_string(), b.0.to_string());
    refused(&[b, a.clone()], &[&a_name, &b_name, "both hold key groups 15 to 15"]);
    refused(&[a.clone(), a.clone()], &["both hold key groups 10 to 15"]);
    refused(&[a.clone(), part(2, (18, 20))], &["no checkpoint holds key groups 16 to 17"]);
    refused(std::slice::from_ref(&a), &["key groups 16 to 20 of the store's 10 to 20"]);
    refused(&[part(2, (12, 30))], &["no checkpoint holds key groups 10 to 11"]);
    refused(&[part(2, (21, 30))], &["no checkpoint holds key groups 10 to 20"]);
    let mut other = part(2, (16, 127));
    other.1.key_groups = 256;
    refused(&[a, other.clone()], &[&other.0.to_string(), "256", "128", "maximal parallelism"]);
}
