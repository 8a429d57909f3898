//! Dumps of some hundred rows, and stores that hold them, for the tests of export and import.

use std::path::Path;

use aquifer::io::dfs::Dfs;
use aquifer::state::{StateKind, StateTable};
use aquifer::types::key::encode_key;
use aquifer::types::{Locality, MergeOp, StateId};
use indicatif::ProgressBar;

use super::import::{Imported, Sizes, load};
use super::{Head, Source, Writer, export};
use crate::objects::Root;

pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

pub const KEY_GROUPS: u32 = 16;

/// A table every few blocks, and each is kept.
pub const SMALL: Sizes = Sizes { table_bytes: 20_000, tables_kept: 1 };

pub fn head(range: (u16, u16)) -> Head {
    let mut states = StateTable::default();
    states.declare("value", StateKind::Value).unwrap();
    states.declare("map", StateKind::Map).unwrap();
    states.declare("sum", StateKind::Reducing(MergeOp::Sum)).unwrap();
    Head { key_groups: KEY_GROUPS, range, states }
}

/// Rows of all groups of a range, in order; `salt` makes other values.
pub fn rows((first, last): (u16, u16), salt: u8) -> Rows {
    let mut rows = Rows::new();
    for group in first..=last {
        let mut stored = |key: &[u8], state: u8, map_key: &[u8], value: Vec<u8>| {
            let locality = if state == 2 { Locality::Collection } else { Locality::Small };
            let mut out = Vec::new();
            encode_key(&mut out, group, locality, key, StateId(state), b"ns").unwrap();
            out.extend_from_slice(map_key);
            rows.push((out, value));
        };
        for key in 0..20_u16 {
            let key = key.to_be_bytes();
            // Every tenth in pages of its own.
            let len = if key[1] % 10 == 7 { 3000 } else { 90 };
            stored(&key, 1, b"", vec![key[1] ^ salt; len]);
            stored(&key, 3, b"", i64::from(key[1] ^ salt).to_le_bytes().to_vec());
        }
        for entry in 0..50_u8 {
            stored(b"map", 2, &[entry], vec![entry ^ salt; 40]);
        }
    }
    rows.sort_unstable();
    rows
}

pub fn dump(range: (u16, u16), salt: u8) -> Vec<u8> {
    let mut writer = Writer::create(Vec::new(), &head(range)).unwrap();
    rows(range, salt).iter().for_each(|(key, value)| writer.row(key, value).unwrap());
    writer.finish().unwrap().0
}

/// Imports a dump below `folder`, whose handle is `name`.
pub fn import(
    dump: impl std::io::Read,
    folder: &Path,
    store: u64,
    name: &str,
) -> anyhow::Result<Imported> {
    let dfs = Dfs::open(folder.join("dfs").to_str().unwrap()).unwrap();
    load(dump, &dfs, store, &folder.join(name), SMALL, &ProgressBar::hidden())
}

/// What checkpoints below `folder` hold.
pub fn source(folder: &Path, handles: &[&str]) -> aquifer::types::Result<Source> {
    let root = Root::of_url(folder.join("dfs").to_str().unwrap()).unwrap();
    let handles: Vec<Vec<u8>> =
        handles.iter().map(|name| std::fs::read(folder.join(name)).unwrap()).collect();
    Source::load(root, &handles)
}

/// A dump of checkpoints below `folder`.
pub fn exported(folder: &Path, handles: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    let source = source(folder, handles).unwrap();
    export::to_output(&source, &mut out, &ProgressBar::hidden()).unwrap();
    out
}
