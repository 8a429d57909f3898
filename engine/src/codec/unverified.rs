//! Bytes from a disk, a DFS or a host that no check has vouched for: a type of their own, so that
//! what reads them is one of the checks (`Unit::check`, `extent::check`, `Table::decode`,
//! `Manifest::decode`, `Handle::decode`) and nothing gets past it by mistake.

use std::ops::{Bound, RangeBounds};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a>(&'a [u8]);

impl<'a> Unverified<'a> {
    /// For the checks, and for tools that show damage.
    #[inline]
    #[must_use]
    pub fn to_check(self) -> &'a [u8] {
        self.0
    }

    /// Bytes.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// True without bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// A part; what lies behind the end is not in it.
    #[inline]
    #[must_use]
    pub fn part(self, range: impl RangeBounds<usize>) -> Self {
        let from = match range.start_bound() {
            Bound::Included(&from) => from,
            Bound::Excluded(&from) => from.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&to) => to.saturating_add(1),
            Bound::Excluded(&to) => to,
            Bound::Unbounded => self.0.len(),
        };
        let to = to.min(self.0.len());
        Self(&self.0[from.min(to)..to])
    }
}

impl<'a> From<&'a [u8]> for Unverified<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Unverified<'a> {
    #[inline]
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Unverified<'a> {
    #[inline]
    fn from(bytes: &'a [u8; N]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Unverified;

    #[test]
    fn a_part_ends_with_the_bytes() {
        let bytes = Unverified::from(b"abcdef");
        assert_eq!(bytes.part(2..4).to_check(), b"cd");
        assert_eq!(bytes.part(4..).to_check(), b"ef");
        assert_eq!(bytes.part(..=1).to_check(), b"ab");
        assert_eq!(bytes.part(4..9).to_check(), b"ef");
        assert!(bytes.part(9..).is_empty() && bytes.part(7..9).is_empty());
        assert_eq!((bytes.len(), bytes.part(..0).len()), (6, 0));
    }
}
