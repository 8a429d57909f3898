//! Folding of merge operands: the same function on read, in memory and in compaction.

use crate::types::{Error, MergeOp, Result};

/// Folds `newer` onto `older` (a value, or older operands; `None`: absent) into `out`.
///
/// # Errors
/// `Corrupt` if a number is not eight bytes.
pub fn fold(op: MergeOp, older: Option<&[u8]>, newer: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    match (op, older) {
        (MergeOp::Append, older) => {
            out.extend_from_slice(older.unwrap_or_default());
            out.extend_from_slice(newer);
        }
        (_, None) => out.extend_from_slice(&number(newer)?.to_le_bytes()),
        (op, Some(older)) => {
            let folded = fold_numbers(op, number(older)?, number(newer)?);
            out.extend_from_slice(&folded.to_le_bytes());
        }
    }
    Ok(())
}

/// Folds two numbers; `Append` has none and keeps the newer.
#[must_use]
pub fn fold_numbers(op: MergeOp, older: i64, newer: i64) -> i64 {
    match op {
        MergeOp::Sum => older.wrapping_add(newer),
        MergeOp::Min => older.min(newer),
        MergeOp::Max => older.max(newer),
        MergeOp::Append => newer,
    }
}

/// The number an operand or reduced value holds.
///
/// # Errors
/// `Corrupt` if it is not eight bytes.
pub fn number(bytes: &[u8]) -> Result<i64> {
    let eight: &[u8; 8] = bytes.try_into().map_err(|_| {
        Error::corrupt(format!("a reduced value has {} bytes instead of 8", bytes.len()))
    })?;
    Ok(i64::from_le_bytes(*eight))
}
