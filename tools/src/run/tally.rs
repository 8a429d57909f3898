//! What the job learns on the side while it counts: how many words are distinct, and the most
//! frequent ones. A word's last count passes by here when it is made, so both are exact.

use serde::{Deserialize, Serialize};

/// Most frequent words that are kept.
const TOP: usize = 10;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Words that were counted for the first time.
    pub distinct: u64,
    /// Bytes of them.
    pub distinct_bytes: u64,
    /// The most frequent words with their counts, the most frequent first.
    pub top: Vec<(String, u64)>,
}

impl Tally {
    /// A word was counted: `key` gives it, and is called only where it is needed.
    #[inline]
    pub fn note<K: AsRef<[u8]>>(&mut self, count: u64, key: impl Fn() -> K) {
        if count == 1 {
            self.distinct += 1;
            self.distinct_bytes += key().as_ref().len() as u64;
        }
        if self.top.len() < TOP || self.top.last().is_some_and(|(_, least)| count > *least) {
            self.rank(count, key().as_ref());
        }
    }

    fn rank(&mut self, count: u64, key: &[u8]) {
        match self.top.iter_mut().find(|(word, _)| word.as_bytes() == key) {
            Some(known) => known.1 = count,
            None => self.top.push((String::from_utf8_lossy(key).into_owned(), count)),
        }
        self.top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.top.truncate(TOP);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_most_frequent_are_found_as_by_sorting_all() {
        let (mut tally, mut counts) = (Tally::default(), BTreeMap::new());
        let mut x = 1_u64;
        for _ in 0..20_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // The product of two draws is skewed towards small numbers.
            let word = format!("w{}", (x >> 33) % 40 * ((x >> 40) % 25));
            let count = counts.entry(word.clone()).or_insert(0_u64);
            *count += 1;
            tally.note(*count, || &word);
        }
        let mut all: Vec<(String, u64)> = counts.into_iter().collect();
        assert_eq!(tally.distinct, all.len() as u64);
        assert_eq!(tally.distinct_bytes, all.iter().map(|(w, _)| w.len() as u64).sum::<u64>());
        all.sort_by_key(|entry| std::cmp::Reverse(entry.1));
        let of = |list: &[(String, u64)]| list.iter().map(|e| e.1).collect::<Vec<_>>();
        assert_eq!(of(&tally.top), of(&all[..TOP]));
        assert!(tally.top.iter().all(|entry| all.contains(entry)));
    }
}
