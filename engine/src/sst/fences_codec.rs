//! The bytes of the resident index (FORMAT.md, "Fences"). The decoder takes arbitrary bytes: it
//! checks every length before it allocates, and what it accepts, the search can walk.

use crate::codec::reader::Reader;
use crate::codec::varint;
use crate::limits::{FENCE_GROUP_UNITS, PAGE_BYTES, SST_GRANULE_BYTES, STORED_KEY_BYTES_MAX};
use crate::sst::fences::{Common, Fences, Group, Level, Partition, Places, count};
use crate::sst::fences_gap::Gap;

const PLACES_REGULAR: u8 = 1;
const PLACES_EACH: u8 = 2;

/// Appends the index.
pub(super) fn put(out: &mut Vec<u8>, fences: &Fences) {
    for count in [fences.units(), count(fences.group_nodes.len()), count(fences.partitions())] {
        out.extend_from_slice(&count.to_le_bytes());
    }
    out.extend_from_slice(&fences.data_end.to_le_bytes());
    put_gaps(out, &fences.gaps);
    put_common(out, fences.root_common);
    for (i, node) in fences.partition_nodes.iter().enumerate() {
        let next = fences.partition_nodes.get(i + 1);
        let end = next.map_or(fences.units(), |p| p.unit_first);
        out.extend_from_slice(&(end - node.unit_first).to_le_bytes());
        put_common(out, node.common);
    }
    for node in &fences.group_nodes {
        let (tag, granule) = match node.places {
            Places::Regular(granule) => (PLACES_REGULAR, granule),
            Places::Each(_) => (PLACES_EACH, 0),
        };
        out.push(tag);
        put_common(out, node.common);
        out.extend_from_slice(&granule.to_le_bytes());
    }
    out.extend_from_slice(&count(fences.granules.len()).to_le_bytes());
    fences.granules.iter().for_each(|g| out.extend_from_slice(&g.to_le_bytes()));
    for level in [&fences.root, &fences.groups, &fences.units] {
        put_level(out, level);
    }
}

fn put_gaps(out: &mut Vec<u8>, gaps: &[Gap]) {
    let count = u16::try_from(gaps.len()).expect("the builder stops at 2^16");
    out.extend_from_slice(&count.to_le_bytes());
    for gap in gaps {
        out.push(gap.at() as u8);
        varint::put(out, gap.bytes().len() as u64);
        out.extend_from_slice(gap.bytes());
    }
}

fn put_common(out: &mut Vec<u8>, common: Common) {
    out.extend_from_slice(&common.prefix_len.to_le_bytes());
    out.extend_from_slice(&common.gap.to_le_bytes());
}

fn put_level(out: &mut Vec<u8>, level: &Level) {
    level.heads.iter().for_each(|h| out.extend_from_slice(&h.to_le_bytes()));
    out.extend_from_slice(&count(level.full_at.len()).to_le_bytes());
    let mut start = 0;
    for (at, &end) in level.full_at.iter().zip(&level.full_end) {
        out.extend_from_slice(&at.to_le_bytes());
        let rest = &level.full_bytes[start..end as usize];
        start = end as usize;
        varint::put(out, rest.len() as u64);
        out.extend_from_slice(rest);
    }
}

/// Reads an index; `Err` names the part that is not of the format.
pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Fences, &'static str> {
    let counts = (reader.u32(), reader.u32(), reader.u32(), reader.u64());
    let (Some(units), Some(groups), Some(partitions), Some(data_end)) = counts else {
        return Err("fence counts end early");
    };
    let mut out = Fences { data_end, gaps: decode_gaps(reader)?, ..Fences::default() };
    out.root_common = take_common(reader, &out.gaps)?;
    if !data_end.is_multiple_of(PAGE_BYTES as u64) {
        return Err("units do not end at a page");
    }
    decode_partitions(&mut out, reader, partitions, (units, groups))?;
    decode_groups(&mut out, reader, groups)?;
    out.root = decode_level(reader, partitions)?;
    out.groups = decode_level(reader, groups)?;
    out.units = decode_level(reader, units)?;
    link(&mut out)?;
    check_order(&out)?;
    check_places(&out)?;
    out.shrink();
    Ok(out)
}

fn decode_gaps(reader: &mut Reader<'_>) -> Result<Vec<Gap>, &'static str> {
    let count = take_u16(reader).ok_or("gaps end early")?;
    let mut out = reserve(reader, u32::from(count), 3)?;
    for _ in 0..count {
        let (Some(at), Some(bytes)) = (reader.u8(), reader.span()) else {
            return Err("gaps end early");
        };
        out.push(Gap::new(usize::from(at), bytes).ok_or("a gap out of place")?);
    }
    Ok(out)
}

fn decode_partitions(
    out: &mut Fences,
    reader: &mut Reader<'_>,
    partitions: u32,
    (units, groups): (u32, u32),
) -> Result<(), &'static str> {
    out.partition_nodes = reserve(reader, partitions, 8)?;
    let (mut unit_first, mut group_first) = (0_u32, 0_u32);
    for _ in 0..partitions {
        let own = reader.u32().ok_or("partitions end early")?;
        if own == 0 {
            return Err("a partition without units");
        }
        let common = take_common(reader, &out.gaps)?;
        out.partition_nodes.push(Partition { unit_first, group_first, common, full_first: 0 });
        unit_first = unit_first.checked_add(own).ok_or("units of partitions overflow")?;
        group_first += own.div_ceil(FENCE_GROUP_UNITS as u32);
        if unit_first > units {
            break;
        }
    }
    if (unit_first, group_first) == (units, groups) {
        Ok(())
    } else {
        Err("units of partitions do not add up")
    }
}

