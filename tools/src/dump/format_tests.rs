//! The bytes of dumps: what is written, what is read, and what is refused.

use aquifer::state::{StateKind, StateTable};
use aquifer::types::error::ErrorKind;
use aquifer::types::key::encode_key;
use aquifer::types::{Error, Locality, MergeOp, Result, StateId};

use super::{BLOCK_BYTES, CHECK_BYTES, END_BYTES, Head, Place, check_of};
use crate::dump::{Reader, Writer};

const GOLDEN: &[u8] = include_bytes!("../../../engine/testdata/dump-v1.bin");

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn head() -> Head {
    let mut states = StateTable::default();
    let kinds = [
        ("value", StateKind::Value),
        ("list", StateKind::List),
        ("map", StateKind::Map),
        ("sum", StateKind::Reducing(MergeOp::Sum)),
    ];
    for (name, kind) in kinds {
        states.declare(name, kind).unwrap();
    }
    Head { key_groups: 300, range: (2, 258), states }
}

fn stored(group: u16, key: &[u8], state: u8, namespace: &[u8], map_key: &[u8]) -> Vec<u8> {
    let locality = if state == 3 { Locality::Collection } else { Locality::Small };
    let mut out = Vec::new();
    encode_key(&mut out, group, locality, key, StateId(state), namespace).unwrap();
    out.extend_from_slice(map_key);
    out
}

/// Rows of all states, in three groups.
fn rows() -> Rows {
    let number = |number: i64| number.to_le_bytes().to_vec();
    vec![
        (stored(2, b"b", 1, b"", b""), b"first".to_vec()),
        (stored(2, b"b", 1, b"window", b""), Vec::new()),
        (stored(2, b"b", 4, b"", b""), number(-7)),
        // Shorter keys stand before longer ones.
        (stored(2, b"aa", 2, b"", b""), b"\x03one\x00\x03two".to_vec()),
        (stored(2, b"", 3, b"", b"k"), b"of the empty key".to_vec()),
        (stored(2, b"b", 3, b"", b"k"), b"entry".to_vec()),
        (stored(2, b"b", 3, b"", b"k2"), Vec::new()),
        (stored(255, &[b'x'; 200], 1, b"n", b""), vec![9; 300]),
        (stored(258, b"c", 2, b"", b""), b"\x80".to_vec()),
        (stored(258, b"c", 4, b"", b""), number(i64::MAX)),
    ]
}

fn written(rows: &Rows) -> Vec<u8> {
    let mut writer = Writer::create(Vec::new(), &head()).unwrap();
    rows.iter().for_each(|(key, value)| writer.row(key, value).unwrap());
    let (bytes, place) = writer.finish().unwrap();
    assert_eq!(place.bytes, bytes.len() as u64);
    bytes
}

/// All of a dump, or what is wrong with it and how far it was whole.
fn read(bytes: &[u8]) -> std::result::Result<(Rows, Place), (Error, Option<Place>)> {
    let mut rows = Rows::new();
    let mut reader = Reader::open(bytes).map_err(|error| (error, None))?;
    assert_eq!(reader.head(), &head());
    let mut each = |key: &[u8], value: &[u8]| -> Result<()> {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(())
    };
    loop {
        match reader.block(&mut each) {
            Ok(true) => {}
            Ok(false) => return Ok((rows, reader.place())),
            Err(error) => return Err((error, Some(reader.place()))),
        }
    }
}

/// Ends of the parts of the golden dump: head, blocks, end.
fn ends() -> Vec<usize> {
    let mut reader = Reader::open(GOLDEN).unwrap();
    let mut ends = vec![reader.place().bytes as usize];
    while reader.block(&mut |_, _| Ok(())).unwrap() {
        ends.push(reader.place().bytes as usize);
    }
    ends.push(reader.place().bytes as usize);
    ends
}

#[test]
fn a_dump_has_the_bytes_of_the_golden_file() {
    let bytes = written(&rows());
    assert!(bytes == GOLDEN, "{}", bytes.escape_ascii());
    let (found, place) = read(GOLDEN).unwrap();
    assert_eq!(found, rows());
    assert_eq!((place.blocks, place.rows), (3, 10));
    assert_eq!(read(&written(&Rows::new())).unwrap().0, Rows::new());
}

