use crate::limits::{FILTER_BITS_LAST, STORED_KEY_BYTES_MAX};
use crate::sst::layout::{UNIT_HEADER_BYTES, UnitCodec, UnitHeader, seal_unit};
use crate::sst::testing::{Built, Random, Row, Shape, build, keys, rows};
use crate::sst::{EntryValue, Extent, Unit};
use crate::types::RowKind;
use crate::types::error::ErrorKind;

const OBJECT_KEY: u64 = 42;

fn sealed(mut unit: Vec<u8>, offset: u64) -> Vec<u8> {
    unit.resize(4096, 0);
    seal_unit(OBJECT_KEY, offset, &mut unit);
    unit
}

// A raw unit of rows that are given as bytes.
fn raw_unit(rows: &[&[u8]], offset: u64) -> Vec<u8> {
    let mut unit = vec![0; UNIT_HEADER_BYTES];
    let mut offsets = Vec::new();
    for row in rows {
        offsets.extend_from_slice(&((unit.len() - UNIT_HEADER_BYTES) as u16).to_le_bytes());
        unit.extend_from_slice(row);
    }
    unit.extend_from_slice(&offsets);
    let decoded_bytes = (unit.len() - UNIT_HEADER_BYTES) as u32;
    let codec = UnitCodec::Raw;
    UnitHeader { codec, rows: rows.len() as u16, decoded_bytes, stored_bytes: decoded_bytes }
        .put(&mut unit);
    sealed(unit, offset)
}

fn probe_all(unit: &Unit<'_>, probes: &[Vec<u8>]) {
    for probe in probes {
        let _ = (unit.find(probe), unit.seek(probe));
    }
    (0..unit.len()).for_each(|i| drop(unit.entry(i)));
}

fn table(compressible: bool) -> (Built, Vec<Row>) {
    let random = &mut Random(3);
    let mut rows = rows(keys(Shape::Random, 900, random), random);
    if compressible {
        rows.iter_mut().for_each(|r| r.value.fill(b'v'));
    }
    (build(FILTER_BITS_LAST, &rows, &[]), rows)
}

#[test]
fn time_and_schema_of_later_writers_are_skipped() {
    let plain = [&[1, 1, 2][..], b"a", b"v1"].concat();
    let timed = [&[1 | 1 << 3, 1, 2][..], &[9; 8], b"b", b"v2"].concat();
    let schema = [&[3 | 1 << 4, 1, 2, 77][..], b"c", b"v3"].concat();
    let both = [&[2 | 1 << 3 | 1 << 4, 1, 0][..], &[9; 8], &[77], b"d"].concat();
    let bytes = raw_unit(&[&plain, &timed, &schema, &both], 4096);
    let mut scratch = Vec::new();
    let unit = Unit::check(OBJECT_KEY, 4096, &bytes, &mut scratch).expect("whole");
    let value = |key: &[u8]| {
        let entry = unit.find(key).expect("whole").expect("present");
        (entry.kind, entry.value)
    };
    assert_eq!(value(b"a"), (RowKind::Put, EntryValue::Inline(b"v1")));
    assert_eq!(value(b"b"), (RowKind::Put, EntryValue::Inline(b"v2")));
    assert_eq!(value(b"c"), (RowKind::Merge, EntryValue::Inline(b"v3")));
    assert_eq!(value(b"d"), (RowKind::Delete, EntryValue::Inline(b"")));
    assert_eq!(unit.find(b"bb").expect("whole"), None);
    assert_eq!(unit.seek(b"bb").expect("whole"), 2);
    assert_eq!(unit.seek(b"e").expect("whole"), 4);
}

