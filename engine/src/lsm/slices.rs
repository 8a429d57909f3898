//! The version of a store that opens from checkpoints, of any number of stores: the tablets of each
//! manifest, clipped to the key groups that the store takes from it. No table is touched; merges
//! of the clipped tablets drop the rows of other key groups, since they read what lies in a tablet.

use std::rc::Rc;

use crate::lsm::manifest::{Manifest, TabletRef};
use crate::lsm::version::{Tablet, Version};
use crate::sst::meta::TableRef;
use crate::types::{Error, KeyGroup, ObjectName, Result};

/// What a store takes from one checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// Names the checkpoint.
    pub name: &'a ObjectName,
    /// What it holds.
    pub manifest: &'a Manifest,
    /// First and last key group.
    pub groups: (KeyGroup, KeyGroup),
}

/// What a store of the key groups `range` takes from each checkpoint, by key group. What it takes
/// nothing from is left out.
///
/// # Errors
/// `Invalid` if a checkpoint counts other key groups, if two hold the same one, or if none holds
/// one of the store's: a handle that was forgotten would be state that is missing.
pub fn slices<'a>(
    checkpoints: &'a [(ObjectName, Manifest)],
    key_groups: u32,
    range: (KeyGroup, KeyGroup),
) -> Result<Vec<Slice<'a>>> {
    let mut slices = Vec::new();
    for (name, manifest) in checkpoints {
        if manifest.key_groups != key_groups {
            return Err(Error::invalid(format!(
                "checkpoint {name} counts {} key groups and the store {key_groups}; open it with \
                 the maximal parallelism that the checkpoint was cut with",
                manifest.key_groups
            )));
        }
        let groups = (manifest.range.0.max(range.0), manifest.range.1.min(range.1));
        if groups.0 <= groups.1 {
            slices.push(Slice { name, manifest, groups });
        }
    }
    slices.sort_by_key(|slice| slice.groups.0);
    let mut next = range.0;
    for (at, slice) in slices.iter().enumerate() {
        let (first, last) = slice.groups;
        if first < next {
            let before = &slices[at - 1];
            let (a, b, end) = (before.name, slice.name, last.min(before.groups.1));
            return Err(Error::invalid(format!(
                "checkpoints {a} and {b} both hold key groups {first} to {end}; pass one \
                 checkpoint of each store"
            )));
        }
        check_covered(next, first, range)?;
        // Key groups end below the largest number.
        next = last + 1;
    }
    check_covered(next, range.1 + 1, range)?;
    Ok(slices)
}

// The key groups from `next` to below `first` are held by no checkpoint.
fn check_covered(next: KeyGroup, first: KeyGroup, range: (KeyGroup, KeyGroup)) -> Result<()> {
    if next == first {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "no checkpoint holds key groups {next} to {} of the store's {} to {}; pass the handles of \
         all stores that held them",
        first - 1,
        range.0,
        range.1
    )))
}

impl Version {
    /// The version of what `slices` gave, none of its tables open. Key groups of other stores are
    /// tablets without runs.
    #[must_use]
    pub fn of_slices(slices: &[Slice<'_>]) -> Self {
        let mut parts = vec![Part { low: Box::default(), runs: Vec::new() }];
        for slice in slices {
            let (first, last) = slice.groups;
            let (low, high) = (start(first), start(last + 1));
            let Manifest { tables, tablets, .. } = slice.manifest;
            let tables: Vec<_> = tables.iter().map(|&table_ref| Rc::new(table_ref)).collect();
            // The tablet that `low` lies in, and those that begin in the slice.
            let from = tablets.partition_point(|tablet| tablet.low <= low).saturating_sub(1);
            for tablet in tablets[from..].iter().take_while(|tablet| tablet.low < high) {
                let part_low = tablet.low.clone().max(low.clone());
                put(&mut parts, part_low, table_refs(&tables, tablet));
            }
            if u32::from(last) + 1 < slice.manifest.key_groups {
                put(&mut parts, high, Vec::new());
            }
        }
        let highs: Vec<_> = parts.iter().skip(1).map(|next| Some(next.low.clone())).collect();
        let tablets = parts.into_iter().zip(highs.into_iter().chain([None])).map(|(part, high)| {
            Rc::new(Tablet { unopened: part.runs, ..Tablet::new(part.low, high, Vec::new()) })
        });
        Self::new(tablets.collect())
    }
}

struct Part {
    low: Box<[u8]>,
    runs: Vec<Rc<TableRef>>,
}

// Below every key of `group`, and above those of the groups before it.
fn start(group: KeyGroup) -> Box<[u8]> {
    if group == 0 { Box::default() } else { group.to_be_bytes().into() }
}

fn table_refs(tables: &[Rc<TableRef>], tablet: &TabletRef) -> Vec<Rc<TableRef>> {
    tablet.runs.iter().map(|&run| Rc::clone(&tables[run as usize])).collect()
}

// From `low` on these runs. Neighbours of the same runs are one tablet, as they were before a
// rescale cut them.
fn put(parts: &mut Vec<Part>, low: Box<[u8]>, runs: Vec<Rc<TableRef>>) {
    parts.pop_if(|last| last.low == low);
    if parts.last().is_none_or(|last| last.runs != runs) {
        parts.push(Part { low, runs });
    }
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
