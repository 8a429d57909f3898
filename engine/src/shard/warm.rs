//! The hot set: a checkpoint takes along what the cache on the SSD was asked for, and a store that
//! is restored from it brings that into the cache of its shard, in the background.

use std::ops::Range;

use crate::cache::ssd::Ssd;
use crate::codec::crc::object_key;
use crate::limits::{PAGE_BYTES, WARM_JOB_BYTES_MAX};
use crate::lsm::manifest::{HotPages, Manifest};
use crate::lsm::version::{OpenTable, Version};
use crate::lsm::warm::WarmJob;
use crate::shard::background::JobKind;
use crate::shard::shard::Shard;
use crate::sst::layout::Extent;
use crate::sst::table::Table;
use crate::types::ObjectName;

/// The hot pages of one table, those that are brought in first at the end.
#[derive(Debug)]
pub(super) struct HotTable {
    name: ObjectName,
    pages: Vec<u32>,
}

impl HotTable {
    /// Tells the cache what is hot.
    pub fn tell(&self, ssd: &mut Ssd) {
        let key = object_key(&self.name);
        self.pages.iter().for_each(|&page| ssd.call_hot(key, page));
    }

    /// Those that manifests name. What several call hot comes twice, and is there the second time.
    pub fn of_manifests<'a>(manifests: impl Iterator<Item = &'a Manifest>) -> Vec<Self> {
        let of_one = |manifest: &'a Manifest| {
            manifest.hot.iter().map(|hot| Self {
                name: manifest.tables[hot.table as usize].name,
                pages: hot.pages.iter().rev().copied().collect(),
            })
        };
        manifests.flat_map(of_one).collect()
    }

    // Takes pages of about so many bytes: where the units begin that are there, by page.
    fn take(&mut self, table: &Table, bytes_max: u64) -> Vec<Extent> {
        let (mut extents, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(page) = self.pages.pop()
        {
            for unit in units_at(table, page) {
                if extents.last() != Some(&unit) {
                    bytes += u64::from(unit.len);
                    extents.push(unit);
                }
            }
        }
        extents
    }
}

// The whole pages of the units that begin in a page.
fn units_at(table: &Table, page: u32) -> impl Iterator<Item = Extent> {
    let page_of = |offset: u64| offset / PAGE_BYTES as u64;
    let fences = table.fences();
    let (mut low, mut high) = (0, table.units());
    while low < high {
        let middle = low + (high - low) / 2;
        if page_of(fences.offset(middle)) < u64::from(page) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let units = (low..table.units()).map_while(|unit| table.unit(unit));
    let pages = units.map(Extent::pages);
    pages.take_while(move |extent| page_of(extent.offset) == u64::from(page))
}

// Where the units of a table lie that the tablets name: the others are of other stores.
fn named(version: &Version, open: &OpenTable) -> Vec<Range<u64>> {
    let (table, mut ranges) = (&open.table, Vec::new());
    for tablet in version.tablets() {
        if tablet.runs.iter().any(|run| run.open.object == open.object) {
            let first = table.unit_at(&tablet.low);
            // The unit in which the range ends may begin below.
            let end = tablet.high.as_ref().map_or(table.units(), |high| table.unit_at(high) + 1);
            let offset = |unit: u32| table.fences().offset(unit.min(table.units()));
            ranges.push(offset(first) / PAGE_BYTES as u64 * PAGE_BYTES as u64..offset(end));
        }
    }
    ranges
}

/// The hot pages for a manifest, as the cache knows them.
pub(super) fn hot_pages(ssd: Option<&Ssd>, manifest: &Manifest) -> Vec<HotPages> {
    let Some(ssd) = ssd else { return Vec::new() };
    let keys: Vec<u64> = manifest.tables.iter().map(|table| object_key(&table.name)).collect();
    let pages = ssd.hot_pages(&keys).into_iter();
    let hot = (0..).zip(pages).map(|(table, pages)| HotPages { table, pages });
    hot.filter(|hot| !hot.pages.is_empty()).collect()
}

impl Shard {
    /// Something hot that the cache of the shard lacks, when nothing else is to be done for the
    /// store and the cache takes it.
    pub(super) fn next_warm(&mut self, index: usize) -> Option<WarmJob> {
        let store = self.stores[index].as_mut().filter(|s| s.poison.is_none() && !s.closed)?;
        if store.hot.is_empty() || store.opening.left {
            return None;
        }
        let ssd = self.ssd.as_ref()?;
        let bytes_max = ssd.lendable_bytes().min(WARM_JOB_BYTES_MAX);
        if bytes_max == 0 || self.jobs.iter().any(|job| job.kind == JobKind::Warm) {
            return None;
        }
        while let Some(mut hot) = store.hot.pop() {
            // A merge may have replaced it.
            let Some(open) = store.table(&hot.name) else { continue };
            let key = open.table.object_key();
            let mut extents = hot.take(&open.table, bytes_max);
            let named = named(&store.version, open);
            extents.retain(|&extent| {
                let wanted = named.iter().any(|range| range.contains(&extent.offset));
                wanted && !ssd.has(key, extent)
            });
            let job = WarmJob::new(open.table.clone(), extents);
            if !hot.pages.is_empty() {
                store.hot.push(hot);
            }
            if job.bytes() > 0 {
                return Some(job);
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "warm_tests.rs"]
mod tests;
