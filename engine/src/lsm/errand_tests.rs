use super::*;
use crate::io::test_support::{check_golden, name};
use crate::limits::PAGE_BYTES;
use crate::types::error::ErrorKind;

const GOLDEN_ERRAND: &[u8] = include_bytes!("../../testdata/errand-v1.bin");
const GOLDEN_REPORT: &[u8] = include_bytes!("../../testdata/report-v1.bin");

fn table(seq: u64) -> TableRef {
    let (meta_offset, meta_len) = (seq * PAGE_BYTES as u64, 2 * PAGE_BYTES as u32);
    let file_bytes = meta_offset + 3 * PAGE_BYTES as u64;
    TableRef { name: name(seq), file_bytes, meta_offset, meta_len, meta_crc: 0x1234_5678 }
}

fn errand() -> Errand {
    let mut ops = MergeOps::default();
    ops.0[2] = Some(MergeOp::Append);
    ops.0[255] = Some(MergeOp::Max);
    Errand {
        low: b"\0\x20\x01k".as_slice().into(),
        high: Some(b"\x7f".as_slice().into()),
        bottom: true,
        filter_bits: 12,
        target_bytes: 128 << 20,
        ops,
        inputs: vec![table(9), table(3)],
        names: vec![name(10), name(11), name(12)],
    }
}

#[test]
fn an_errand_and_a_report_are_written_and_read_as_ever() {
    check_golden("errand-v1.bin", GOLDEN_ERRAND, &errand().encode());
    assert_eq!(Errand::decode(GOLDEN_ERRAND).unwrap(), errand());
    let report = Report::Done(vec![table(10), table(11)]);
    check_golden("report-v1.bin", GOLDEN_REPORT, &report.encode());
    assert_eq!(Report::decode(GOLDEN_REPORT).unwrap(), report);
}

#[test]
fn every_report_is_read_as_it_was_written() {
    let failed = Report::Failed("why".to_owned());
    for report in [Report::Ready, Report::Busy, Report::Progress(1 << 40), failed] {
        let bytes = report.encode();
        assert_eq!(Report::decode(&bytes).unwrap(), report);
        assert!(Report::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert!(Report::decode(&bytes[..bytes.len() - 1]).is_err());
    }
    assert!(Report::decode(&[6]).is_err() && Report::decode(&[0]).is_err());
}

#[test]
fn a_failure_is_one_line_of_text_for_a_log() {
    let text = format!("first\nerror: \x1b[2Jsecond{}", "x".repeat(5000));
    for bytes in [Report::Failed(text.clone()).encode(), {
        let mut bytes = vec![5];
        put_span(&mut bytes, text.as_bytes());
        bytes
    }] {
        let Report::Failed(why) = Report::decode(&bytes).unwrap() else { panic!("a failure") };
        assert!(why.starts_with("first error:  [2Jsecond"), "{why}");
        assert_eq!(why.chars().count(), ERRAND_ERROR_CHARS_MAX);
    }
}

#[test]
fn bytes_that_are_cut_off_or_go_on_are_refused() {
    for len in 0..GOLDEN_ERRAND.len() {
        assert_eq!(Errand::decode(&GOLDEN_ERRAND[..len]).unwrap_err().kind, ErrorKind::Corrupt);
    }
    assert!(Errand::decode(&[GOLDEN_ERRAND, &[0]].concat()).is_err());
    for len in 0..GOLDEN_REPORT.len() {
        assert!(Report::decode(&GOLDEN_REPORT[..len]).is_err());
    }
}

#[test]
fn counts_are_checked_before_memory_is_taken() {
    let mut bytes = vec![4];
    varint::put(&mut bytes, u64::MAX);
    assert!(Report::decode(&bytes).is_err());
    let mut bytes = vec![4];
    varint::put(&mut bytes, 1 << 40);
    bytes.extend_from_slice(&[0; 100]);
    assert!(Report::decode(&bytes).is_err());
}

#[test]
fn what_no_store_orders_is_refused() {
    let refused: [fn(&mut Errand); 11] = [
        |errand| errand.high = Some(errand.low.clone()),
        |errand| errand.low = vec![0; STORED_KEY_BYTES_MAX + 1].into(),
        |errand| errand.filter_bits = 0,
        |errand| errand.filter_bits = FILTER_BITS_MAX + 1,
        |errand| errand.target_bytes = 0,
        |errand| errand.inputs.clear(),
        |errand| errand.names.clear(),
        |errand| errand.bottom = false,
        |errand| errand.names[1] = errand.names[0],
        |errand| errand.names[2] = errand.inputs[1].name,
        |errand| errand.names[0].kind = ObjectKind::Manifest,
    ];
    for (at, change) in refused.into_iter().enumerate() {
        let mut errand = errand();
        change(&mut errand);
        assert!(Errand::decode(&errand.encode()).is_err(), "change {at}");
    }
    let mut sound = errand();
    sound.bottom = false;
    sound.names.truncate(1);
    sound.high = None;
    assert_eq!(Errand::decode(&sound.encode()).unwrap(), sound);
}
