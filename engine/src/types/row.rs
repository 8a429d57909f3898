//! A row: one stored key with what it holds.

/// What a row says about its key. Numbers stand in files; zero is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RowKind {
    /// The key has this value, whatever older rows say.
    Put = 1,
    /// The key is absent, whatever older rows say.
    Delete = 2,
    /// Operands to be folded onto what older rows say.
    Merge = 3,
}

impl RowKind {
    /// The kind with this number.
    #[inline]
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Put),
            2 => Some(Self::Delete),
            3 => Some(Self::Merge),
            _ => None,
        }
    }
}

/// How operands of a state fold. Numbers stand in manifests; zero is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MergeOp {
    /// Concatenate bytes.
    Append = 1,
    /// Wrapping sum of little-endian i64.
    Sum = 2,
    /// Smallest little-endian i64.
    Min = 3,
    /// Largest little-endian i64.
    Max = 4,
}

impl MergeOp {
    /// The operator with this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Append),
            2 => Some(Self::Sum),
            3 => Some(Self::Min),
            4 => Some(Self::Max),
            _ => None,
        }
    }
}

/// A row as a view on bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// Stored key.
    pub key: &'a [u8],
    /// What the row says.
    pub kind: RowKind,
    /// Value or folded operands; empty for `Delete`.
    pub value: &'a [u8],
}
