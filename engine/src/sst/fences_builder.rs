//! Builds the resident index while a table is written. A list is encoded when its upper bound is
//! known, that is with the first key of the list after it (invariant 1 of `fences`).

use crate::limits::{
    FENCE_GAP_SAVES_MIN, FENCE_GAPS_COMPARED, FENCE_GROUP_UNITS, PAGE_BYTES, SST_GRANULE_BYTES,
};
use crate::sst::fences::{Common, Fences, Group, Level, Partition, Places, count};
use crate::sst::fences_gap::{Gap, head_decides};
use crate::types::key::head_u64;

/// Separators of a list that is not encoded yet.
#[derive(Debug, Default)]
struct OpenList {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl OpenList {
    fn push(&mut self, separator: &[u8]) {
        self.bytes.extend_from_slice(separator);
        self.ends.push(self.bytes.len());
    }

    fn first(&self) -> &[u8] {
        self.ends.first().map_or(&[], |&end| &self.bytes[..end])
    }

    fn rests(&self, prefix_len: usize) -> impl Iterator<Item = &[u8]> + Clone {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let separators = starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end]);
        separators.map(move |separator| separator.get(prefix_len..).unwrap_or_default())
    }

    // Encodes the list into `level` without the `prefix_len` bytes all share, and empties it.
    fn close(&mut self, level: &mut Level, gaps: &mut Vec<Gap>, prefix_len: usize) -> Common {
        // The first is never compared.
        let gap = Gap::choose(self.rests(prefix_len).skip(1), FENCE_GAP_SAVES_MIN);
        let gap = gap.map_or(0, |gap| number_of(gap, gaps));
        let own = usize::from(gap).checked_sub(1).map(|gap| &gaps[gap]);
        for (i, rest) in self.rests(prefix_len).enumerate() {
            if i > 0 && !head_decides(own, rest) {
                level.full_at.push(count(level.heads.len()));
                level.full_bytes.extend_from_slice(rest);
                level.full_end.push(count(level.full_bytes.len()));
            }
            level.heads.push(own.map_or_else(|| head_u64(rest), |gap| gap.head(rest)));
        }
        self.bytes.clear();
        self.ends.clear();
        let prefix_len = u16::try_from(prefix_len).expect("a stored key is far below 64 KiB");
        Common { prefix_len, gap }
    }
}

/// Collects separators and places of units in key order.
#[derive(Debug, Default)]
pub(super) struct FencesBuilder {
    out: Fences,
    open_units: OpenList,
    open_groups: OpenList,
    open_root: OpenList,
    /// Whole first key of the open group: the prefix of its list follows from it.
    group_first_key: Vec<u8>,
    /// Bytes of it that separate it from the key before.
    group_separator_len: usize,
    /// Units so far, and granules of those that were placed.
    units: u32,
    granules: Vec<u32>,
}

impl FencesBuilder {
    /// A unit begins with `first`; the key before it is `last`. A partition begins with it if
    /// asked for, and with the table's first unit.
    pub fn unit(&mut self, last: &[u8], first: &[u8], partition_begins: bool) {
        let begins = partition_begins || self.units == 0;
        if begins || self.open_units.ends.len() == FENCE_GROUP_UNITS {
            self.close_group(first);
            if begins {
                self.close_partition(first);
                self.out.partition_nodes.push(Partition {
                    unit_first: self.units,
                    group_first: count(self.out.groups.heads.len()),
                    common: Common::default(),
                    full_first: count(self.out.groups.full_at.len()),
                });
            }
            self.group_first_key.clear();
            self.group_first_key.extend_from_slice(first);
            let separator_len = if self.units == 0 { 0 } else { common(last, first) + 1 };
            self.group_separator_len = separator_len.min(first.len());
            self.open_units.push(first);
        } else {
            self.open_units.push(&first[..first.len().min(common(last, first) + 1)]);
        }
        self.units += 1;
    }

    /// The next unit without a place lies at `offset`.
    pub fn place(&mut self, offset: u64) {
        debug_assert!(offset.is_multiple_of(SST_GRANULE_BYTES as u64));
        let granule = u32::try_from(offset / SST_GRANULE_BYTES as u64);
        self.granules.push(granule.expect("a job cuts its tables far below 256 GiB"));
    }

    /// Bytes that the index will have about.
    pub fn bytes(&self) -> usize {
        self.out.memory_bytes() + self.granules.len() * 4
    }

    /// The index of all units; `largest` is the last key, `data_end` where the units end.
    pub fn finish(mut self, largest: &[u8], data_end: u64) -> Fences {
        assert_eq!(self.units as usize, self.granules.len(), "each unit has its place");
        self.out.data_end = data_end;
        if self.units > 0 {
            self.close_group(largest);
            self.close_partition(largest);
            let prefix_len = common(self.open_root.first(), largest);
            let Fences { root, gaps, .. } = &mut self.out;
            self.out.root_common = self.open_root.close(root, gaps, prefix_len);
            self.assign_places();
        }
        self.out.shrink();
        self.out
    }

    // `upper`: the key behind the group, or the table's last.
    fn close_group(&mut self, upper: &[u8]) {
        if self.open_units.ends.is_empty() {
            return;
        }
        let prefix_len = common(&self.group_first_key, upper);
        let Fences { units, gaps, group_nodes, .. } = &mut self.out;
        let full_first = count(units.full_at.len());
        let common = self.open_units.close(units, gaps, prefix_len);
        group_nodes.push(Group { places: Places::Regular(0), common, full_first });
        // Not shorter than the prefix, or keys from here to the group's first would reach the
        // group without sharing it.
        let separator = &self.group_first_key[..self.group_separator_len.max(prefix_len)];
        self.open_groups.push(separator);
    }

    fn close_partition(&mut self, upper: &[u8]) {
        let Fences { groups, gaps, partition_nodes, .. } = &mut self.out;
        let Some(partition) = partition_nodes.last_mut() else { return };
        let prefix_len = common(self.open_groups.first(), upper);
        self.open_root.push(self.open_groups.first());
        partition.common = self.open_groups.close(groups, gaps, prefix_len);
    }

    // Groups of raw pages in a row keep the first place, the others one per unit.
    fn assign_places(&mut self) {
        let page = (PAGE_BYTES / SST_GRANULE_BYTES) as u32;
        for partition in 0..self.out.partition_nodes.len() {
            let first = self.out.partition_nodes[partition].group_first as usize;
            let next = self.out.partition_nodes.get(partition + 1);
            let end = next.map_or(self.out.group_nodes.len(), |p| p.group_first as usize);
            for group in first..end {
                let units = self.out.units_of(partition, group);
                let granules = &self.granules[units];
                let in_a_row = granules.windows(2).all(|w| w[1] - w[0] == page);
                let raw = granules.iter().all(|g| g.is_multiple_of(page));
                self.out.group_nodes[group].places = if in_a_row && raw {
                    Places::Regular(granules[0])
                } else {
                    let at = count(self.out.granules.len());
                    self.out.granules.extend_from_slice(granules);
                    Places::Each(at)
                };
            }
        }
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

// The number of `gap` among `gaps`, where it is put if it is new; zero if they are too many.
fn number_of(gap: Gap, gaps: &mut Vec<Gap>) -> u16 {
    let known = (0..gaps.len()).rev().take(FENCE_GAPS_COMPARED).find(|&i| gaps[i] == gap);
    let at = known.unwrap_or(gaps.len());
    let Ok(number) = u16::try_from(at + 1) else { return 0 };
    if known.is_none() {
        gaps.push(gap);
    }
    number
}
