//! The manifest of a checkpoint: everything a store is, by name (FORMAT.md, "Manifest").

use std::rc::Rc;

use crate::codec::crc::{keyed_crc, object_key};
use crate::codec::reader::Reader;
use crate::codec::varint;
use crate::limits::{
    KEY_GROUPS_MAX, MANIFEST_TABLES_MAX, MANIFEST_TABLETS_MAX, STORED_KEY_BYTES_MAX,
};
use crate::lsm::version::{Tablet, Version};
use crate::sst::meta::{TABLE_REF_BYTES, TableRef};
use crate::types::{Error, ObjectName, Result};

const MAGIC: &[u8; 8] = b"AQUIMAN1";
const FORMAT_VERSION: u32 = 1;

/// A tablet by the numbers of its tables, newest run first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TabletRef {
    /// First key of its range.
    pub low: Box<[u8]>,
    /// Into `Manifest::tables`.
    pub runs: Vec<u32>,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The host's number of the store.
    pub store: u64,
    /// Maximal parallelism: key groups the keys were hashed into.
    pub key_groups: u32,
    /// First and last key group the store holds.
    pub range: (u16, u16),
    /// The encoded state table.
    pub states: Vec<u8>,
    /// Every table some tablet names, once.
    pub tables: Vec<TableRef>,
    /// In key order, without gaps.
    pub tablets: Vec<TabletRef>,
}

impl Manifest {
    /// Tables and tablets of a version.
    #[must_use]
    pub fn of_version(
        version: &Version,
        store: u64,
        key_groups: u32,
        range: (u16, u16),
        states: Vec<u8>,
    ) -> Self {
        let mut numbers = std::collections::HashMap::new();
        let mut tables = Vec::new();
        let tablets = version
            .tablets()
            .iter()
            .map(|tablet| TabletRef {
                low: tablet.low.clone(),
                runs: tablet
                    .table_refs()
                    .map(|table_ref| {
                        *numbers.entry(table_ref.name).or_insert_with(|| {
                            tables.push(*table_ref);
                            (tables.len() - 1) as u32
                        })
                    })
                    .collect(),
            })
            .collect();
        Self { store, key_groups, range, states, tables, tablets }
    }

    /// The version it describes, none of its tables open.
    #[must_use]
    pub fn version(&self) -> Version {
        let highs = self.tablets.iter().skip(1).map(|next| Some(next.low.clone()));
        let tablets = self.tablets.iter().zip(highs.chain([None])).map(|(tablet, high)| {
            let unopened = tablet.runs.iter().map(|&run| self.tables[run as usize]).collect();
            Rc::new(Tablet { unopened, ..Tablet::new(tablet.low.clone(), high, Vec::new()) })
        });
        Version::new(tablets.collect())
    }

