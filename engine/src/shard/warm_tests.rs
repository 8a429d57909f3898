use super::*;
use crate::io::values::ObjectSlot;
use crate::lsm::version::{Run, Tablet};
use crate::sst::testing::{self, Random, Shape};
use std::rc::Rc;
use std::sync::Arc;

fn open_table() -> OpenTable {
    let mut random = Random(5);
    let keys = testing::keys(Shape::Random, 3000, &mut random);
    let rows = testing::rows(keys, &mut random);
    let table = Arc::new(testing::build(10, &rows, &[]).table);
    OpenTable { table, object: ObjectSlot(4) }
}

fn pages_of(extent: Extent) -> u32 {
    (extent.offset / PAGE_BYTES as u64) as u32
}

#[test]
fn hot_pages_are_taken_as_the_units_that_begin_there_front_to_back() {
    let table = open_table().table;
    let units: Vec<Extent> = (0..table.units()).filter_map(|u| table.unit(u)).collect();
    let pages: Vec<u32> = units.iter().step_by(7).map(|unit| pages_of(unit.pages())).collect();
    let mut hot = HotTable { name: *table.name(), pages: pages.iter().rev().copied().collect() };
    let first = hot.take(&table, 3 * PAGE_BYTES as u64);
    assert!((1..=3).contains(&first.len()), "{first:?}");
    let all = [first, hot.take(&table, u64::MAX)].concat();
    assert!(hot.pages.is_empty());
    assert!(all.iter().all(|extent| pages.contains(&pages_of(*extent))));
    for unit in units.iter().step_by(7) {
        assert!(all.contains(&unit.pages()), "{unit:?}");
    }
    assert!(all.is_sorted_by_key(|extent| extent.offset));
}

#[test]
fn pages_at_which_no_unit_begins_are_left_out() {
    let table = open_table().table;
    let end = (table.file_bytes() / PAGE_BYTES as u64) as u32;
    let mut hot = HotTable { name: *table.name(), pages: vec![u32::MAX, end, end - 1] };
    assert_eq!(hot.take(&table, u64::MAX), []);
}

#[test]
fn units_of_key_ranges_that_others_have_are_not_named() {
    let open = open_table();
    let table = &open.table;
    let (quarter, half) = (table.units() / 4, table.units() / 2);
    let key = |wanted: u32| {
        let mut keys = (0..=u16::MAX).map(|n| n.to_be_bytes().to_vec());
        keys.find(|key| table.unit_at(key) >= wanted).expect("keys begin with their group")
    };
    let (low, high) = (key(quarter), key(half));
    let run = Run { open: open.clone(), bytes: 1 };
    let tablet = |low: &[u8], high: Option<&[u8]>, runs| {
        Rc::new(Tablet::new(low.into(), high.map(Into::into), runs))
    };
    let version = Version::new(vec![
        tablet(b"", Some(&low), Vec::new()),
        tablet(&low, Some(&high), vec![run]),
        tablet(&high, None, Vec::new()),
    ]);
    let ranges = named(&version, &open);
    let is_named = |unit: u32| {
        let offset = table.unit(unit).unwrap().pages().offset;
        ranges.iter().any(|range| range.contains(&offset))
    };
    let (first, last) = (table.unit_at(&low), table.unit_at(&high));
    assert!(first > 0 && first < last && last + 2 < table.units());
    assert!((first..=last).all(is_named));
    // Units share pages with their neighbours.
    assert!(!is_named(0) && !(last + 20..table.units()).any(is_named));
}
