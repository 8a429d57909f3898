//! Folding of merge operands: the same function on read, in memory and in compaction.

use crate::limits::VALUE_BYTES_MAX;
use crate::types::error::ErrorKind;
use crate::types::{Error, MergeOp, Result};

/// Value, or operands, of a list that grew beyond `VALUE_BYTES_MAX`: a varint that does not end, as
/// no list begins. Whatever follows, it stays that until it is deleted or replaced.
pub const OUTGROWN: &[u8] = &[0x80];

/// The error of reading such a list.
#[cold]
#[must_use]
pub fn outgrown() -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "the list outgrew the limit of {VALUE_BYTES_MAX} bytes while nobody looked, and cannot \
             be read any more: delete or replace it, and keep what grows so far in a map state"
        ),
    )
}

/// Folds `newer` onto `older` (a value, or older operands; `None`: absent) into `out`. What it
/// makes is never longer than a value may be.
///
/// # Errors
/// `Corrupt` if a number is not eight bytes.
pub fn fold(op: MergeOp, older: Option<&[u8]>, newer: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    match (op, older) {
        (MergeOp::Append, older) => {
            let older = older.unwrap_or_default();
            let fits = older.len() + newer.len() <= VALUE_BYTES_MAX;
            if !fits || older == OUTGROWN || newer == OUTGROWN {
                out.extend_from_slice(OUTGROWN);
            } else {
                out.extend_from_slice(older);
                out.extend_from_slice(newer);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::reader::Reader;

    #[test]
    fn a_list_beyond_the_limit_of_values_is_outgrown_for_good() {
        let half = vec![1; VALUE_BYTES_MAX / 2];
        let (mut whole, mut out) = (Vec::new(), Vec::new());
        fold(MergeOp::Append, Some(&half), &half, &mut whole).unwrap();
        assert_eq!(whole.len(), VALUE_BYTES_MAX);
        fold(MergeOp::Append, Some(&whole), &[1], &mut out).unwrap();
        assert_eq!(out, OUTGROWN);
        for (older, newer) in [(Some(OUTGROWN), &[1][..]), (Some(&[1]), OUTGROWN), (None, OUTGROWN)]
        {
            fold(MergeOp::Append, older, newer, &mut out).unwrap();
            assert_eq!(out, OUTGROWN);
        }
        assert!(Reader::new(OUTGROWN).span().is_none(), "it is no list");
    }
}