    /// The bytes of the object `name`.
    #[must_use]
    pub fn encode(&self, name: &ObjectName) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.store.to_le_bytes());
        out.extend_from_slice(&self.key_groups.to_le_bytes());
        out.extend_from_slice(&self.range.0.to_le_bytes());
        out.extend_from_slice(&self.range.1.to_le_bytes());
        put_span(&mut out, &self.states);
        varint::put(&mut out, self.tables.len() as u64);
        for table in &self.tables {
            out.extend_from_slice(&table.encode());
        }
        varint::put(&mut out, self.tablets.len() as u64);
        for tablet in &self.tablets {
            put_span(&mut out, &tablet.low);
            varint::put(&mut out, tablet.runs.len() as u64);
            for &run in &tablet.runs {
                varint::put(&mut out, u64::from(run));
            }
        }
        let crc = keyed_crc(object_key(name), 0, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the bytes of the object `name`: total over arbitrary bytes.
    ///
    /// # Errors
    /// `Corrupt`, or `Unsupported` for a newer format.
    pub fn decode(name: &ObjectName, bytes: &[u8]) -> Result<Self> {
        let fail = |what: &str| Error::damaged(name, what);
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| fail("too short"))?;
        if body.get(..8) != Some(MAGIC) {
            return Err(fail("does not start as a manifest"));
        }
        if keyed_crc(object_key(name), 0, body) != u32::from_le_bytes(*crc) {
            return Err(fail("checksum differs"));
        }
        let mut reader = Reader::new(&body[8..]);
        let version = reader.u32().ok_or_else(|| fail("ends early"))?;
        if version != FORMAT_VERSION {
            return Err(Error::new(
                crate::types::error::ErrorKind::Unsupported,
                format!(
                    "manifest {name} is of format {version}; this build reads {FORMAT_VERSION}"
                ),
            ));
        }
        Self::decode_body(&mut reader).ok_or_else(|| fail("a field is out of bounds"))
    }

    fn decode_body(reader: &mut Reader<'_>) -> Option<Self> {
        let store = reader.u64()?;
        let key_groups = reader.u32().filter(|groups| (1..=KEY_GROUPS_MAX).contains(groups))?;
        let range = (reader.array().copied()?, reader.array().copied()?);
        let range = (u16::from_le_bytes(range.0), u16::from_le_bytes(range.1));
        if range.0 > range.1 || u32::from(range.1) >= key_groups {
            return None;
        }
        let states = bytes(reader)?;
        let count = count_of(reader, TABLE_REF_BYTES)?;
        if count > MANIFEST_TABLES_MAX {
            return None;
        }
        let mut tables = room(count)?;
        for _ in 0..count {
            tables.push(TableRef::decode(reader.array()?).ok()?);
        }
        if !each_once(tables.iter().map(|table: &TableRef| table.name))? {
            return None;
        }
        // A length and a count take a byte each.
        let count = count_of(reader, 2)?;
        if !(1..=MANIFEST_TABLETS_MAX).contains(&count) {
            return None;
        }
        let mut tablets: Vec<TabletRef> = room(count)?;
        for _ in 0..count {
            let tablet = decode_tablet(reader, tables.len())?;
            let in_order = match tablets.last() {
                None => tablet.low.is_empty(),
                Some(last) => last.low < tablet.low,
            };
            if !in_order {
                return None;
            }
            tablets.push(tablet);
        }
        (reader.remaining() == 0).then_some(Self {
            store,
            key_groups,
            range,
            states,
            tables,
            tablets,
        })
    }
}

fn decode_tablet(reader: &mut Reader<'_>, tables: usize) -> Option<TabletRef> {
    let low = bytes(reader).filter(|low| low.len() <= STORED_KEY_BYTES_MAX)?.into();
    let count = count_of(reader, 1)?;
    let mut runs = room(count)?;
    for _ in 0..count {
        let run = u32::try_from(reader.varint()?).ok()?;
        runs.push(Some(run).filter(|&run| (run as usize) < tables)?);
    }
    each_once(runs.iter())?.then_some(TabletRef { low, runs })
}

// A count of items that take at least `bytes_min` bytes each of what is left.
fn count_of(reader: &mut Reader<'_>, bytes_min: usize) -> Option<usize> {
    let count = usize::try_from(reader.varint()?).ok()?;
    (count <= reader.remaining() / bytes_min).then_some(count)
}

fn room<T>(count: usize) -> Option<Vec<T>> {
    let mut out = Vec::new();
    out.try_reserve_exact(count).ok()?;
    Some(out)
}

fn bytes(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let span = reader.span()?;
    let mut out = room(span.len())?;
    out.extend_from_slice(span);
    Some(out)
}

fn each_once<T: Ord>(items: impl ExactSizeIterator<Item = T>) -> Option<bool> {
    let mut sorted = room(items.len())?;
    sorted.extend(items);
    sorted.sort_unstable();
    Some(sorted.windows(2).all(|pair| pair[0] < pair[1]))
}

fn put_span(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