fn decode_groups(
    out: &mut Fences,
    reader: &mut Reader<'_>,
    groups: u32,
) -> Result<(), &'static str> {
    out.group_nodes = reserve(reader, groups, 9)?;
    for _ in 0..groups {
        let tag = reader.u8().ok_or("groups end early")?;
        let common = take_common(reader, &out.gaps)?;
        let granule = reader.u32().ok_or("groups end early")?;
        let places = match (tag, granule) {
            (PLACES_REGULAR, granule) => Places::Regular(granule),
            // The index into the granules follows from the groups before.
            (PLACES_EACH, 0) => Places::Each(0),
            _ => return Err("unknown places of a group"),
        };
        out.group_nodes.push(Group { places, common, full_first: 0 });
    }
    let count = reader.u32().ok_or("granules end early")?;
    out.granules = reserve(reader, count, 4)?;
    for _ in 0..count {
        out.granules.push(reader.u32().ok_or("granules end early")?);
    }
    Ok(())
}

fn decode_level(reader: &mut Reader<'_>, entries: u32) -> Result<Level, &'static str> {
    let mut level = Level { heads: reserve(reader, entries, 8)?, ..Level::default() };
    for _ in 0..entries {
        level.heads.push(reader.u64().ok_or("heads end early")?);
    }
    let fulls = reader.u32().ok_or("separators end early")?;
    level.full_at = reserve(reader, fulls, 5)?;
    level.full_end = reserve(reader, fulls, 5)?;
    for _ in 0..fulls {
        let (Some(at), Some(rest)) = (reader.u32(), reader.span()) else {
            return Err("separators end early");
        };
        let ascends = level.full_at.last().is_none_or(|&last| last < at);
        if !ascends || at >= entries || rest.len() > STORED_KEY_BYTES_MAX {
            return Err("a separator out of place");
        }
        level.full_at.push(at);
        level.full_bytes.try_reserve(rest.len()).map_err(|_| "no memory for the index")?;
        level.full_bytes.extend_from_slice(rest);
        let end = u32::try_from(level.full_bytes.len()).map_err(|_| "separators too long")?;
        level.full_end.push(end);
    }
    Ok(level)
}

// What is not stored because it follows: where each node's separators and granules begin.
fn link(out: &mut Fences) -> Result<(), &'static str> {
    let mut granule = 0_u32;
    for partition in 0..out.partition_nodes.len() {
        let groups = out.groups_of(partition);
        let full_first = first_place(&out.groups, groups.start);
        out.partition_nodes[partition].full_first = full_first;
        for group in groups {
            let units = out.units_of(partition, group);
            out.group_nodes[group].full_first = first_place(&out.units, units.start);
            if let Places::Each(first) = &mut out.group_nodes[group].places {
                *first = granule;
                granule += count(units.len());
            }
        }
    }
    if granule as usize == out.granules.len() { Ok(()) } else { Err("granules do not add up") }
}

fn first_place(level: &Level, entry: usize) -> u32 {
    count(level.full_at.partition_point(|&at| (at as usize) < entry))
}

// The search needs ascending heads inside each list.
fn check_order(out: &Fences) -> Result<(), &'static str> {
    let mut ordered = out.root.heads.is_sorted();
    for partition in 0..out.partition_nodes.len() {
        let groups = out.groups_of(partition);
        ordered &= out.groups.heads[groups.clone()].is_sorted();
        for group in groups {
            ordered &= out.units.heads[out.units_of(partition, group)].is_sorted();
        }
    }
    if ordered { Ok(()) } else { Err("heads do not ascend") }
}

fn check_places(out: &Fences) -> Result<(), &'static str> {
    let page = (PAGE_BYTES / SST_GRANULE_BYTES) as u64;
    let mut next = 0_u64;
    let mut take = |first: u64, granules: u64| {
        let ascends = first >= next;
        next = first + granules;
        ascends && next <= out.data_end / SST_GRANULE_BYTES as u64
    };
    let mut inside = true;
    for partition in 0..out.partition_nodes.len() {
        for group in out.groups_of(partition) {
            let units = out.units_of(partition, group).len();
            inside &= match out.group_nodes[group].places {
                Places::Regular(first) => {
                    u64::from(first).is_multiple_of(page)
                        && take(u64::from(first), units as u64 * page)
                }
                Places::Each(first) => out.granules[first as usize..][..units]
                    .iter()
                    .all(|&granule| take(u64::from(granule), 1)),
            };
        }
    }
    if inside { Ok(()) } else { Err("a unit out of place") }
}

// Room for `count` items, each of at least `bytes_min` bytes that are still to be read: a forged
// count fails before it allocates.
fn reserve<T>(reader: &Reader<'_>, count: u32, bytes_min: usize) -> Result<Vec<T>, &'static str> {
    let count = count as usize;
    if count > reader.remaining() / bytes_min {
        return Err("a count exceeds the bytes that follow");
    }
    let mut out = Vec::new();
    out.try_reserve_exact(count).map_err(|_| "no memory for the index")?;
    Ok(out)
}

fn take_u16(reader: &mut Reader<'_>) -> Option<u16> {
    reader.array().map(|b| u16::from_le_bytes(*b))
}

fn take_common(reader: &mut Reader<'_>, gaps: &[Gap]) -> Result<Common, &'static str> {
    let (Some(prefix_len), Some(gap)) = (take_u16(reader), take_u16(reader)) else {
        return Err("what a list has in common ends early");
    };
    if usize::from(prefix_len) > STORED_KEY_BYTES_MAX {
        return Err("a prefix over a key");
    }
    if usize::from(gap) > gaps.len() {
        return Err("an unknown gap");
    }
    Ok(Common { prefix_len, gap })
}
