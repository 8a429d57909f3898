//! What the separators of a list have in common behind bytes that they have not: sequential ids of
//! two key groups differ in the group and again in the last bytes of the id. A head that leaves out
//! what lies between tells them apart.

use crate::limits::FENCE_GAP_BYTES_MAX;
use crate::types::key::head_u64;

/// Bytes of a head.
const HEAD_BYTES: usize = 8;

/// Bytes that heads of a list leave out: one line of the cache. Keys need not have them: heads
/// still order like the keys, see `head`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Gap {
    at: u8,
    len: u8,
    bytes: [u8; FENCE_GAP_BYTES_MAX],
}

const _: () = assert!(size_of::<Gap>() == 64, "a search loads one line");

impl Gap {
    /// The gap of `bytes` behind the first `at` of what follows a list's prefix; `None` if there
    /// can be no such.
    pub fn new(at: usize, bytes: &[u8]) -> Option<Self> {
        if at >= HEAD_BYTES || bytes.is_empty() {
            return None;
        }
        let mut gap = Self { at: at as u8, len: 0, bytes: [0; FENCE_GAP_BYTES_MAX] };
        gap.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        gap.len = bytes.len() as u8;
        Some(gap)
    }

    /// Bytes of a head before the gap.
    pub fn at(&self) -> usize {
        usize::from(self.at)
    }

    /// What heads leave out.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The head of a key with this `rest` behind the list's prefix. A greater key never has a
    /// smaller head: one that leaves the way of the others within the gap lies below or above all
    /// that have the gap, and gets the least or the greatest head that begins as theirs do.
    #[inline]
    pub fn head(&self, rest: &[u8]) -> u64 {
        let behind = u64::MAX >> (8 * self.at);
        let begin = head_u64(rest) & !behind;
        let gap = self.bytes();
        match rest.get(self.at()..) {
            None => begin,
            Some(rest) => match rest.strip_prefix(gap) {
                Some(tail) => begin | head_u64(tail) >> (8 * self.at),
                None if rest < gap => begin,
                None => begin | behind,
            },
        }
    }

    /// The gap that lets heads decide most of these rests of a list, ascending; `None` if none
    /// saves `worth` full rests.
    pub fn choose<'a>(rests: impl Iterator<Item = &'a [u8]> + Clone, worth: usize) -> Option<Self> {
        let without = undecided(None, rests.clone());
        if without < worth {
            return None;
        }
        let longest = rests.clone().max_by_key(|rest| rest.len())?;
        let longest = &longest[..longest.len().min(HEAD_BYTES + FENCE_GAP_BYTES_MAX)];
        let mut differs = [false; HEAD_BYTES + FENCE_GAP_BYTES_MAX];
        for rest in rests.clone() {
            let pairs = rest.iter().zip(longest);
            differs.iter_mut().zip(pairs).for_each(|(differs, (a, b))| *differs |= a != b);
        }
        let starts = (0..longest.len().min(HEAD_BYTES)).filter(|&at| at == 0 || differs[at - 1]);
        let gaps = starts.filter_map(|at| {
            let len = differs[at..longest.len()].iter().take_while(|differs| !**differs).count();
            Self::new(at, &longest[at..at + len])
        });
        let kept = |gap: &Self| undecided(Some(gap), rests.clone());
        let (kept, best) = gaps.map(|gap| (kept(&gap), gap)).min_by_key(|(kept, _)| *kept)?;
        (kept + worth <= without).then_some(best)
    }
}

fn undecided<'a>(gap: Option<&Gap>, rests: impl Iterator<Item = &'a [u8]>) -> usize {
    rests.filter(|rest| !head_decides(gap, rest)).count()
}

/// True if an equal head alone proves that a key is not below the separator with this `rest`: the
/// head has all of it but the gap, and the last byte, not being zero, is no padding.
pub(super) fn head_decides(gap: Option<&Gap>, rest: &[u8]) -> bool {
    let in_head = match gap {
        Some(gap) if rest.len() > gap.at() => {
            let tail = rest[gap.at()..].strip_prefix(gap.bytes()).unwrap_or_default();
            !tail.is_empty() && gap.at() + tail.len() <= HEAD_BYTES
        }
        _ => rest.len() <= HEAD_BYTES,
    };
    in_head && rest.last().is_some_and(|&b| b != 0)
}

#[cfg(test)]
#[path = "fences_gap_tests.rs"]
mod tests;
