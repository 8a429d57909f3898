//! What a table holds, and what one of its units does.

use anyhow::{Context, Result, bail};
use aquifer::codec::crc::{keyed_crc, object_key};
use aquifer::limits::{PAGE_BYTES, SST_META_BYTES_MAX};
use aquifer::sst::layout::{self, UnitCodec, UnitHeader};
use aquifer::sst::meta::Footer;
use aquifer::sst::{Entry, EntryValue, Table, TableRef, Unit};
use aquifer::types::{ObjectName, RowKind};
use serde_json::Value;

use super::{Args, Flaws, holds, key_fields, show_name};
use crate::objects::walk::{self, Flaw, Tally, Watch};
use crate::objects::{Object, is_damage};
use crate::page::{Digits, Page, Row};

/// Shows a table, or the unit that the options name.
pub(super) fn show(
    page: &mut Page<'_>,
    object: &Object,
    args: &Args,
    flaws: &mut Flaws,
) -> Result<()> {
    let name = object.name()?;
    show_name(page, "object_name", &name)?;
    page.field("bytes", object.bytes())?;
    if let Some(offset) = args.at {
        return show_unit(page, object, offset, flaws);
    }
    let Some(table_ref) = footer(page, object, name, flaws)? else { return Ok(()) };
    let table = resident_part(page, object, table_ref, flaws)?;
    match (table, args.unit) {
        (Some(table), Some(number)) => {
            let Some(place) = table.unit(number) else {
                bail!("--unit {number}: the table has {} units", table.units());
            };
            page.field("unit_number", number)?;
            show_unit(page, object, place.offset, flaws)
        }
        (None, Some(_)) => bail!("the index is gone, so units have no numbers: use --at OFFSET"),
        (Some(table), None) => units(page, object, &table, flaws),
        (None, None) => Ok(()),
    }
}

/// The footer, and what it says of the resident part, right or wrong.
fn footer(
    page: &mut Page<'_>,
    object: &Object,
    name: ObjectName,
    flaws: &mut Flaws,
) -> Result<Option<TableRef>> {
    let offset = object.bytes().saturating_sub(PAGE_BYTES as u64);
    let last = match object.last_page() {
        Ok(last) => last,
        Err(error) if is_damage(&error) => {
            flaws.add(name, Some(offset), &error.text);
            return Ok(None);
        }
        Err(error) => return Err(error).context("the footer"),
    };
    if let Err(error) = TableRef::from_footer(name, &last[..]) {
        flaws.add(name, Some(offset), &error.text);
    }
    let Some(footer) = Footer::unchecked(name, &last) else { return Ok(None) };
    let table_ref = footer.table_ref;
    page.group("footer", |page| {
        page.field("checksum", holds(footer.checksum_holds))?;
        page.field("format_version", footer.format_version)?;
        page.field("bytes_of_the_object", table_ref.file_bytes)?;
        page.field("offset_of_the_resident_part", table_ref.meta_offset)?;
        page.field("bytes_of_the_resident_part", table_ref.meta_len)?;
        page.field("checksum_of_the_resident_part", format!("{:08x}", table_ref.meta_crc))?;
        Ok(())
    })?;
    if table_ref.file_bytes != object.bytes() {
        let what = format!("the object has {} bytes, its footer says {}", object.bytes(), {
            table_ref.file_bytes
        });
        flaws.add(name, Some(offset), what);
    }
    Ok(Some(table_ref))
}

/// The resident part, read under whatever checksum it has.
fn resident_part(
    page: &mut Page<'_>,
    object: &Object,
    table_ref: TableRef,
    flaws: &mut Flaws,
) -> Result<Option<Table>> {
    let (name, at) = (table_ref.name, table_ref.meta_offset);
    if table_ref.meta_len as usize > SST_META_BYTES_MAX {
        flaws.add(name, Some(at), "the resident part is over its limit");
        return Ok(None);
    }
    let bytes = match object.read(at, table_ref.meta_len as usize) {
        Ok(bytes) => bytes,
        Err(error) if is_damage(&error) => {
            flaws.add(name, Some(at), format!("resident part: {}", error.text));
            return Ok(None);
        }
        Err(error) => return Err(error).context("the resident part"),
    };
    let meta_crc = keyed_crc(object_key(&name), at, &bytes);
    let same = meta_crc == table_ref.meta_crc;
    if !same {
        flaws.add(name, Some(at), "resident part: checksum differs");
    }
    match Table::decode(TableRef { meta_crc, ..table_ref }, &bytes) {
        Ok(table) => {
            show_resident(page, &table, same)?;
            Ok(Some(table))
        }
        Err(error) => {
            flaws.add(name, Some(at), &error.text);
            Ok(None)
        }
    }
}

