use super::*;
use crate::io::test_support::check_golden;
use crate::limits::PAGE_BYTES;
use crate::types::error::ErrorKind;
use crate::types::{Incarnation, ObjectKind};

const GOLDEN: &[u8] = include_bytes!("../../testdata/manifest-v2.bin");
const GOLDEN_V1: &[u8] = include_bytes!("../../testdata/manifest-v1.bin");
const VERSION_AT: usize = 8;

fn name(kind: ObjectKind, seq: u64) -> ObjectName {
    let incarnation = Incarnation { host_epoch: 7, nonce: 0x0123_4567_89ab_cdef << 60 };
    ObjectName { store: 3, incarnation, kind, seq, rand: 0xfeed_f00d }
}

fn own_name() -> ObjectName {
    name(ObjectKind::Manifest, 41)
}

fn table(seq: u64) -> TableRef {
    let (meta_offset, meta_len) = (seq * PAGE_BYTES as u64, 2 * PAGE_BYTES as u32);
    TableRef {
        name: name(ObjectKind::Sst, seq),
        file_bytes: meta_offset + 3 * PAGE_BYTES as u64,
        meta_offset,
        meta_len,
        meta_crc: 0x1234_5678,
    }
}

fn tablet(low: &[u8], runs: &[u32]) -> TabletRef {
    TabletRef { low: low.into(), runs: runs.to_vec() }
}

fn manifest() -> Manifest {
    Manifest {
        store: 3,
        key_groups: 128,
        range: (32, 63),
        states: vec![1, 1, 0, 5, b'c', b'o', b'u', b'n', b't'],
        tables: vec![table(3), table(1), table(9)],
        tablets: vec![tablet(b"", &[0, 1]), tablet(b"\0\x20\x01k", &[0, 2]), tablet(b"\x7f", &[])],
        hot: vec![
            HotPages { table: 0, pages: vec![0, 2, 5] },
            HotPages { table: 2, pages: vec![1] },
        ],
    }
}

fn decode(bytes: &[u8]) -> std::result::Result<Manifest, ErrorKind> {
    Manifest::decode(&own_name(), bytes).map_err(|error| error.kind)
}

// Of changed fields, with a checksum that fits them.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let crc = keyed_crc(object_key(&own_name()), 0, &body);
    body.extend_from_slice(&crc.to_le_bytes());
    body
}

#[test]
fn a_manifest_is_written_and_read_as_ever() {
    check_golden("manifest-v2.bin", GOLDEN, &manifest().encode(&own_name()));
    assert_eq!(decode(GOLDEN), Ok(manifest()));
    // Without hot pages.
    assert_eq!(decode(GOLDEN_V1), Ok(Manifest { hot: Vec::new(), ..manifest() }));
}

#[test]
fn an_empty_store_comes_back() {
    let (tables, hot) = (Vec::new(), Vec::new());
    let empty = Manifest { tables, tablets: vec![tablet(b"", &[])], hot, ..manifest() };
    assert_eq!(decode(&empty.encode(&own_name())), Ok(empty));
}

#[test]
fn a_manifest_that_is_not_whole_is_refused() {
    for len in 0..GOLDEN.len() {
        assert_eq!(decode(&GOLDEN[..len]), Err(ErrorKind::Corrupt), "{len} bytes");
    }
    assert_eq!(decode(&[GOLDEN, &[0]].concat()), Err(ErrorKind::Corrupt));
}

#[test]
fn a_manifest_with_a_flipped_bit_is_refused() {
    for bit in 0..GOLDEN.len() * 8 {
        let mut bytes = GOLDEN.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&bytes), Err(ErrorKind::Corrupt), "bit {bit}");
    }
}

#[test]
fn a_manifest_under_another_name_is_refused() {
    let other = name(ObjectKind::Manifest, 42);
    assert_eq!(Manifest::decode(&other, GOLDEN).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn a_newer_format_is_named() {
    let mut body = GOLDEN[..GOLDEN.len() - 4].to_vec();
    body[VERSION_AT] = 3;
    assert_eq!(decode(&sealed(body)), Err(ErrorKind::Unsupported));
}

#[test]
fn what_a_checksum_cannot_find_is_refused_without_a_panic() {
    let body = &GOLDEN[..GOLDEN.len() - 4];
    for at in 0..body.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut body = body.to_vec();
            body[at] ^= flip;
            // Some fields take any value; then it comes back as it was read.
            let bytes = sealed(body);
            if let Ok(manifest) = decode(&bytes) {
                assert_eq!(manifest.encode(&own_name()), bytes, "byte {at}");
            }
        }
        // A body that ends early under a checksum that fits.
        assert!(decode(&sealed(body[..at].to_vec())).is_err(), "{at} bytes");
    }
    assert!(decode(&sealed([body, &[0]].concat())).is_err());
}

