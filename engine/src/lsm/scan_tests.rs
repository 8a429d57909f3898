//! Rows that are out of order under checksums that fit: a scan and a merge end with an error.

use std::sync::Arc;

use super::*;
use crate::codec::crc::keyed_crc;
use crate::io::values::{JobIo, JobRequest, ObjectSlot};
use crate::limits::{FILTER_BITS_LAST, PAGE_BYTES};
use crate::lsm::stream::Stream;
use crate::lsm::version::{Run, Tablet};
use crate::sst::testing::{Random, Row, build, stored_key};
use crate::types::Locality;
use crate::types::error::ErrorKind;

/// The prefix of a map, and its table with its unit; in the last row, bytes of the key pass for
/// bytes of the value, which leaves a key shorter than the prefix.
fn forged() -> (Vec<u8>, OpenTable, Vec<u8>) {
    let prefix = stored_key(5, Locality::Collection, b"map", b"");
    let keys = (0..10_u8).map(|entry| [&prefix[..], &[entry]].concat());
    let row = |key| Row { key, kind: RowKind::Put, value: vec![7; 20] };
    let built = build(FILTER_BITS_LAST, &keys.map(row).collect::<Vec<_>>(), &[]);
    let mut unit = built.file[..PAGE_BYTES].to_vec();
    let last = [&prefix[..], &[9]].concat();
    let key_at = unit.windows(last.len()).position(|bytes| bytes == last).expect("it is there");
    // The lengths of key and value stand before the key, a byte each.
    unit[key_at - 2] -= 8;
    unit[key_at - 1] += 8;
    let crc = keyed_crc(built.table.object_key(), 0, &unit[4..]);
    unit[..4].copy_from_slice(&crc.to_le_bytes());
    (prefix, OpenTable { table: Arc::new(built.table), object: ObjectSlot(0) }, unit)
}

#[test]
fn a_scan_ends_with_an_error() {
    let (prefix, open, unit) = forged();
    let tablet = Tablet::new(Box::default(), None, vec![Run { open, bytes: 0 }]);
    let version = Rc::new(Version::new(vec![Rc::new(tablet)]));
    let mut scan = Scan::new(version, &prefix, prefix.clone(), 100, Vec::new(), true);
    assert_eq!(scan.step(), ScanStep::Read);
    let need = scan.needs().next().unwrap();
    let error = scan.land(&need, (&unit).into(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.text.contains("row 9") && error.text.contains("sst-"), "{error}");
}

#[test]
fn a_merge_ends_with_an_error() {
    let (_, open, unit) = forged();
    let mut stream = Stream::new(open.table, 0, Box::default(), None, PAGE_BYTES);
    let mut io = JobIo::default();
    stream.ready(&mut io).unwrap();
    let Some(JobRequest::Read { tag, mut buf, .. }) = io.requests.pop() else { panic!("a read") };
    buf.bytes_mut()[..PAGE_BYTES].copy_from_slice(&unit);
    stream.answer(tag, Ok(buf)).unwrap();
    let error = stream.ready(&mut io).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.text.contains("row 9") && error.text.contains("sst-"), "{error}");
}

#[test]
fn a_merge_sees_units_out_of_order() {
    let keys = (0..60_u8).map(|key| stored_key(5, Locality::Small, &[key], b""));
    let mut random = Random(1);
    let row = |key| Row { key, kind: RowKind::Put, value: random.bytes(100) };
    let built = build(FILTER_BITS_LAST, &keys.map(row).collect::<Vec<_>>(), &[]);
    let table = Arc::new(built.table);
    let last = table.unit(table.units() - 1).unwrap();
    assert!(table.units() > 1 && last.len as usize == PAGE_BYTES, "raw pages");
    let mut pages = built.file[..last.offset as usize].to_vec();
    // The first unit again, in the place of the last.
    let mut first = pages[..PAGE_BYTES].to_vec();
    let crc = keyed_crc(table.object_key(), last.offset, &first[4..]);
    first[..4].copy_from_slice(&crc.to_le_bytes());
    pages.extend_from_slice(&first);
    let mut stream = Stream::new(Arc::clone(&table), 0, Box::default(), None, pages.len());
    let mut io = JobIo::default();
    stream.ready(&mut io).unwrap();
    let Some(JobRequest::Read { tag, mut buf, .. }) = io.requests.pop() else { panic!("a read") };
    buf.bytes_mut()[..pages.len()].copy_from_slice(&pages);
    stream.answer(tag, Ok(buf)).unwrap();
    let error = loop {
        match stream.ready(&mut io) {
            Ok(_) => stream.next(),
            Err(error) => break error,
        }
    };
    assert!(error.text.contains("out of order"), "{error}");
}
