//! What a dump is made of, and what every row of one must be: the same for who writes and for who
//! reads.

use aquifer::codec::reader::Reader as Fields;
use aquifer::codec::unverified::Unverified;
use aquifer::limits::{
    KEY_BYTES_MAX, KEY_GROUPS_MAX, STATE_NAME_BYTES_MAX, STATES_MAX, VALUE_BYTES_MAX,
};
use aquifer::lsm::merge::OUTGROWN;
use aquifer::state::decode::{Items, number};
use aquifer::state::{StateKind, StateTable};
use aquifer::types::error::ErrorKind;
use aquifer::types::key::key_parts;
use aquifer::types::{Error, Locality, Result};
use serde::{Deserialize, Serialize};

pub(super) const MAGIC: &[u8; 8] = b"AQUIDMP1";
const FORMAT_VERSION: u32 = 1;

/// Bytes of the head before its state table.
pub(super) const HEAD_BYTES: usize = 8 + 4 + 4 + 2 + 2 + 4;
/// Bytes of a block before its rows.
pub(super) const BLOCK_HEAD_BYTES: usize = 1 + 2 + 8 + 4 + 4;
/// Bytes of the end before its checksum.
pub(super) const END_BYTES: usize = 1 + 8 + 8 + 8;
/// Bytes of a checksum.
pub(super) const CHECK_BYTES: usize = 4;

/// First byte of a block.
pub(super) const BLOCK: u8 = 1;
/// First byte of the end.
pub(super) const END: u8 = 2;

/// Largest state table: a count, and for each state two numbers, a length and a name.
pub(super) const STATES_BYTES_MAX: usize = 2 + STATES_MAX * (2 + 2 + STATE_NAME_BYTES_MAX);

/// Bytes of rows that a block has at most, unless it is one row: what damage costs, and what is
/// done again when an export is interrupted.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// Bytes of rows in a block that a reader takes.
pub(super) const BLOCK_BYTES_MAX: usize = 17 << 20;

/// A state, four lengths of at most four bytes, key and value.
const ROW_BYTES_MAX: usize = 1 + 4 * 4 + KEY_BYTES_MAX + VALUE_BYTES_MAX;

const _: () = assert!(ROW_BYTES_MAX <= BLOCK_BYTES_MAX && BLOCK_BYTES <= BLOCK_BYTES_MAX);

/// What a dump says before its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Maximal parallelism: key groups that keys were hashed into.
    pub key_groups: u32,
    /// First and last key group of the dump.
    pub range: (u16, u16),
    /// The states of its rows.
    pub states: StateTable,
}

/// How far a dump is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Blocks.
    pub blocks: u64,
    /// Their rows.
    pub rows: u64,
    /// Bytes from the beginning of the dump to their end.
    pub bytes: u64,
    /// The checksum that the last of them ends with. It depends on all that stands before.
    pub check: u32,
}

/// The checksum of a part that follows one with the checksum `before`.
pub(super) fn check_of(before: u32, bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(before);
    crc.update(bytes);
    crc.finalize()
}

