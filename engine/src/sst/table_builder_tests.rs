use crate::codec::hash::hash64;
use crate::io::test_support::check_golden;
use crate::limits::{
    FILTER_BITS_LAST, FILTER_BITS_UPPER, SST_CHUNK_BYTES, STORED_KEY_BYTES_MAX, VALUE_BYTES_MAX,
};
use crate::sst::table_builder::Finished;
use crate::sst::testing::{Built, Row, build, name, stored_key};
use crate::sst::{Table, TableBuilder, TableRef};
use crate::types::{Locality, RowKind, RowRef};

const GOLDEN_RAW: &[u8] = include_bytes!("../../testdata/table-v1-raw.sst");
const GOLDEN_LZ4: &[u8] = include_bytes!("../../testdata/table-v1-lz4.sst");

// Fixed for all time: the golden files hold these rows.
fn golden_rows(small_rows: u16) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..small_rows)
        .map(|i| Row {
            key: stored_key(i % 3, Locality::Small, &u64::from(i).to_be_bytes(), b""),
            kind: [RowKind::Put, RowKind::Delete, RowKind::Merge][usize::from(i) % 3],
            value: if i % 3 == 1 { Vec::new() } else { vec![i as u8; usize::from(i % 50)] },
        })
        .collect();
    for entry in 0..20_u8 {
        let value = if entry == 7 { vec![0x5a; 5000] } else { vec![entry] };
        let key = stored_key(3, Locality::Collection, b"map", &[entry]);
        rows.push(Row { key, kind: RowKind::Put, value });
    }
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

fn golden_raw() -> (Built, Vec<Row>) {
    let rows = golden_rows(60);
    (build(FILTER_BITS_LAST, &rows, &[b"\0\x01", b"\0\x02\x02"]), rows)
}

fn golden_lz4() -> (Built, Vec<Row>) {
    let rows = golden_rows(600);
    (build(FILTER_BITS_UPPER, &rows, &[]), rows)
}

fn read_back(file: &[u8], rows: &[Row]) -> Built {
    let footer = &file[file.len() - 4096..];
    let table_ref = TableRef::from_footer(name(1), footer).expect("a footer");
    let start = usize::try_from(table_ref.meta_offset).expect("small");
    let meta = &file[start..start + table_ref.meta_len as usize];
    let built = Built {
        table: Table::decode(table_ref, meta).expect("a resident part"),
        file: file.to_vec(),
    };
    let all: Vec<Row> = built.table.units_from(b"").flat_map(|e| built.rows_of(e)).collect();
    assert_eq!(all, rows);
    assert!(rows.iter().all(|row| built.get(&row.key).as_ref() == Some(row)));
    built
}

#[test]
fn version_1_tables_are_written_as_ever() {
    let (built, _) = golden_raw();
    check_golden("table-v1-raw.sst", GOLDEN_RAW, &built.file);
}

#[test]
fn version_1_tables_are_read_as_ever() {
    let raw = read_back(GOLDEN_RAW, &golden_raw().1);
    assert!(raw.table.units_from(b"").all(|e| e.offset % 4096 == 0));
    // The compressor may improve, so the packed table is only read.
    let packed = read_back(GOLDEN_LZ4, &golden_lz4().1);
    assert!(packed.table.units_from(b"").any(|e| e.offset % 4096 != 0));
    assert!(raw.table.clears(b"\0\x01") && !packed.table.clears(b"\0\x01"));
}

#[test]
fn chunks_come_while_rows_go_in_and_are_reused() {
    let mut builder = TableBuilder::new(name(1), FILTER_BITS_LAST);
    let (mut file, mut given) = (Vec::new(), None);
    let mut rows = Vec::new();
    for i in 0..40_000_u32 {
        let (key, value) = (i.to_be_bytes(), i.wrapping_mul(0x9e37_79b9).to_le_bytes().repeat(25));
        rows.push(Row { key: key.to_vec(), kind: RowKind::Put, value: value.clone() });
        builder.add(hash64(&key), RowRef { key: &key, kind: RowKind::Put, value: &value });
        while let Some(chunk) = builder.take_chunk() {
            assert_eq!(chunk.len(), SST_CHUNK_BYTES);
            given.get_or_insert(chunk.as_ptr());
            file.extend_from_slice(&chunk);
            builder.give_back(chunk);
        }
        assert!(builder.data_bytes() >= file.len() as u64);
        assert!(builder.data_bytes() - (file.len() as u64) < 2 * SST_CHUNK_BYTES as u64);
    }
    assert_eq!(builder.rows(), 40_000);
    assert!(given.is_some() && builder.meta_bytes() > 0);
    let finished = builder.finish().expect("small");
    assert_eq!(finished.table.user_bytes(), 40_000 * 104);
    finished.chunks.iter().for_each(|c| file.extend_from_slice(c));
    read_back(&file, &rows);
}

#[test]
fn it_tells_where_units_and_large_values_lie_as_readers_ask_for_them() {
    for small_rows in [60, 600, 20_000] {
        let rows = golden_rows(small_rows);
        let mut builder = TableBuilder::new(name(1), FILTER_BITS_LAST);
        let (mut placed, mut handed_over) = (Vec::new(), 0);
        for row in &rows {
            let value = &row.value[..];
            builder.add(hash64(&row.key), RowRef { key: &row.key, kind: row.kind, value });
            while let Some(chunk) = builder.take_chunk() {
                handed_over += chunk.len() as u64;
                placed.extend(builder.take_placed());
                assert!(placed.last().is_some_and(|e| e.pages().offset + 4096 >= handed_over));
            }
        }
        let Finished { placed: last, table, .. } = builder.finish().expect("small");
        placed.extend(last);
        assert!(placed.is_sorted_by_key(|extent| extent.offset));
        let (large, units): (Vec<_>, Vec<_>) = placed.into_iter().partition(|e| e.len > 4096);
        let read: Vec<_> = table.units_from(b"").collect();
        assert_eq!(units.len(), read.len());
        let differ = units.iter().zip(&read).filter(|(unit, read)| unit.pages() != read.pages());
        assert!(differ.count() <= 1, "the one in front of the large value");
        assert_eq!(large.iter().map(|e| e.len).collect::<Vec<_>>(), [8192]);
    }
}

#[test]
fn the_largest_rows_fit() {
    let rows: Vec<Row> = [VALUE_BYTES_MAX, 1024, 1025, 0]
        .into_iter()
        .enumerate()
        .map(|(i, len)| Row {
            key: vec![i as u8; STORED_KEY_BYTES_MAX],
            kind: RowKind::Put,
            value: vec![3; len],
        })
        .collect();
    let built = build(FILTER_BITS_UPPER, &rows, &[&[9; STORED_KEY_BYTES_MAX]]);
    read_back(&built.file, &rows);
}

#[test]
#[should_panic(expected = "keys ascend")]
fn keys_out_of_order_are_a_bug() {
    let mut builder = TableBuilder::new(name(1), FILTER_BITS_LAST);
    for key in [b"b", b"a"] {
        builder.add(1, RowRef { key, kind: RowKind::Put, value: b"" });
    }
}
