use crate::codec::hash::hash64;
use crate::limits::{FILTER_BITS_LAST, FILTER_BITS_UPPER};
use crate::sst::testing::{Built, Random, Row, SHAPES, Shape, build, keys, name, rows, stored_key};
use crate::sst::{Table, TableRef};
use crate::types::error::ErrorKind;
use crate::types::{Locality, RowKind};

const BITS: [usize; 2] = [FILTER_BITS_LAST, FILTER_BITS_UPPER];

fn decoded(built: &Built) -> Built {
    let meta = built.read(built.table.table_ref().meta());
    let table = Table::decode(*built.table.table_ref(), meta).expect("the builder wrote it");
    Built { table, file: built.file.clone() }
}

fn put(key: &[u8], value: &[u8]) -> Row {
    Row { key: key.to_vec(), kind: RowKind::Put, value: value.to_vec() }
}

#[test]
fn every_row_of_every_shape_comes_back() {
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let random = &mut Random(i as u64);
        let rows = rows(keys(shape, 6000, random), random);
        let built = build(BITS[i % 2], &rows, &[]);
        assert_eq!(built.file.len() as u64, built.table.file_bytes());
        for built in [&built, &decoded(&built)] {
            for row in &rows {
                assert_eq!(built.get(&row.key).as_ref(), Some(row), "{shape:?}");
            }
            let all: Vec<Row> =
                built.table.units_from(b"").flat_map(|e| built.rows_of(e)).collect();
            assert_eq!(all, rows, "{shape:?}");
        }
    }
}

#[test]
fn a_decoded_table_is_the_built_one() {
    let random = &mut Random(11);
    let rows = rows(keys(Shape::SmallMaps, 4000, random), random);
    let built = build(FILTER_BITS_UPPER, &rows, &[b"b", b"a", b"ab"]);
    let again = decoded(&built);
    assert_eq!(again.table.properties, built.table.properties);
    assert_eq!(again.table.fences, built.table.fences);
    assert_eq!(again.table.clears, built.table.clears);
    assert_eq!(again.table.table_ref, built.table.table_ref);
}

#[test]
fn scans_begin_at_the_first_row_at_or_above_a_key() {
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let random = &mut Random(100 + i as u64);
        let rows = rows(keys(shape, 3000, random), random);
        let built = build(FILTER_BITS_LAST, &rows, &[]);
        let probes: Vec<Vec<u8>> = keys(shape, 500, random);
        for probe in probes.iter().chain(rows.iter().take(500).map(|r| &r.key)) {
            let expected = rows.iter().find(|r| r.key >= *probe);
            let mut units = built.table.units_from(probe).map(|e| built.rows_of(e));
            // At most the first unit may lie wholly below the key.
            let found = units.by_ref().take(2).flatten().find(|r| r.key >= *probe);
            assert_eq!(found.as_ref(), expected, "{shape:?}");
        }
    }
}

#[test]
fn absent_keys_cost_next_to_no_reads() {
    let random = &mut Random(5);
    let present = keys(Shape::Random, 150_000, random);
    let rows: Vec<Row> = present.iter().map(|k| put(k, b"12345678")).collect();
    for (bits, most) in [(FILTER_BITS_LAST, 700), (FILTER_BITS_UPPER, 150)] {
        let built = build(bits, &rows, &[]);
        assert!(built.table.filters.len() > 2);
        let probes = keys(Shape::Random, 100_000, random);
        let reads = probes.iter().filter(|k| built.table.probe(hash64(k), k).is_some()).count();
        assert!(reads < most, "{bits} bits: {reads} reads");
    }
}

#[test]
fn compressible_tables_are_packed_and_others_are_not() {
    let random = &mut Random(8);
    let all = keys(Shape::Sequential, 20_000, random);
    let text: Vec<Row> = all.iter().map(|k| put(k, &b"state ".repeat(20))).collect();
    let noise: Vec<Row> = all.iter().map(|k| put(k, &random.bytes(120))).collect();
    let (packed, raw) = (build(BITS[0], &text, &[]), build(BITS[0], &noise, &[]));
    assert!(packed.table.file_bytes() * 4 < raw.table.file_bytes());
    assert!(raw.table.units_from(b"").all(|e| e.offset % 4096 == 0 && e.len == 4096));
    assert!(packed.table.units_from(b"").any(|e| e.offset % 4096 != 0));
    for (built, rows) in [(packed, text), (raw, noise)] {
        let built = decoded(&built);
        assert!(rows.iter().all(|r| built.get(&r.key).as_ref() == Some(r)));
    }
}

#[test]
fn a_packed_table_takes_units_that_do_not_compress() {
    let random = &mut Random(9);
    let all = keys(Shape::Sequential, 20_000, random);
    let half = all.len() / 2;
    let rows: Vec<Row> = all
        .iter()
        .enumerate()
        .map(|(i, k)| put(k, &if i < half { vec![7; 100] } else { random.bytes(100) }))
        .collect();
    let built = decoded(&build(BITS[0], &rows, &[]));
    assert!(rows.iter().all(|r| built.get(&r.key).as_ref() == Some(r)));
}

