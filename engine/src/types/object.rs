//! Names of DFS objects: never overwritten, never reused (FORMAT.md, "Object names").

use std::fmt;
use std::str::FromStr;

use crate::types::{Error, Result};

/// One opening of a store by one host: the host's epoch and a nonce drawn at open. Two openings
/// never share a folder, whatever the host's epochs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation {
    /// The host's attempt or epoch number, as it gave it at open.
    pub host_epoch: u64,
    /// Random, fresh at each open.
    pub nonce: u128,
}

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ObjectKind {
    /// Sorted table of rows.
    Sst = 1,
    /// Manifest of a checkpoint.
    Manifest = 2,
    /// Root of a store that commits without a coordinator.
    Root = 3,
}

impl ObjectKind {
    const ALL: [Self; 3] = [Self::Sst, Self::Manifest, Self::Root];

    /// As paths say it.
    fn word(self) -> &'static str {
        match self {
            Self::Sst => "sst",
            Self::Manifest => "manifest",
            Self::Root => "root",
        }
    }
}

/// An object of a store. Its path below the DFS root is `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// The store's id, chosen by the host, the same in all its incarnations.
    pub store: u64,
    /// The opening that wrote it.
    pub incarnation: Incarnation,
    /// What it holds.
    pub kind: ObjectKind,
    /// Counts the objects of the incarnation.
    pub seq: u64,
    /// Random, so that a lost counter cannot reuse a name.
    pub rand: u64,
}

/// Bytes of an encoded object name.
pub const OBJECT_NAME_BYTES: usize = 8 + 8 + 16 + 1 + 8 + 8;

impl ObjectName {
    /// The folder of all objects of a store's number, with a slash behind it.
    #[must_use]
    pub fn folder_of(store: u64) -> String {
        format!("{store:016x}/")
    }

    /// A root of a store. All openings of the store race for the same name, so nothing in it is
    /// random.
    #[must_use]
    pub fn root(store: u64, number: u64) -> Self {
        let incarnation = Incarnation { host_epoch: 0, nonce: 0 };
        Self { store, incarnation, kind: ObjectKind::Root, seq: number, rand: 0 }
    }

    /// The fixed binary form (FORMAT.md).
    #[must_use]
    pub fn encode(&self) -> [u8; OBJECT_NAME_BYTES] {
        let mut out = [0; OBJECT_NAME_BYTES];
        out[..8].copy_from_slice(&self.store.to_le_bytes());
        out[8..16].copy_from_slice(&self.incarnation.host_epoch.to_le_bytes());
        out[16..32].copy_from_slice(&self.incarnation.nonce.to_le_bytes());
        out[32] = self.kind as u8;
        out[33..41].copy_from_slice(&self.seq.to_le_bytes());
        out[41..].copy_from_slice(&self.rand.to_le_bytes());
        out
    }

    /// Reads the binary form; `None` for an unknown kind.
    #[must_use]
    pub fn decode(b: &[u8; OBJECT_NAME_BYTES]) -> Option<Self> {
        let u64_at = |at: usize| u64::from_le_bytes(*b[at..].first_chunk().expect("in range"));
        Some(Self {
            store: u64_at(0),
            incarnation: Incarnation {
                host_epoch: u64_at(8),
                nonce: u128::from_le_bytes(*b[16..].first_chunk().expect("in range")),
            },
            kind: ObjectKind::ALL.into_iter().find(|&kind| kind as u8 == b[32])?,
            seq: u64_at(33),
            rand: u64_at(41),
        })
    }
}

impl FromStr for ObjectName {
    type Err = Error;

    /// Reads a path below the DFS root, as `Display` writes it.
    fn from_str(path: &str) -> Result<Self> {
        parsed(path).ok_or_else(|| {
            Error::invalid(format!(
                "{path} is not the name of an object; one is STORE/EPOCH-NONCE/sst-NUMBER-RANDOM \
                 or STORE/EPOCH-NONCE/manifest-NUMBER-RANDOM, as it lies below the DFS root"
            ))
        })
    }
}

fn parsed(path: &str) -> Option<ObjectName> {
    let mut parts = path.split('/');
    let (store, incarnation, leaf) = (parts.next()?, parts.next()?, parts.next()?);
    let (host_epoch, nonce) = incarnation.split_once('-')?;
    let (kind, numbers) = leaf.split_once('-')?;
    let (seq, rand) = numbers.split_once('-')?;
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let name = ObjectName {
        store: number(store)?,
        incarnation: Incarnation {
            host_epoch: number(host_epoch)?,
            nonce: u128::from_str_radix(nonce, 16).ok()?,
        },
        kind: ObjectKind::ALL.into_iter().find(|known| known.word() == kind)?,
        seq: number(seq)?,
        rand: number(rand)?,
    };
    // Spelt in any other way, it is another path.
    (name.to_string() == path).then_some(name)
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{:016x}-{:032x}/{}-{:016x}-{:016x}",
            Self::folder_of(self.store),
            self.incarnation.host_epoch,
            self.incarnation.nonce,
            self.kind.word(),
            self.seq,
            self.rand
        )
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
