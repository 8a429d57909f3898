//! Merges sorted sources: a binary heap of source numbers ordered by their current keys. The first
//! eight bytes of each key are kept beside the number; the caller compares whole keys on a tie.

use std::cmp::Ordering;

/// Sources by current key, smallest first; equal keys by source number (newest first).
#[derive(Debug, Default)]
pub struct Heap {
    entries: Vec<(u64, u32)>,
}

impl Heap {
    /// Adds a source whose current key starts with `head`.
    pub fn push(&mut self, head: u64, source: u32, full: &impl Fn(u32, u32) -> Ordering) {
        self.entries.push((head, source));
        let mut child = self.entries.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if !self.less(child, parent, full) {
                break;
            }
            self.entries.swap(child, parent);
            child = parent;
        }
    }

    /// The source with the smallest key.
    #[inline]
    #[must_use]
    pub fn top(&self) -> Option<u32> {
        self.entries.first().map(|&(_, source)| source)
    }

    /// The top source moved to its next key.
    #[inline]
    pub fn advance_top(&mut self, head: u64, full: &impl Fn(u32, u32) -> Ordering) {
        self.entries[0].0 = head;
        self.sift_down(full);
    }

    /// The top source ended (or waits).
    pub fn pop(&mut self, full: &impl Fn(u32, u32) -> Ordering) {
        self.entries.swap_remove(0);
        if !self.entries.is_empty() {
            self.sift_down(full);
        }
    }

    #[inline]
    fn sift_down(&mut self, full: &impl Fn(u32, u32) -> Ordering) {
        let mut parent = 0;
        loop {
            let left = parent * 2 + 1;
            if left >= self.entries.len() {
                return;
            }
            let right = left + 1;
            let child = if right < self.entries.len() && self.less(right, left, full) {
                right
            } else {
                left
            };
            if !self.less(child, parent, full) {
                return;
            }
            self.entries.swap(child, parent);
            parent = child;
        }
    }

    #[inline]
    fn less(&self, a: usize, b: usize, full: &impl Fn(u32, u32) -> Ordering) -> bool {
        let (a, b) = (self.entries[a], self.entries[b]);
        match a.0.cmp(&b.0) {
            Ordering::Equal => full(a.1, b.1).then(a.1.cmp(&b.1)) == Ordering::Less,
            unequal => unequal == Ordering::Less,
        }
    }
}
