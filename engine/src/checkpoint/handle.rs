//! A checkpoint handle: the opaque bytes whose keeping by the host is the commit (FORMAT.md,
//! "Checkpoint handle"). It names objects relative to the DFS root, so a moved root opens.

use crate::codec::hash::hash64;
use crate::codec::reader::Reader;
use crate::codec::unverified::Unverified;
use crate::types::error::ErrorKind;
use crate::types::object::OBJECT_NAME_BYTES;
use crate::types::{Error, ObjectKind, ObjectName, Result};

const MAGIC: &[u8; 4] = b"AQUH";
const FORMAT_VERSION: u8 = 1;

/// Bytes of a handle.
pub const HANDLE_BYTES: usize = 4 + 1 + OBJECT_NAME_BYTES + 8 + 8 + 8;

const _: () = assert!(HANDLE_BYTES <= 1024, "hosts are promised at most 1 KiB");

/// What a handle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// The manifest.
    pub manifest: ObjectName,
    /// Its length, bytes.
    pub manifest_bytes: u64,
    /// XXH3-64 of its bytes.
    pub manifest_hash: u64,
}

impl Handle {
    /// The handle of a manifest that was put.
    #[must_use]
    pub fn of(manifest: ObjectName, bytes: &[u8]) -> Self {
        Self { manifest, manifest_bytes: bytes.len() as u64, manifest_hash: hash64(bytes) }
    }

    /// The bytes the host keeps.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HANDLE_BYTES);
        out.extend_from_slice(MAGIC);
        out.push(FORMAT_VERSION);
        out.extend_from_slice(&self.manifest.encode());
        out.extend_from_slice(&self.manifest_bytes.to_le_bytes());
        out.extend_from_slice(&self.manifest_hash.to_le_bytes());
        let check = hash64(&out);
        out.extend_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads what the host kept: total over arbitrary bytes.
    ///
    /// # Errors
    /// `Corrupt`: these bytes are not a handle, or not a whole one. `Unsupported`: a newer one.
    pub fn decode<'a>(bytes: impl Into<Unverified<'a>>) -> Result<Self> {
        let bytes = bytes.into().to_check();
        if let Some(version) = whole_version(bytes).filter(|&version| version > FORMAT_VERSION) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "this checkpoint handle has format {version}, and this build reads up to \
                     {FORMAT_VERSION}; open it with the version that wrote it or a newer one"
                ),
            ));
        }
        Self::try_decode(bytes).ok_or_else(|| {
            Error::corrupt(format!(
                "these {} bytes are not a checkpoint handle of format {FORMAT_VERSION}; pass the \
                 bytes of a completed checkpoint unchanged",
                bytes.len()
            ))
        })
    }

    fn try_decode(bytes: &[u8]) -> Option<Self> {
        if whole_version(bytes)? == FORMAT_VERSION { Self::unchecked(bytes) } else { None }
    }

    /// What the bytes say, whether or not their check holds: for tools that look at damage. `None`
    /// if they have not the length of a handle, or name no manifest.
    #[must_use]
    pub fn unchecked(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != HANDLE_BYTES {
            return None;
        }
        let mut reader = Reader::new(&bytes[MAGIC.len() + 1..]);
        let manifest = ObjectName::decode(reader.array()?)?;
        let (manifest_bytes, manifest_hash) = (reader.u64()?, reader.u64()?);
        (manifest.kind == ObjectKind::Manifest).then_some(Self {
            manifest,
            manifest_bytes,
            manifest_hash,
        })
    }

    /// Checks that the manifest's bytes are so many.
    ///
    /// # Errors
    /// `Corrupt`: an older or other object is there under its name.
    pub fn verify_length(&self, len: u64) -> Result<()> {
        let expected = self.manifest_bytes;
        if len != expected {
            let what = format!("{len} bytes instead of the {expected} that the handle names");
            return Err(Error::damaged(&self.manifest, what));
        }
        Ok(())
    }

    /// Checks that `bytes` are the manifest's.
    ///
    /// # Errors
    /// `Corrupt`: an older or other object is there under its name.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        self.verify_length(bytes.len() as u64)?;
        if hash64(bytes) != self.manifest_hash {
            let what = "its checksum is not the one that the handle names";
            return Err(Error::damaged(&self.manifest, what));
        }
        Ok(())
    }
}

/// Takes apart handles that stand one behind the other. What is not of this format is one piece,
/// which `decode` refuses.
#[must_use]
pub fn split(handles: &[u8]) -> Vec<&[u8]> {
    let head = [&MAGIC[..], &[FORMAT_VERSION]].concat();
    let mut pieces = Vec::new();
    let mut left = handles;
    while left.len() > HANDLE_BYTES && left.starts_with(&head) {
        let (piece, behind) = left.split_at(HANDLE_BYTES);
        pieces.push(piece);
        left = behind;
    }
    pieces.push(left);
    pieces
}

// The version of a handle whose bytes are whole; every version starts and ends alike.
fn whole_version(bytes: &[u8]) -> Option<u8> {
    let (body, check) = bytes.split_last_chunk::<8>()?;
    let whole = hash64(body) == u64::from_le_bytes(*check) && body.starts_with(MAGIC);
    body.get(MAGIC.len()).copied().filter(|_| whole)
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