#[test]
fn rows_that_are_not_of_the_format_are_errors() {
    let good: &[u8] = b"\x01\x01\x01av";
    let long = [&b"\x01\x89\x10\x01"[..], &[b'k'; STORED_KEY_BYTES_MAX + 1], b"v"].concat();
    let bad: [&[u8]; 13] = [
        b"\x41\x01\x01av",                     // reserved flag
        b"\x81\x01\x01av",                     // reserved flag
        b"\x00\x01\x01av",                     // kind zero
        b"\x07\x01\x01av",                     // unknown kind
        b"\x01\x01\x02av",                     // value past its row
        b"\x01\x01\x00av",                     // gap behind the row
        b"\x01\x81\x00\x01av",                 // a length that could be shorter
        b"\x21\x01\x03a\x01\x90\x4e",          // extent not at a page
        b"\x21\x01\x05a\x80\x20\x80\x80\x10x", // bytes behind the extent
        b"\x21\x01\x04a\x80\x20\x80\x10",      // extent behind its unit
        b"\x01\x00\x01v",                      // no key
        b"\x02\x01\x01av",                     // a delete with a value
        &long,                                 // a key over its limit
    ];
    for row in bad {
        let bytes = raw_unit(&[row], 0);
        let mut scratch = Vec::new();
        let unit = Unit::check(OBJECT_KEY, 0, &bytes, &mut scratch).expect("the checksum holds");
        let error = unit.entry(0).expect_err("the row is bad");
        assert_eq!(error.kind, ErrorKind::Corrupt);
        assert!(error.text.contains("row 0"), "{error}");
    }
    let bytes = raw_unit(&[good], 0);
    assert!(Unit::check(OBJECT_KEY, 0, &bytes, &mut Vec::new()).is_ok());
    let error = Unit::check(OBJECT_KEY, 4096, &bytes, &mut Vec::new()).expect_err("another place");
    assert!(error.text.contains("4096") && error.text.contains("checksum"), "{error}");
    assert!(Unit::check(OBJECT_KEY + 1, 0, &bytes, &mut Vec::new()).is_err());
}

#[test]
fn damage_of_a_unit_is_reported() {
    for compressible in [false, true] {
        let (built, _) = table(compressible);
        let extent = built.table.unit(2).expect("several units");
        let mut bytes = built.read_pages(extent)[..extent.len as usize].to_vec();
        let key = built.table.object_key();
        let mut scratch = Vec::new();
        let whole = Unit::check(key, extent.offset, &bytes, &mut scratch).expect("whole");
        let image = whole.image().to_vec();
        // Bytes behind a packed unit are not its own.
        let packed = UnitHeader::check(&bytes).expect("whole").unit_bytes();
        for bit in 0..packed * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Unit::check(key, extent.offset, &bytes, &mut Vec::new()).is_err(), "{bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..packed {
            let mut scratch = Vec::new();
            let cut = Unit::check(key, extent.offset, &bytes[..len], &mut scratch);
            assert_eq!(cut.expect_err("truncated").kind, ErrorKind::Corrupt);
        }
        for len in 0..image.len() {
            assert!(Unit::of_image(extent.offset, &image[..len]).is_err());
        }
        let again = Unit::of_image(extent.offset, &image).expect("an image");
        assert_eq!(again.image(), image);
    }
}

// Units whose checksum was made to fit: nothing but the length checks stands in the way.
#[test]
fn forged_units_never_panic() {
    let random = &mut Random(17);
    for compressible in [false, true] {
        let (built, rows) = table(compressible);
        let Extent { offset, len } = built.table.unit(1).expect("several units");
        let bytes = built.read_pages(Extent { offset, len })[..len as usize].to_vec();
        let probes: Vec<Vec<u8>> = rows.iter().step_by(40).map(|r| r.key.clone()).collect();
        for round in 0..40_000 {
            let mut forged = bytes.clone();
            for _ in 0..1 + random.below(4) {
                // The header and the offsets are where it matters most.
                let at = match round % 3 {
                    0 => random.below(UNIT_HEADER_BYTES + 8),
                    1 => forged.len() - 1 - random.below(200),
                    _ => random.below(forged.len()),
                };
                forged[at] = [0, 1, 0x7f, 0x80, 0xff, random.next() as u8][random.below(6)];
            }
            let Ok(header) = UnitHeader::check(&forged) else { continue };
            let Some(unit) = forged.get_mut(..header.unit_bytes()) else { continue };
            seal_unit(OBJECT_KEY, offset, unit);
            let mut scratch = Vec::new();
            if let Ok(unit) = Unit::check(OBJECT_KEY, offset, &forged, &mut scratch) {
                probe_all(&unit, &probes);
            }
        }
    }
}

#[test]
fn find_and_seek_agree_with_the_rows() {
    for compressible in [false, true] {
        let (built, rows) = table(compressible);
        let mut scratch = Vec::new();
        for extent in built.table.units_from(b"") {
            let held = built.rows_of(extent);
            let bytes = built.read_pages(extent);
            let unit =
                Unit::check(built.table.object_key(), extent.offset, bytes, &mut scratch).unwrap();
            for row in rows.iter().step_by(7).chain(&held) {
                let place = held.partition_point(|h| h.key < row.key);
                assert_eq!(unit.seek(&row.key).unwrap(), place);
                let found = unit.find(&row.key).unwrap();
                let expected = held.get(place).filter(|h| h.key == row.key);
                assert_eq!(found.map(|e| e.key), expected.map(|h| &h.key[..]));
                assert_eq!(found.map(|e| e.kind), expected.map(|h| h.kind));
            }
        }
    }
}