impl Head {
    /// Its bytes, without the checksum.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut states = Vec::new();
        self.states.encode(&mut states);
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.key_groups.to_le_bytes());
        out.extend_from_slice(&self.range.0.to_le_bytes());
        out.extend_from_slice(&self.range.1.to_le_bytes());
        out.extend_from_slice(&(states.len() as u32).to_le_bytes());
        out.extend_from_slice(&states);
        out
    }

    /// The bytes of its state table, from what stands before it.
    ///
    /// # Errors
    /// `Corrupt`: these bytes begin no dump; `Unsupported`: one of a newer format.
    pub(super) fn states_bytes(fixed: Unverified<'_>) -> Result<usize> {
        let mut fields = Fields::new(fixed.to_check());
        if fields.take(MAGIC.len()) != Some(MAGIC) {
            return Err(Error::corrupt("this is no dump: it does not begin as one"));
        }
        let version = fields.u32().ok_or_else(cut_head)?;
        if version != FORMAT_VERSION {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "this dump has format {version}, and this build reads up to {FORMAT_VERSION}; \
                     import it with the version that wrote it or a newer one"
                ),
            ));
        }
        let _groups = fields.take(8).ok_or_else(cut_head)?;
        let bytes = fields.u32().ok_or_else(cut_head)? as usize;
        if bytes > STATES_BYTES_MAX {
            return Err(Error::corrupt(format!(
                "the head of the dump is damaged: a state table has no {bytes} bytes"
            )));
        }
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) writes, under its checksum.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn check(bytes: Unverified<'_>, check: u32) -> Result<Self> {
        if check_of(0, bytes.to_check()) != check {
            return Err(Error::corrupt("the head of the dump is damaged: its checksum differs"));
        }
        let mut fields = Fields::new(bytes.part(MAGIC.len() + 4..).to_check());
        let key_groups = fields.u32().ok_or_else(cut_head)?;
        let mut group = || fields.array().copied().map(u16::from_le_bytes).ok_or_else(cut_head);
        let range = (group()?, group()?);
        let below = range.0 <= range.1 && u32::from(range.1) < key_groups;
        if !below || key_groups > KEY_GROUPS_MAX {
            return Err(Error::corrupt(
                "the head of the dump is wrong: its key groups are not below the maximal \
                 parallelism",
            ));
        }
        let _length = fields.u32().ok_or_else(cut_head)?;
        let states = StateTable::decode(&mut fields)?;
        if fields.remaining() > 0 {
            return Err(Error::corrupt("the head of the dump is wrong: bytes follow its states"));
        }
        Ok(Self { key_groups, range, states })
    }
}

fn cut_head() -> Error {
    Error::corrupt("the dump ends inside its head")
}

/// What rows of a dump must be, one after the other.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) head: Head,
    /// The stored key of the last row; empty before the first.
    pub(super) last: Vec<u8>,
}

/// What is wrong with a row.
type Wrong = String;

impl Rules {
    /// Takes the next row, by its stored key: the order of stored keys is that of a dump.
    pub(super) fn admit(
        &mut self,
        stored: &[u8],
        value: &[u8],
    ) -> std::result::Result<StateKind, Wrong> {
        let parts = key_parts(stored).ok_or("its key is not a stored key")?;
        let (first, last) = self.head.range;
        if !(first..=last).contains(&parts.group) {
            return Err(format!("key group {} is not of the dump's", parts.group));
        }
        let state = self.head.states.get(parts.state);
        let state = state.ok_or_else(|| format!("there is no state {}", parts.state.0))?;
        let map_key = &stored[parts.prefix_len..];
        let in_map = state.kind.locality() == Locality::Collection;
        if parts.collection != in_map || map_key.is_empty() == in_map {
            return Err(format!("its key is not one of state {}", parts.state.0));
        }
        let key_bytes = parts.key.len() + parts.namespace.len() + map_key.len();
        if key_bytes > KEY_BYTES_MAX {
            return Err(format!("its key has {key_bytes} bytes"));
        }
        check_value(state.kind, value)?;
        if *stored <= self.last[..] {
            return Err("it does not stand behind the row before".to_owned());
        }
        self.last.clear();
        self.last.extend_from_slice(stored);
        Ok(state.kind)
    }
}

fn check_value(kind: StateKind, value: &[u8]) -> std::result::Result<(), Wrong> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("its value has {} bytes", value.len()));
    }
    let fits = match kind {
        StateKind::Value | StateKind::Map => true,
        StateKind::List => value == OUTGROWN || Items::check(value).is_ok(),
        StateKind::Reducing(_) => number(value).is_ok(),
    };
    if fits { Ok(()) } else { Err(format!("its value is none of a {kind} state")) }
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
