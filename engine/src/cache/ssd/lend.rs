//! Regions that are lent to jobs, which fill them with the tables they write.

use crate::cache::ssd::Ssd;
use crate::cache::ssd::through::{Lease, Through};
use crate::limits::{
    PAGE_BYTES, SSD_LENT_DIVISOR, SSD_LENT_HOT_PERCENT, SSD_LENT_LOOKS_MAX, SSD_THROUGH_JOBS_MAX,
};

impl Ssd {
    /// Lends regions to a job that will write about so many bytes. `None` where that is much of the
    /// cache: most of it is cold; and while others fill theirs, whose memory is counted.
    pub fn lend(&mut self, bytes: u64) -> Option<Through> {
        let wanted = bytes.div_ceil(self.extents_bytes()) + 1;
        if wanted > self.lendable() {
            return None;
        }
        self.lent.push(Vec::new());
        let mut leases = Vec::new();
        while (leases.len() as u64) < wanted
            && let Some(lease) = self.lend_region()
        {
            leases.push(lease);
        }
        if leases.is_empty() {
            self.lent.pop();
            return None;
        }
        Some(Through::new(self.file.region_bytes, leases))
    }

    /// Bytes that a job may write for which `lend` gives regions.
    pub fn lendable_bytes(&self) -> u64 {
        self.lendable().saturating_sub(1) * self.extents_bytes()
    }

    // Of a region.
    fn extents_bytes(&self) -> u64 {
        u64::from(self.region_pages - 1) * PAGE_BYTES as u64
    }

    // Regions that one more job may have.
    fn lendable(&self) -> u64 {
        let is_busy = self.is_paused() || self.loading.is_some();
        if is_busy || self.lent.len() == SSD_THROUGH_JOBS_MAX {
            return 0;
        }
        let lent = self.lent.iter().map(Vec::len).sum::<usize>() as u64;
        u64::from(self.regions / SSD_LENT_DIVISOR).saturating_sub(lent)
    }

    // What is asked for much stays where it is.
    fn lend_region(&mut self) -> Option<Lease> {
        for _ in 0..SSD_LENT_LOOKS_MAX {
            let number = self.next_region()?;
            if self.is_hot(number) {
                continue;
            }
            for page in 1..self.region_pages {
                self.evict(self.slot_of(number, page));
            }
            self.lent.last_mut()?.push(number);
            self.sequence += 1;
            return Some(Lease { number, sequence: self.sequence });
        }
        None
    }

    // Of a region that is hot each extent loses one hit: it may not be so the next time.
    fn is_hot(&mut self, number: u32) -> bool {
        let slots = self.slot_of(number, 1)..self.slot_of(number + 1, 0);
        let hot = |slot: u32| match (self.index.key(slot), self.index.uses(slot)) {
            (Some(_), (1.., pages)) => pages,
            _ => 0,
        };
        let pages: u32 = slots.clone().map(hot).sum();
        let is_hot = pages * 100 > self.region_pages * SSD_LENT_HOT_PERCENT;
        if is_hot {
            slots.for_each(|slot| self.index.cool(slot));
        }
        is_hot
    }

    /// A job ended, to which these regions were lent; without what it filled if it broke.
    pub fn give_back(&mut self, regions: &[u32], through: Option<Through>) {
        self.lent.retain(|lent| lent != regions);
        for (lease, entries, result) in through.into_iter().flat_map(Through::into_filled) {
            self.filled(lease.number, lease.sequence, entries, result);
        }
    }
}

#[cfg(test)]
#[path = "lend_tests.rs"]
mod tests;
