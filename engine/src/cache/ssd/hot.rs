//! What is asked for much: places of the DFS that the cache found lately. A checkpoint takes them
//! along, so that whoever restores it knows what to bring in first.

use crate::limits::{HOT_PLACES_MAX, HOT_SAMPLED_HITS, PAGE_BYTES};

/// The places of a sample of the last hits, each as often as it was met.
#[derive(Debug, Default)]
pub(super) struct Hot {
    // Object and page. Full, the oldest is overwritten.
    places: Vec<(u64, u32)>,
    next: usize,
    random: u32,
}

impl Hot {
    /// Bytes of memory that it takes.
    pub(super) const BYTES_MAX: usize = HOT_PLACES_MAX * size_of::<(u64, u32)>();

    /// What begins at `offset` of an object was found.
    pub(super) fn note(&mut self, object_key: u64, offset: u64) {
        // Hits may come in a rhythm: a congruential generator, whose high bits are good (Knuth).
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let Ok(page) = u32::try_from(offset / PAGE_BYTES as u64) else { return };
        if (self.random >> 16).is_multiple_of(HOT_SAMPLED_HITS) {
            self.put(object_key, page);
        }
    }

    /// A checkpoint calls a page hot: until hits tell more, so does the next.
    pub(super) fn put(&mut self, object_key: u64, page: u32) {
        if self.places.len() < HOT_PLACES_MAX {
            self.places.push((object_key, page));
            return;
        }
        self.places[self.next] = (object_key, page);
        self.next = (self.next + 1) % HOT_PLACES_MAX;
    }

    /// The pages of each of these objects, in order and each once.
    pub(super) fn pages(&self, objects: &[u64]) -> Vec<Vec<u32>> {
        let mut numbers: Vec<(u64, usize)> = objects.iter().copied().zip(0..).collect();
        numbers.sort_unstable();
        let mut pages = vec![Vec::new(); objects.len()];
        for &(object, page) in &self.places {
            if let Ok(at) = numbers.binary_search_by_key(&object, |&(key, _)| key) {
                pages[numbers[at].1].push(page);
            }
        }
        for pages in &mut pages {
            pages.sort_unstable();
            pages.dedup();
        }
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_much_is_remembered_and_the_rest_is_forgotten() {
        let mut hot = Hot::default();
        // One page of each of two objects is found every other time; between them, all once.
        let hits = HOT_PLACES_MAX as u64 * u64::from(HOT_SAMPLED_HITS) * 4;
        for hit in 0..hits {
            let object = 1 + hit % 2;
            hot.note(object, 7 * PAGE_BYTES as u64);
            hot.note(object, (1_000 + hit) * PAGE_BYTES as u64);
        }
        let pages = hot.pages(&[2, 9, 1]);
        assert!(pages[1].is_empty());
        for pages in [&pages[0], &pages[2]] {
            assert!(pages.is_sorted_by(|a, b| a < b), "in order, each once");
            assert_eq!(pages[0], 7);
            // The oldest of them was overwritten three times.
            assert!(pages.len() > 1 && u64::from(pages[1]) > hits / 4, "{}", pages[1]);
        }
        assert_eq!(hot.places.len(), HOT_PLACES_MAX);
    }
}