#[test]
fn what_stands_twice_and_groups_out_of_range_are_refused() {
    let tables = vec![table(3), table(1), TableRef { meta_crc: 5, ..table(3) }];
    let broken = [
        Manifest { tables, ..manifest() },
        Manifest { tablets: vec![tablet(b"", &[0, 1, 0])], ..manifest() },
        Manifest { key_groups: 0, range: (0, 0), ..manifest() },
        Manifest { key_groups: KEY_GROUPS_MAX + 1, ..manifest() },
        Manifest { range: (32, 128), ..manifest() },
        Manifest { range: (33, 32), ..manifest() },
    ];
    for broken in broken {
        assert_eq!(decode(&broken.encode(&own_name())), Err(ErrorKind::Corrupt), "{broken:?}");
    }
}

#[test]
fn tablets_out_of_order_and_runs_that_are_not_a_table_each_are_refused() {
    let tablets = [
        vec![],
        vec![tablet(b"a", &[])],
        vec![tablet(b"", &[]), tablet(b"b", &[]), tablet(b"a", &[])],
        vec![tablet(b"", &[]), tablet(b"a", &[]), tablet(b"a", &[])],
        vec![tablet(b"", &[3])],
        vec![tablet(b"", &[1, 0, 1])],
        vec![tablet(b"", &[]), tablet(&[1; STORED_KEY_BYTES_MAX + 1], &[])],
    ];
    for tablets in tablets {
        let broken = Manifest { tablets, ..manifest() };
        assert_eq!(decode(&broken.encode(&own_name())), Err(ErrorKind::Corrupt), "{broken:?}");
    }
}

#[test]
fn hot_pages_that_are_out_of_order_or_of_no_table_are_refused() {
    let of = |table, pages: &[u32]| HotPages { table, pages: pages.to_vec() };
    for hot in [
        vec![of(3, &[1])],
        vec![of(1, &[1]), of(1, &[2])],
        vec![of(2, &[1]), of(1, &[2])],
        vec![of(0, &[])],
        vec![of(0, &[3, 3])],
        // The object of table 0 has six pages.
        vec![of(0, &[6])],
        vec![of(0, &[1, u32::MAX])],
    ] {
        let broken = Manifest { hot, ..manifest() };
        assert_eq!(decode(&broken.encode(&own_name())), Err(ErrorKind::Corrupt), "{broken:?}");
    }
}

#[test]
fn a_table_that_stands_twice_is_refused() {
    let broken = Manifest { tables: vec![table(3), table(1), table(3)], ..manifest() };
    let error = Manifest::decode(&own_name(), &broken.encode(&own_name())).unwrap_err();
    assert!(error.text.contains("a table stands twice"), "{error}");
}

#[test]
fn memory_is_counted_as_it_is_read() {
    let (name, whole) = (own_name(), manifest());
    let (bytes, memory_bytes) = (whole.encode(&name), whole.memory_bytes());
    for less in 1..=memory_bytes {
        let error = Manifest::decode_within(&name, &bytes, memory_bytes - less).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{less} bytes less: {error}");
    }
    assert_eq!(Manifest::decode_within(&name, &bytes, memory_bytes).unwrap(), whole);
    assert!(size_of::<TableRef>() + size_of::<ObjectName>() <= MANIFEST_TABLE_MEMORY_BYTES);
}

#[test]
fn what_no_reader_would_take_is_not_written() {
    let name = own_name();
    assert_eq!(manifest().to_object(&name).unwrap(), manifest().encode(&name));
    let low = |at: usize| tablet(&at.to_be_bytes(), &[]);
    let many = MANIFEST_MEMORY_BYTES_MAX / MANIFEST_TABLET_MEMORY_BYTES + 1;
    let states = vec![0; MANIFEST_BYTES_MAX as usize];
    for large in [
        Manifest { tablets: (0..many).map(low).collect(), ..manifest() },
        Manifest { states, ..manifest() },
    ] {
        let error = large.to_object(&name).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
        assert!(error.text.contains("use more stores of fewer key groups"), "{error}");
    }
}

#[test]
fn damage_is_examined_up_to_where_it_lies() {
    let whole = manifest().encode(&own_name());
    assert_eq!(Manifest::examine(&whole), (manifest(), None));
    for len in 0..whole.len() {
        let (read, flaw) = Manifest::examine(&whole[..len]);
        let flaw = flaw.unwrap_or_else(|| panic!("{len} bytes are not whole"));
        assert!(flaw.at <= len, "{flaw:?} of {len}");
        assert!(manifest().tables.starts_with(&read.tables), "{len} bytes");
        assert!(manifest().tablets.starts_with(&read.tablets), "{len} bytes");
    }
}
