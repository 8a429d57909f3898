use crate::sst::TableRef;
use crate::sst::meta::TABLE_REF_BYTES;
use crate::sst::testing::name;
use crate::types::ObjectKind;
use crate::types::error::ErrorKind;

fn table_ref() -> TableRef {
    TableRef {
        name: name(4),
        file_bytes: 40 * 4096,
        meta_offset: 36 * 4096,
        meta_len: 3 * 4096,
        meta_crc: 0xdead_beef,
    }
}

#[test]
fn references_and_footers_come_back() {
    let table_ref = table_ref();
    assert_eq!(TableRef::decode(&table_ref.encode()).expect("just written"), table_ref);
    let footer = table_ref.footer();
    assert_eq!(TableRef::from_footer(table_ref.name, &footer).expect("just written"), table_ref);
}

#[test]
fn damage_of_a_footer_is_reported() {
    let table_ref = table_ref();
    let mut footer = table_ref.footer();
    for bit in 0..footer.len() * 8 {
        footer[bit / 8] ^= 1 << (bit % 8);
        assert!(TableRef::from_footer(table_ref.name, &footer).is_err(), "bit {bit}");
        footer[bit / 8] ^= 1 << (bit % 8);
    }
    for len in 0..footer.len() {
        assert!(TableRef::from_footer(table_ref.name, &footer[..len]).is_err());
    }
    let error = TableRef::from_footer(name(5), &footer).expect_err("of another object");
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.text.contains(&name(5).to_string()), "{error}");
}

#[test]
fn references_that_contradict_themselves_are_refused() {
    let mut manifest = name(4);
    manifest.kind = ObjectKind::Manifest;
    let good = table_ref();
    let bad = [
        TableRef { name: manifest, ..good },
        TableRef { file_bytes: good.file_bytes + 1, ..good },
        TableRef { meta_offset: u64::MAX, ..good },
        TableRef { meta_offset: good.meta_offset + 1, file_bytes: good.file_bytes + 1, ..good },
        TableRef { meta_len: u32::MAX, ..good },
        TableRef { meta_len: 0, file_bytes: good.file_bytes - u64::from(good.meta_len), ..good },
    ];
    for table_ref in bad {
        assert!(TableRef::decode(&table_ref.encode()).is_err(), "{table_ref:?}");
    }
    let mut unknown_kind: [u8; TABLE_REF_BYTES] = good.encode();
    unknown_kind[32] = 99;
    assert!(TableRef::decode(&unknown_kind).is_err());
}
