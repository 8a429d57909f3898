//! A checkpoint of two tables, for the tests of what looks at it.

use std::fs;
use std::path::PathBuf;

use aquifer::checkpoint::handle::Handle;
use aquifer::codec::hash::hash64;
use aquifer::lsm::manifest::{Manifest, TabletRef};
use aquifer::sst::{TableBuilder, TableRef};
use aquifer::state::{StateKind, StateTable};
use aquifer::types::key::encode_key;
use aquifer::types::{Incarnation, Locality, ObjectKind, ObjectName, RowKind, RowRef, StateId};
use tempfile::TempDir;

use super::{Object, Root};

pub const ROWS: u64 = 2000;
pub const STATE: StateId = StateId(1);
pub const MAP: StateId = StateId(2);

pub struct Store {
    pub folder: TempDir,
    pub handle: Handle,
    pub manifest: Manifest,
}

pub fn name(kind: ObjectKind, seq: u64) -> ObjectName {
    let incarnation = Incarnation { host_epoch: 1, nonce: 42 };
    ObjectName { store: 7, incarnation, kind, seq, rand: 9 }
}

pub fn value_key(group: u16, key: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(&mut out, group, Locality::Small, &key.to_be_bytes(), STATE, b"").unwrap();
    out
}

pub fn entry_key(group: u16, map: &[u8], entry: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(&mut out, group, Locality::Collection, map, MAP, b"").unwrap();
    out.extend_from_slice(&entry.to_be_bytes());
    out
}

/// Words that no codec packs.
pub fn value(number: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (hash64(&(number << 32 | i).to_le_bytes()) >> 9) as u8).collect()
}

/// Rows of a table with their hashes.
pub type Rows = Vec<(u64, Vec<u8>, RowKind, Vec<u8>)>;

/// Values, deletions, operands, entries of two maps, and a large value at the end.
pub fn rows() -> Rows {
    let mut rows: Rows = (0..ROWS)
        .map(|i| {
            let (kind, len) = match i % 10 {
                3 => (RowKind::Delete, 0),
                7 => (RowKind::Merge, 8),
                _ => (RowKind::Put, 100),
            };
            (value_key((i / 100) as u16, i), kind, value(i, len))
        })
        .chain((0..ROWS).map(|i| {
            let map: &[u8] = if i < ROWS / 2 { b"a map" } else { b"another map" };
            (entry_key(30, map, i), RowKind::Put, value(i, 20))
        }))
        .chain([(value_key(31, 0), RowKind::Put, value(0, 70_000))])
        .map(|(key, kind, value)| (hash64(&key), key, kind, value))
        .collect();
    rows.sort_by(|a, b| a.1.cmp(&b.1));
    rows
}

/// Writes a table below `folder`.
pub fn table(folder: &TempDir, seq: u64, rows: &Rows) -> TableRef {
    let mut builder = TableBuilder::new(name(ObjectKind::Sst, seq), 12);
    for (hash, key, kind, value) in rows {
        builder.add(*hash, RowRef { key, kind: *kind, value });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = builder.take_chunk() {
        bytes.extend_from_slice(&chunk);
    }
    let finished = builder.finish().unwrap();
    finished.chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    let table_ref = *finished.table.table_ref();
    put(folder, &table_ref.name, &bytes);
    table_ref
}

fn put(folder: &TempDir, name: &ObjectName, bytes: &[u8]) {
    let path = folder.path().join(name.to_string());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

impl Store {
    /// Two tables of the same keys in two tablets.
    pub fn new() -> Self {
        Self::of(&rows())
    }

    pub fn of(rows: &Rows) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tables = vec![table(&folder, 1, rows), table(&folder, 2, rows)];
        let mut states = StateTable::default();
        states.declare("value", StateKind::Value).unwrap();
        states.declare("map", StateKind::Map).unwrap();
        let mut encoded = Vec::new();
        states.encode(&mut encoded);
        let low = value_key(16, 0);
        let manifest = Manifest {
            store: 7,
            key_groups: 128,
            range: (0, 127),
            states: encoded,
            tables,
            tablets: vec![
                TabletRef { low: Box::default(), runs: vec![1, 0] },
                TabletRef { low: low.into(), runs: vec![0] },
            ],
            hot: Vec::new(),
        };
        let mut store =
            Self { folder, handle: Handle::of(name(ObjectKind::Manifest, 3), b""), manifest };
        store.write_manifest();
        store
    }

    /// Writes the manifest as it is now, and makes its handle.
    pub fn write_manifest(&mut self) {
        let name = name(ObjectKind::Manifest, 3);
        let bytes = self.manifest.encode(&name);
        put(&self.folder, &name, &bytes);
        self.handle = Handle::of(name, &bytes);
    }

    pub fn root(&self) -> Root {
        Root::of_url(self.folder.path().to_str().unwrap()).unwrap()
    }

    pub fn path(&self, name: &ObjectName) -> PathBuf {
        self.folder.path().join(name.to_string())
    }

    pub fn object(&self, name: &ObjectName) -> Object {
        self.root().open(name).unwrap()
    }

    /// Flips a bit of an object.
    pub fn flip(&self, name: &ObjectName, at: u64) {
        let path = self.path(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at as usize] ^= 4;
        fs::write(path, bytes).unwrap();
    }
}