#[test]
fn a_table_without_rows_answers_no_and_keeps_its_clears() {
    let built = decoded(&build(BITS[0], &[], &[b"gone"]));
    assert_eq!((built.table.rows(), built.table.units()), (0, 0));
    assert_eq!(built.table.probe(hash64(b""), b""), None);
    assert_eq!(built.table.locate(b"gone"), None);
    assert!(!built.table.may_hold_collection(1, b"gone"));
    assert_eq!(built.table.units_from(b"").count(), 0);
    assert_eq!(built.table.bytes_between(b"a", Some(b"z")), 0);
    assert!(built.table.partition(1, b"").is_none());
    assert!(built.table.clears(b"gone/1") && !built.table.clears(b"gon"));
}

#[test]
fn one_row_makes_a_table() {
    let row = put(b"k", b"v");
    let built = decoded(&build(BITS[1], std::slice::from_ref(&row), &[]));
    assert_eq!(built.get(b"k"), Some(row));
    assert_eq!(built.table.locate(b"j"), None);
    assert_eq!(built.table.locate(b"kk"), None);
}

#[test]
fn maps_are_found_by_their_prefix_in_every_filter_they_span() {
    let random = &mut Random(21);
    let map = |i: u64| stored_key(3, Locality::Collection, &i.to_be_bytes(), b"");
    let mut rows: Vec<Row> = Vec::new();
    for i in (0..300_u64).step_by(2) {
        // One map spans filters, most are small.
        let entries = if i == 100 { 150_000_u32 } else { 40 };
        let entry = |e: u32| put(&[map(i), e.to_be_bytes().to_vec()].concat(), b"");
        rows.push(put(&map(i), b"the empty map key"));
        rows.extend((0..entries).map(entry));
    }
    let built = decoded(&build(FILTER_BITS_UPPER, &rows, &[]));
    assert!(built.table.filters.len() >= 3);
    let hold = |i: u64| built.table.may_hold_collection(hash64(&map(i)), &map(i));
    assert!((0..300).step_by(2).all(hold));
    assert!((1..300).step_by(2).filter(|&i| hold(i)).count() <= 1);
    assert!(!hold(1 << 40));
    for _ in 0..1000 {
        let row = &rows[random.below(rows.len())];
        assert_eq!(built.get(&row.key).as_ref(), Some(row));
    }
}

#[test]
fn bytes_between_follows_the_data() {
    let random = &mut Random(31);
    let all = keys(Shape::Random, 20_000, random);
    let rows: Vec<Row> = all.iter().map(|k| put(k, &random.bytes(100))).collect();
    let table = build(BITS[0], &rows, &[]).table;
    let whole = table.bytes_between(b"", None);
    assert_eq!(whole, table.table_ref().meta_offset);
    let half = table.bytes_between(b"", Some(&all[10_000]));
    assert!(half.abs_diff(whole / 2) < 3 * 4096, "{half} of {whole}");
    assert_eq!(table.bytes_between(&all[10_000], Some(b"")), 0);
    assert!(table.memory_bytes() < 40_000);
}

// A table whose every kind of section is filled, with few bytes.
fn small() -> Built {
    let random = &mut Random(1);
    let rows = rows(keys(Shape::SmallMaps, 300, random), random);
    build(BITS[0], &rows, &[b"abc", b"abd"])
}

#[test]
fn damage_of_the_resident_part_is_reported() {
    let built = small();
    let table_ref = *built.table.table_ref();
    let mut meta = built.read(table_ref.meta()).to_vec();
    for len in 0..meta.len() {
        let error = Table::decode(table_ref, &meta[..len]).expect_err("it is truncated");
        assert_eq!(error.kind, ErrorKind::Corrupt);
    }
    for bit in 0..meta.len() * 8 {
        meta[bit / 8] ^= 1 << (bit % 8);
        assert!(Table::decode(table_ref, &meta).is_err(), "bit {bit}");
        meta[bit / 8] ^= 1 << (bit % 8);
    }
    let error = Table::decode(TableRef { name: name(2), ..table_ref }, &meta);
    let error = error.expect_err("another object");
    assert!(error.text.contains(&name(2).to_string()), "{error}");
}

// Bytes whose checksum was made to fit: nothing but the structure checks stands in the way.
#[test]
fn forged_resident_parts_never_panic() {
    let built = small();
    let meta = built.read(built.table.table_ref().meta()).to_vec();
    let random = &mut Random(77);
    let probes = keys(Shape::SmallMaps, 40, random);
    let forge = |bytes: &[u8]| {
        let mut forged = *built.table.table_ref();
        forged.meta_len = u32::try_from(bytes.len()).expect("small");
        let key = built.table.object_key();
        forged.meta_crc = crate::codec::crc::keyed_crc(key, forged.meta_offset, bytes);
        let Ok(table) = Table::decode(forged, bytes) else { return };
        for probe in &probes {
            let _ = table.partition(hash64(probe), probe);
            let _ = table.probe(hash64(probe), probe);
            let _ = (table.locate(probe), table.bytes_between(probe, None));
            assert!(table.units_from(probe).count() <= table.units() as usize);
            let _ = (table.may_hold_collection(3, probe), table.clears(probe));
        }
    };
    let used = meta.iter().rposition(|&b| b != 0).expect("not empty") + 1;
    for bit in 0..used * 8 {
        let mut bytes = meta.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        forge(&bytes);
    }
    (0..used).for_each(|len| forge(&meta[..len]));
    for _ in 0..3000 {
        let mut bytes = meta.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(used);
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff, random.next() as u8][random.below(6)];
        }
        forge(&bytes);
    }
}