#[test]
fn every_flipped_bit_is_found_where_it_is() {
    let ends = ends();
    let mut bytes = GOLDEN.to_vec();
    for at in 0..bytes.len() {
        let part = ends.iter().position(|end| at < *end).unwrap();
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let (error, place) = read(&bytes).expect_err("a bit is flipped");
            let place = place.map_or(0, |place| place.blocks as usize + 1);
            assert_eq!(place, part, "byte {at}: {error}");
            let newer = error.kind == ErrorKind::Unsupported && (8..12).contains(&at);
            assert!(newer || error.kind == ErrorKind::Corrupt, "byte {at}: {error}");
            let named = error.text.contains(&format!("block {part} of the dump, at byte "));
            assert!(part == 0 || named, "byte {at}: {error}");
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn a_dump_that_was_cut_is_whole_up_to_the_last_block() {
    let ends = ends();
    for len in 0..GOLDEN.len() {
        let (error, place) = read(&GOLDEN[..len]).expect_err("it is cut");
        assert_eq!(error.kind, ErrorKind::Corrupt, "{len} bytes: {error}");
        let whole = ends.iter().filter(|end| **end <= len).count();
        assert_eq!(place.map_or(0, |place| place.blocks as usize + 1), whole, "{len} bytes");
        if ends.contains(&len) {
            assert!(error.text.contains("without an end"), "{len} bytes: {error}");
        }
    }
    let longer = [GOLDEN, &[0]].concat();
    assert!(read(&longer).unwrap_err().0.text.contains("bytes follow the end"));
}

/// A dump of the head and these parts, each under a checksum that is right.
fn sealed(parts: &[Vec<u8>]) -> Vec<u8> {
    let (mut out, mut check) = (Vec::new(), 0);
    for part in std::iter::once(&head().encode()).chain(parts) {
        check = check_of(check, part);
        out.extend_from_slice(part);
        out.extend_from_slice(&check.to_le_bytes());
    }
    out
}

fn block(group: u16, number: u64, rows: u32, row_bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&rows.to_le_bytes());
    out.extend_from_slice(&(row_bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(row_bytes);
    out
}

#[test]
fn what_a_forger_seals_is_refused_too() {
    let value = b"\x01\x01k\x00\x01v";
    let two = [&value[..], b"\x01\x01l\x00\x01v"].concat();
    assert_eq!(read(&sealed(&[block(9, 1, 2, &two)])).unwrap_err().1.unwrap().rows, 2);
    let long = [&b"\x01\x81\x10"[..], &[b'k'; 2049], b"\x00\x00"].concat();
    let long_map_key = [&b"\x03\x01k\x00\x80\x10"[..], &[b'm'; 2048], b"\x00"].concat();
    let cases: [(&str, Vec<u8>); 18] = [
        ("key group 1 ", block(1, 1, 1, value)),
        ("key group 259 ", block(259, 1, 1, value)),
        ("its head", block(9, 2, 1, value)),
        ("its head", block(9, 1, 0, b"")),
        ("bytes follow", block(9, 1, 1, &two)),
        ("row 3 of it: it has not the form", block(9, 1, 3, &two)),
        ("row 2 of it: it does not stand", block(9, 1, 2, &[&value[..], value].concat())),
        ("not the form", block(9, 1, 1, b"\x05\x01k\x00\x01v")),
        ("not the form", block(9, 1, 1, b"\x00\x01k\x00\x01v")),
        ("not the form", block(9, 1, 1, &long)),
        ("its key has 2049 bytes", block(9, 1, 1, &long_map_key)),
        ("none of a list", block(9, 1, 1, b"\x02\x01k\x00\x02\x02v")),
        ("none of a list", block(9, 1, 1, b"\x02\x01k\x00\x01\xff")),
        ("none of a reducing (sum)", block(9, 1, 1, b"\x04\x01k\x00\x01v")),
        ("not one of state 3", block(9, 1, 1, b"\x03\x01k\x00\x00\x01v")),
        ("not the form", block(9, 1, 1, b"\x01\x01k\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7fv")),
        ("no block has 4294967295", [&block(9, 1, 1, b"")[..15], &[0xff; 4]].concat()),
        ("begins with 3", [&[3][..], &block(9, 1, 1, value)[1..]].concat()),
    ];
    for (what, part) in cases {
        let (error, place) = read(&sealed(&[part])).expect_err(what);
        assert!(error.text.contains(what), "{what}: {error}");
        assert!(error.text.contains("block 1 of the dump, at byte "), "{what}: {error}");
        assert_eq!((error.kind, place.unwrap().blocks), (ErrorKind::Corrupt, 0), "{what}");
    }
    let second = read(&sealed(&[block(9, 1, 1, value), block(8, 2, 1, value)])).unwrap_err().0;
    assert!(second.text.contains("block 2 of the dump"), "{second}");
    let mut end = vec![2; END_BYTES];
    end[1..].fill(7);
    let wrong = read(&sealed(&[block(9, 1, 1, value), end])).unwrap_err().0;
    assert!(wrong.text.contains("behind block 1, names other blocks"), "{wrong}");
}

#[test]
fn a_head_that_is_wrong_is_refused() {
    let encoded = head().encode();
    let open = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = encoded.clone();
        change(&mut bytes);
        let check = check_of(0, &bytes);
        bytes.extend_from_slice(&check.to_le_bytes());
        Reader::open(&bytes[..]).unwrap_err()
    };
    let newer = open(&|bytes| bytes[8] = 2);
    assert_eq!(newer.kind, ErrorKind::Unsupported);
    assert!(newer.text.contains("format 2") && newer.text.contains("newer"), "{newer}");
    for (at, what) in [(12, "below"), (16, "below"), (18, "below"), (22, "no "), (24, "state")] {
        let error = open(&|bytes| bytes[at..at + 2].fill(0xff));
        assert!(error.text.contains(what), "byte {at}: {error}");
    }
    assert!(open(&|bytes| bytes[13..16].fill(0xff)).text.contains("below"), "too many groups");
    assert!(open(&|bytes| bytes.clear()).text.contains("no dump"));
    let longer = open(&|bytes| {
        bytes.push(0);
        bytes[20] += 1;
    });
    assert!(longer.text.contains("bytes follow its states"), "{longer}");
}

#[test]
fn a_writer_refuses_what_a_reader_would() {
    let cases = [
        (stored(1, b"k", 1, b"", b""), vec![]),
        (stored(9, b"k", 5, b"", b""), vec![]),
        (stored(9, b"k", 4, b"", b""), vec![1]),
        (stored(9, b"k", 2, b"", b""), vec![1]),
        (stored(9, b"k", 3, b"", b""), vec![]),
        (stored(9, b"k", 1, b"", b"m"), vec![]),
        (b"\0\x09\x01".to_vec(), vec![]),
        (stored(9, b"j", 1, b"", b""), vec![]),
    ];
    for (key, value) in cases {
        let mut writer = Writer::create(Vec::new(), &head()).unwrap();
        writer.row(&stored(9, b"j", 1, b"", b""), b"").unwrap();
        let error = writer.row(&key, &value).unwrap_err();
        let named = error.text.contains(&key.escape_ascii().to_string());
        assert!(error.kind == ErrorKind::Corrupt && named, "{error}");
    }
}

#[test]
fn blocks_are_cut_by_their_rows_alone() {
    let large = (stored(9, b"large", 1, b"", b""), vec![7; BLOCK_BYTES + 5]);
    let mut rows: Rows =
        (0..30_u32).map(|i| (stored(9, &i.to_be_bytes(), 1, b"", b""), vec![1; 50_000])).collect();
    rows.push(large);
    rows.push((stored(10, b"k", 1, b"", b""), Vec::new()));
    let bytes = written(&rows);
    let (found, place) = read(&bytes).unwrap();
    assert_eq!(found, rows);
    // 20 rows, 10, the large one, the other group.
    assert_eq!(place.blocks, 4);

    // One that goes on behind any block ends the same.
    let mut reader = Reader::open(&bytes[..]).unwrap();
    loop {
        let (place, last) = (reader.place(), reader.last().to_vec());
        let behind: Rows = rows.iter().filter(|(key, _)| *key > last).cloned().collect();
        let whole = bytes[..place.bytes as usize].to_vec();
        let mut writer = Writer::resume(whole, &head(), place, &last);
        behind.iter().for_each(|(key, value)| writer.row(key, value).unwrap());
        assert!(writer.finish().unwrap().0 == bytes, "behind block {}", place.blocks);
        if !reader.block(&mut |_, _| Ok(())).unwrap() {
            break;
        }
    }
    assert_eq!(reader.place().bytes as usize, bytes.len());
    assert!(bytes.len() > END_BYTES + CHECK_BYTES);
}
