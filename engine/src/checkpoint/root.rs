//! The root of a store that commits without a coordinator (FORMAT.md, "Root"): what the store keeps
//! as of a commit. Roots have numbers, and each number is taken by one opening at most.

use crate::checkpoint::handle::{HANDLE_BYTES, Handle};
use crate::codec::crc::{keyed_crc, object_key};
use crate::codec::reader::Reader;
use crate::codec::unverified::Unverified;
use crate::limits::{CHECKPOINTS_KEPT_MAX, ROOT_NUMBER_MAX};
use crate::types::error::ErrorKind;
use crate::types::{Error, Incarnation, ObjectName, Result};

const MAGIC: &[u8; 8] = b"AQUIROT1";
const FORMAT_VERSION: u32 = 1;
const HEAD_BYTES: usize = 8 + 4 + 8 + 16 + 1;

/// Bytes of the longest root.
pub const ROOT_BYTES_MAX: usize = HEAD_BYTES + CHECKPOINTS_KEPT_MAX * HANDLE_BYTES + 4;

/// What a root says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The host's number of the store.
    pub store: u64,
    /// Its own number, from 1; a part of its name.
    pub number: u64,
    /// The opening that put it. One opening puts one content under a number, so together they tell
    /// whose a root is.
    pub incarnation: Incarnation,
    /// The checkpoints that are kept, newest first.
    pub kept: Vec<Handle>,
}

impl Root {
    /// The name that everybody races for.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        ObjectName::root(self.store, self.number)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ROOT_BYTES_MAX);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.incarnation.host_epoch.to_le_bytes());
        out.extend_from_slice(&self.incarnation.nonce.to_le_bytes());
        out.push(self.kept.len() as u8);
        self.kept.iter().for_each(|handle| out.extend_from_slice(&handle.encode()));
        let check = keyed_crc(object_key(&self.name()), 0, &out);
        out.extend_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads the root of this name: total over arbitrary bytes.
    ///
    /// # Errors
    /// `Corrupt`: these bytes are not that root. `Unsupported`: a newer one.
    pub fn decode<'a>(name: &ObjectName, bytes: impl Into<Unverified<'a>>) -> Result<Self> {
        let bytes = bytes.into().to_check();
        let damaged = |what: &str| Error::damaged(name, what);
        let (body, check) =
            bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it ends early"))?;
        if keyed_crc(object_key(name), 0, body) != u32::from_le_bytes(*check) {
            return Err(damaged("the checksum of the root differs"));
        }
        let mut reader = Reader::new(body);
        if reader.take(MAGIC.len()) != Some(MAGIC) {
            return Err(damaged("it is no root"));
        }
        match reader.u32() {
            Some(FORMAT_VERSION) => {}
            Some(version) if version > FORMAT_VERSION => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "{name} has format {version}, and this build reads up to \
                         {FORMAT_VERSION}; open the store with the version that wrote it or a \
                         newer one"
                    ),
                ));
            }
            _ => return Err(damaged("it has no version")),
        }
        Self::body(name, &mut reader).ok_or_else(|| damaged("it does not say what it keeps"))
    }

    fn body(name: &ObjectName, reader: &mut Reader<'_>) -> Option<Self> {
        let host_epoch = reader.u64()?;
        let nonce = u128::from_le_bytes(*reader.array()?);
        let count = usize::from(reader.u8()?);
        if count > CHECKPOINTS_KEPT_MAX || reader.remaining() != count * HANDLE_BYTES {
            return None;
        }
        let handle = |_| Handle::decode(reader.take(HANDLE_BYTES)?).ok();
        let kept = (0..count).map(handle).collect::<Option<Vec<_>>>()?;
        let (store, number) = (name.store, name.seq);
        let whole = *name == ObjectName::root(store, number) && number <= ROOT_NUMBER_MAX;
        whole.then_some(Self {
            store,
            number,
            incarnation: Incarnation { host_epoch, nonce },
            kept,
        })
    }
}

/// What lies under a root's name.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A root.
    Root(Root),
    /// It could not be found out.
    Unclear(Error),
}

impl Found {
    /// What the answer to a look means.
    #[must_use]
    pub fn of(name: &ObjectName, loaded: Result<Vec<u8>>) -> Self {
        match loaded.and_then(|bytes| Root::decode(name, &bytes)) {
            Ok(root) => Self::Root(root),
            Err(error) if error.kind == ErrorKind::MissingObject => Self::Nothing,
            Err(error) => Self::Unclear(error),
        }
    }
}

/// The first root above `number` that is never deleted, if `number` may be.
#[must_use]
pub fn boundary(number: u64, spacing: u64) -> Option<u64> {
    (!number.is_multiple_of(spacing)).then(|| number.next_multiple_of(spacing))
}

/// The root that may be deleted once `number` is committed: each commit deletes one. Its boundary
/// is a whole spacing old by then.
#[must_use]
pub fn obsolete(number: u64, spacing: u64) -> Option<u64> {
    let old = number.checked_sub(2 * spacing)?;
    boundary(old, spacing).map(|_| old)
}

#[cfg(test)]
#[path = "root_tests.rs"]
mod tests;
