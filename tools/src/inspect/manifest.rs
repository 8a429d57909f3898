//! What a manifest holds.

use anyhow::{Context, Result, ensure};
use aquifer::codec::reader::Reader;
use aquifer::limits::MANIFEST_BYTES_MAX;
use aquifer::lsm::manifest::{Manifest, TabletRef};
use aquifer::state::StateTable;
use aquifer::types::error::ErrorKind;

use super::{Flaws, holds, key_fields, show_name};
use crate::objects::Object;
use crate::page::{Page, Row};

/// Shows a manifest as far as it can be read, and returns its bytes.
pub(super) fn show(page: &mut Page<'_>, object: &Object, flaws: &mut Flaws) -> Result<Vec<u8>> {
    let name = object.name()?;
    let len = object.bytes();
    ensure!(len <= MANIFEST_BYTES_MAX, "{name} has {len} bytes: no manifest is as large");
    let bytes = object.read(0, len as usize)?;
    let decoded = Manifest::decode(&name, &bytes);
    if let Err(error) = &decoded
        && error.kind == ErrorKind::Unsupported
    {
        return decoded.map(|_| bytes).context("the manifest");
    }
    show_name(page, "object_name", &name)?;
    page.field("bytes", len)?;
    page.field("checksum", if decoded.is_ok() { "holds" } else { "differs, or a field is wrong" })?;
    let (manifest, flaw) = Manifest::examine(&bytes);
    if let Err(error) = decoded {
        flaws.add(name, flaw.map(|flaw| flaw.at as u64), &error.text);
    }
    let version = bytes.get(8..).and_then(|rest| rest.first_chunk().copied());
    page.field("format_version", version.map(u32::from_le_bytes))?;
    page.field("store", manifest.store)?;
    page.field("maximal_parallelism", manifest.key_groups)?;
    page.field("first_key_group", manifest.range.0)?;
    page.field("last_key_group", manifest.range.1)?;
    show_states(page, &manifest, flaws, &name.to_string())?;
    show_tables(page, &manifest)?;
    show_tablets(page, &manifest)?;
    page.field("hot_pages", manifest.hot.iter().map(|hot| hot.pages.len()).sum::<usize>())?;
    Ok(bytes)
}

fn show_states(
    page: &mut Page<'_>,
    manifest: &Manifest,
    flaws: &mut Flaws,
    place: &str,
) -> Result<()> {
    let states = match StateTable::decode(&mut Reader::new(&manifest.states)) {
        Ok(states) => states,
        Err(error) => {
            page.bytes("state_table", &manifest.states)?;
            flaws.add(place, None, &error.text);
            return Ok(());
        }
    };
    let row = |(id, state): (aquifer::types::StateId, &aquifer::state::StateDescriptor)| -> Row {
        vec![
            ("id", id.0.into()),
            ("kind", state.kind.to_string().into()),
            ("name", state.name.clone().into()),
        ]
    };
    Ok(page.rows("state_table", states.iter().map(row))?)
}

fn show_tables(page: &mut Page<'_>, manifest: &Manifest) -> Result<()> {
    page.field("tables", manifest.tables.len())?;
    let bytes: u64 = manifest.tables.iter().map(|table| table.file_bytes).sum();
    page.field("bytes_of_the_tables", bytes)?;
    let rows = manifest.tables.iter().zip(0_u64..).map(|(table, number)| -> Row {
        vec![
            ("number", number.into()),
            ("object_name", table.name.to_string().into()),
            ("bytes_of_the_object", table.file_bytes.into()),
            ("offset_of_the_resident_part", table.meta_offset.into()),
            ("bytes_of_the_resident_part", table.meta_len.into()),
            ("checksum_of_the_resident_part", format!("{:08x}", table.meta_crc).into()),
        ]
    });
    Ok(page.rows("table_references", rows)?)
}

fn show_tablets(page: &mut Page<'_>, manifest: &Manifest) -> Result<()> {
    page.field("tablets", manifest.tablets.len())?;
    let digits = page.digits();
    let row = |tablet: &TabletRef| -> Row {
        let mut row: Row = key_fields(digits, ["low_key", "low_key_says"], &tablet.low).into();
        row.push(("runs", tablet.runs.clone().into()));
        row
    };
    Ok(page.rows("tablet_list", manifest.tablets.iter().map(row))?)
}

/// Whether the checksum of a structure holds, for people.
pub(super) fn checksum(page: &mut Page<'_>, ok: bool) -> Result<()> {
    Ok(page.field("checksum", holds(ok))?)
}