fn show_resident(page: &mut Page<'_>, table: &Table, same: bool) -> Result<()> {
    page.group("resident_part", |page| {
        super::manifest::checksum(page, same)?;
        page.group("properties", |page| {
            page.field("rows", table.rows())?;
            page.field("bytes_of_keys_and_values", table.user_bytes())?;
            let first = ["stored_key_of_the_first_row", "first_key_says"];
            let last = ["stored_key_of_the_last_row", "last_key_says"];
            for (names, key) in [(first, table.smallest()), (last, table.largest())] {
                for (name, value) in key_fields(page.digits(), names, key) {
                    page.field(name, value)?;
                }
            }
            Ok(())
        })?;
        page.group("fences", |page| {
            page.field("units", table.units())?;
            page.field("groups", table.fences().groups())?;
            page.field("partitions", table.fences().partitions())?;
            page.field("gaps", table.fences().gaps())?;
            Ok(())
        })?;
        let blocks = table.filters().iter().map(|filter| filter.blocks() as u64);
        page.rows("filters", blocks.map(|blocks| vec![("blocks", blocks.into())]))?;
        let digits = page.digits();
        let clear = |prefix| key_fields(digits, ["prefix", "prefix_says"], prefix).into();
        Ok(page.rows("clears", table.clear_prefixes().iter().map(clear))?)
    })
}

struct Collect<'a> {
    name: ObjectName,
    flaws: &'a mut Flaws,
}

impl Watch for Collect<'_> {
    fn flaw(&mut self, flaw: Flaw) {
        self.flaws.add(self.name, flaw.offset, flaw.what);
    }
}

fn units(page: &mut Page<'_>, object: &Object, table: &Table, flaws: &mut Flaws) -> Result<()> {
    let mut watch = Collect { name: *table.name(), flaws };
    let tally = walk::walk(object, table, &mut watch).context("the units")?;
    page.group("units", |page| show_tally(page, &tally))
}

fn show_tally(page: &mut Page<'_>, tally: &Tally) -> Result<()> {
    page.field("raw", tally.raw_units)?;
    page.field("lz4", tally.lz4_units)?;
    page.field("damaged", tally.damaged_units)?;
    page.field("rows", tally.rows)?;
    page.field("puts", tally.puts)?;
    page.field("deletes", tally.deletes)?;
    page.field("merges", tally.merges)?;
    page.field("large_values", tally.large_values)?;
    page.field("bytes_of_keys_and_values", tally.user_bytes)?;
    page.field("first_key_group", tally.key_groups.map(|groups| groups.0))?;
    page.field("last_key_group", tally.key_groups.map(|groups| groups.1))?;
    let states = tally.rows_by_state.iter();
    let row =
        |(state, rows): (&u8, &u64)| vec![("state", (*state).into()), ("rows", (*rows).into())];
    Ok(page.rows("rows_by_state", states.map(row))?)
}

/// The unit at an offset, right or wrong.
fn show_unit(page: &mut Page<'_>, object: &Object, offset: u64, flaws: &mut Flaws) -> Result<()> {
    let name = object.name()?;
    let left = object.bytes().saturating_sub(offset).min(PAGE_BYTES as u64);
    let mut bytes = object.read(offset, left as usize)?;
    let key = object_key(&name);
    if let Err(error) = Unit::check(key, offset, &bytes, &mut Vec::new()) {
        flaws.add(name, Some(offset), &error.text);
    }
    page.group("unit", |page| {
        page.field("offset", offset)?;
        let Ok(header) = UnitHeader::check(&bytes) else {
            page.bytes("content", &bytes)?;
            return Ok(());
        };
        let len = header.unit_bytes().min(bytes.len());
        let unit = &mut bytes[..len];
        let same = layout::unit_crc(unit) == layout::expected_crc(key, offset, unit);
        show_header(page, &header, layout::unit_crc(unit), same)?;
        // Under a checksum that holds, to see as much as there is.
        layout::seal_unit(key, offset, unit);
        let mut scratch = Vec::new();
        match Unit::check(key, offset, &*unit, &mut scratch) {
            Ok(unit) => rows(page, &unit),
            Err(_) => Ok(page.bytes("content", unit)?),
        }
    })
}

fn show_header(page: &mut Page<'_>, header: &UnitHeader, crc: u32, same: bool) -> Result<()> {
    page.field("checksum", format!("{crc:08x} {}", holds(same)))?;
    let codec = match header.codec {
        UnitCodec::Raw => "raw",
        UnitCodec::Lz4 => "lz4",
    };
    page.field("codec", codec)?;
    page.field("bytes", header.unit_bytes())?;
    page.field("rows", header.rows)?;
    page.field("payload_bytes_decoded", header.decoded_bytes)?;
    page.field("payload_bytes_stored", header.stored_bytes)?;
    Ok(())
}

fn rows(page: &mut Page<'_>, unit: &Unit<'_>) -> Result<()> {
    let digits = page.digits();
    let rows = (0..unit.len()).map(|index| match unit.entry(index) {
        Ok(entry) => row(digits, index, &entry),
        Err(error) => vec![("row", index.into()), ("flaw", error.text.to_string().into())],
    });
    Ok(page.rows("row_list", rows)?)
}

fn row(digits: Digits, index: usize, entry: &Entry<'_>) -> Row {
    let kind = match entry.kind {
        RowKind::Put => "put",
        RowKind::Delete => "delete",
        RowKind::Merge => "merge",
    };
    let mut row: Row = vec![("row", index.into()), ("kind", kind.into())];
    row.extend(key_fields(digits, ["stored_key", "key_says"], entry.key));
    let (bytes, value, offset) = match entry.value {
        EntryValue::Inline(value) => (value.len() as u64, digits.of(value).into(), Value::Null),
        EntryValue::Extent(value) => (value.len.into(), Value::Null, value.offset.into()),
    };
    row.extend([("value_bytes", bytes.into()), ("value", value), ("value_offset", offset)]);
    row
}
