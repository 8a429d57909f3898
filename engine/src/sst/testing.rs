//! What the tests of this floor share: a seeded generator, key shapes, whole tables in memory.

use crate::codec::hash::hash64;
use crate::sst::{EntryValue, Extent, Table, TableBuilder, Unit, extent};
use crate::types::key::encode_key;
use crate::types::{Incarnation, Locality, ObjectKind, ObjectName, RowKind, RowRef, StateId};

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

pub fn name(seq: u64) -> ObjectName {
    ObjectName {
        store: 7,
        incarnation: Incarnation { host_epoch: 3, nonce: 0x0123_4567_89ab_cdef },
        kind: ObjectKind::Sst,
        seq,
        rand: 0xfeed,
    }
}

pub fn stored_key(group: u16, locality: Locality, key: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(&mut out, group, locality, key, StateId(1), b"").expect("within limits");
    out.extend_from_slice(tail);
    out
}

/// The shapes of keys that the index must tell apart.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    Random,
    Sequential,
    Text,
    Nested,
    MapEntries,
    SmallMaps,
    ZeroBytes,
}

pub const SHAPES: [Shape; 7] = [
    Shape::Random,
    Shape::Sequential,
    Shape::Text,
    Shape::Nested,
    Shape::MapEntries,
    Shape::SmallMaps,
    Shape::ZeroBytes,
];

/// About `count` distinct keys of a shape, ascending.
pub fn keys(shape: Shape, count: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = (0..count).map(|i| key(shape, i, random)).collect();
    out.sort();
    out.dedup();
    out
}

fn key(shape: Shape, i: usize, random: &mut Random) -> Vec<u8> {
    let small = Locality::Small;
    match shape {
        Shape::Random => {
            let key = random.bytes(16);
            stored_key(random.below(128) as u16, small, &key, b"")
        }
        Shape::Sequential => stored_key((i % 128) as u16, small, &(i as u64).to_be_bytes(), b""),
        Shape::Text => {
            let text = format!(
                "customers/europe/north/region-{:03}/account-with-a-long-name-{:09}/balance",
                random.below(3),
                random.below(10 * (i + 1))
            );
            stored_key(random.below(2) as u16, small, text.as_bytes(), b"")
        }
        // Each key a prefix of longer ones.
        Shape::Nested => vec![b'a' + random.below(2) as u8; 1 + random.below(1500)],
        Shape::MapEntries => {
            let map = format!("a map whose entries fill many units {}", random.below(3));
            let entry = format!("{:07}", random.below(10_000_000));
            stored_key(5, Locality::Collection, map.as_bytes(), entry.as_bytes())
        }
        Shape::SmallMaps => {
            let map = ((random.below(count_of_maps(i)) as u64) << 32).to_be_bytes();
            let tail = random.bytes(3);
            stored_key(9, Locality::Collection, &map, &tail)
        }
        // Zero bytes at the end are where padded heads are ambiguous.
        Shape::ZeroBytes => {
            let mut out = vec![0; 2 + random.below(20)];
            let at = random.below(out.len());
            out[at] = random.below(3) as u8;
            let at = random.below(out.len());
            out[at] = random.below(255) as u8;
            out
        }
    }
}

fn count_of_maps(i: usize) -> usize {
    i / 40 + 1
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Vec<u8>,
    pub kind: RowKind,
    pub value: Vec<u8>,
}

/// A table with its object's bytes.
pub struct Built {
    pub table: Table,
    pub file: Vec<u8>,
}

pub fn build(filter_bits: usize, rows: &[Row], clears: &[&[u8]]) -> Built {
    build_as(name(1), filter_bits, rows, clears)
}

pub fn build_as(name: ObjectName, filter_bits: usize, rows: &[Row], clears: &[&[u8]]) -> Built {
    let mut builder = TableBuilder::new(name, filter_bits);
    let mut file = Vec::new();
    for row in rows {
        builder.add(hash64(&row.key), RowRef { key: &row.key, kind: row.kind, value: &row.value });
        while let Some(chunk) = builder.take_chunk() {
            file.extend_from_slice(&chunk);
            builder.give_back(chunk);
        }
    }
    clears.iter().for_each(|prefix| builder.add_clear(prefix));
    let finished = builder.finish().expect("a small resident part");
    finished.chunks.iter().for_each(|chunk| file.extend_from_slice(chunk));
    Built { table: finished.table, file }
}

/// Rows over these keys: all kinds, some values large.
pub fn rows(keys: Vec<Vec<u8>>, random: &mut Random) -> Vec<Row> {
    keys.into_iter()
        .map(|key| {
            let kind =
                [RowKind::Put, RowKind::Put, RowKind::Merge, RowKind::Delete][random.below(4)];
            let len = match random.below(200) {
                0 => 1 + random.below(200_000),
                1..5 => 1000 + random.below(50),
                _ => random.below(160),
            };
            let value = if kind == RowKind::Delete { Vec::new() } else { random.bytes(len) };
            Row { key, kind, value }
        })
        .collect()
}

impl Built {
    pub fn read(&self, extent: Extent) -> &[u8] {
        let start = usize::try_from(extent.offset).expect("small");
        &self.file[start..start + extent.len as usize]
    }

    /// The bytes of the pages that hold an extent, from its first byte on.
    pub fn read_pages(&self, extent: Extent) -> &[u8] {
        let pages = extent.pages();
        let skip = usize::try_from(extent.offset - pages.offset).expect("within a page");
        &self.read(pages)[skip..]
    }

    pub fn value(&self, value: EntryValue<'_>) -> Vec<u8> {
        match value {
            EntryValue::Inline(bytes) => bytes.to_vec(),
            EntryValue::Extent(place) => {
                let bytes = self.read(place.stored());
                extent::check(self.table.object_key(), place.offset, place.len, bytes)
                    .expect("the value is whole")
                    .to_vec()
            }
        }
    }

    /// All rows of a unit.
    pub fn rows_of(&self, extent: Extent) -> Vec<Row> {
        let mut scratch = Vec::new();
        let bytes = self.read_pages(extent);
        let unit = Unit::check(self.table.object_key(), extent.offset, bytes, &mut scratch)
            .expect("the unit is whole");
        let entries = (0..unit.len()).map(|i| unit.entry(i).expect("the row is whole"));
        entries
            .map(|e| Row { key: e.key.to_vec(), kind: e.kind, value: self.value(e.value) })
            .collect()
    }

    /// What a get finds.
    pub fn get(&self, key: &[u8]) -> Option<Row> {
        let extent = self.table.probe(hash64(key), key)?;
        let mut scratch = Vec::new();
        let bytes = self.read_pages(extent);
        let unit = Unit::check(self.table.object_key(), extent.offset, bytes, &mut scratch)
            .expect("the unit is whole");
        let entry = unit.find(key).expect("the rows are whole")?;
        Some(Row { key: entry.key.to_vec(), kind: entry.kind, value: self.value(entry.value) })
    }
}
