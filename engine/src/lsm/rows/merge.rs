//! Merge operands on rows in memory.

use crate::limits::VALUE_BYTES_MAX;
use crate::lsm::merge::fold;
use crate::lsm::rows::{Current, Rows};
use crate::lsm::segment::NewRow;
use crate::types::error::ErrorKind;
use crate::types::{Error, MergeOp, Result, RowKind};

impl Rows {
    /// Folds an operand onto what memory holds of the key: onto a value, or onto operands whose
    /// base only the runs know. `reserve(merged_bytes(..))` answered true just before.
    ///
    /// # Errors
    /// `Corrupt` if a number is not eight bytes; nothing changed then.
    pub fn merge(&mut self, hash: u64, key: &[u8], op: MergeOp, operand: &[u8]) -> Result<()> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.merge_with(hash, key, op, operand, &mut scratch);
        self.scratch = scratch;
        result
    }

    fn merge_with(
        &mut self,
        hash: u64,
        key: &[u8],
        op: MergeOp,
        operand: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        let current = self.current(hash, key);
        let (kind, older, chain) = match current {
            None if self.cleared(key) => (RowKind::Put, None, None),
            None => (RowKind::Merge, None, None),
            Some(c) => match c.kind {
                RowKind::Put => (RowKind::Put, Some(c), None),
                RowKind::Delete => (RowKind::Put, None, None),
                RowKind::Merge if c.active => (RowKind::Merge, Some(c), self.chain_of(c)),
                // A frozen partial row is flushed as it is: the new operand starts a row of its
                // own, chained to it until then.
                RowKind::Merge => (RowKind::Merge, None, Some((c.pos, c.lease))),
            },
        };
        if op == MergeOp::Append && older.is_some_and(|c| self.extend(c, operand)) {
            return Ok(());
        }
        fold(op, older.map(|c| self.value_of(c)), operand, scratch)?;
        // A value that grows by appends gets room to do so in place.
        let grows = op == MergeOp::Append && older.is_some();
        let capacity = if grows { room_to_grow(scratch.len()) } else { scratch.len() };
        let row = NewRow { kind, epoch: 0, key, value: [scratch, &[]], capacity, chain };
        self.replace(hash, row);
        Ok(())
    }

    /// Bytes to reserve before a merge.
    ///
    /// # Errors
    /// `TooLarge`: what memory holds of the list alone leaves no room for the operand.
    pub fn merged_bytes(&mut self, hash: u64, key: &[u8], operand_len: usize) -> Result<usize> {
        let held = self.current(hash, key).map_or(0, |c: Current| self.value_of(c).len());
        if held + operand_len > VALUE_BYTES_MAX {
            return Err(list_full(held, operand_len));
        }
        Ok(super::row_bytes(key.len(), room_to_grow(held + operand_len)))
    }
}

fn room_to_grow(bytes: usize) -> usize {
    (bytes * 2).min(VALUE_BYTES_MAX)
}

#[cold]
fn list_full(held: usize, operand_len: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "a list of at least {held} bytes has no room for {operand_len} more under the limit of \
             {VALUE_BYTES_MAX}; keep what grows so far in a map state"
        ),
    )
}
