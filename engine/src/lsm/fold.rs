//! Reduces the rows of one key, newest first, to one row: the rule of flush and merge.

use crate::lsm::merge::fold;
use crate::types::key::key_parts;
use crate::types::{Error, MergeOp, Result, RowKind, RowRef};

/// The merge operator of each state, by state id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeOps(pub [Option<MergeOp>; 256]);

impl Default for MergeOps {
    fn default() -> Self {
        Self([None; 256])
    }
}

impl MergeOps {
    /// The operands of a partial row of `key` as one, oldest first.
    ///
    /// # Errors
    /// `Corrupt` if the key belongs to no state that merges, or a number is not eight bytes.
    pub fn fold_all(&self, key: &[u8], operands: &[&[u8]]) -> Result<Vec<u8>> {
        let mut folded = operands[0].to_vec();
        let mut out = Vec::new();
        for newer in &operands[1..] {
            fold(self.of(key)?, Some(&folded), newer, &mut out)?;
            std::mem::swap(&mut folded, &mut out);
        }
        Ok(folded)
    }

    /// The operator of the state that `key` belongs to.
    ///
    /// # Errors
    /// `Corrupt` if the key belongs to no state that merges.
    pub fn of(&self, key: &[u8]) -> Result<MergeOp> {
        key_parts(key)
            .and_then(|parts| self.0[usize::from(parts.state.0)])
            .ok_or_else(|| Error::corrupt("a merge operand stands in a state that does not merge"))
    }
}

/// Rows in key order, equal keys newest first, go in; one row a key comes out.
#[derive(Debug)]
pub struct Folder {
    ops: MergeOps,
    // No older run lies below: tombstones and bases of merges are not needed any more.
    bottom: bool,
    key: Vec<u8>,
    // Operands gathered for `key`; empty unless `merging`.
    operands: Vec<u8>,
    merging: bool,
    scratch: Vec<u8>,
}

impl Folder {
    /// `bottom`: nothing older lies below the output.
    #[must_use]
    pub fn new(ops: MergeOps, bottom: bool) -> Self {
        Self {
            ops,
            bottom,
            key: Vec::new(),
            operands: Vec::new(),
            merging: false,
            scratch: Vec::new(),
        }
    }

    /// Takes the next row; what is complete with it goes to `emit`.
    ///
    /// # Errors
    /// Damage, or those of `emit`.
    #[inline]
    pub fn push(
        &mut self,
        row: RowRef<'_>,
        emit: &mut impl FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.key == row.key {
            return if self.merging { self.older(row, emit) } else { Ok(()) };
        }
        self.finish(emit)?;
        self.key.clear();
        self.key.extend_from_slice(row.key);
        match row.kind {
            RowKind::Put => emit(row),
            RowKind::Delete if self.bottom => Ok(()),
            RowKind::Delete => emit(row),
            RowKind::Merge => {
                self.merging = true;
                self.operands.clear();
                self.operands.extend_from_slice(row.value);
                Ok(())
            }
        }
    }

    // An older row of the key whose operands are being gathered.
    fn older(
        &mut self,
        row: RowRef<'_>,
        emit: &mut impl FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        let base = if row.kind == RowKind::Delete { None } else { Some(row.value) };
        fold(self.ops.of(row.key)?, base, &self.operands, &mut self.scratch)?;
        std::mem::swap(&mut self.operands, &mut self.scratch);
        if row.kind == RowKind::Merge { Ok(()) } else { self.gathered(RowKind::Put, emit) }
    }

    fn gathered(
        &mut self,
        kind: RowKind,
        emit: &mut impl FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        self.merging = false;
        emit(RowRef { key: &self.key, kind, value: &self.operands })
    }

    /// Ends the current key.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn finish(&mut self, emit: &mut impl FnMut(RowRef<'_>) -> Result<()>) -> Result<()> {
        if !self.merging {
            return Ok(());
        }
        // Without anything below, the operands are the value.
        self.gathered(if self.bottom { RowKind::Put } else { RowKind::Merge }, emit)
    }
}
