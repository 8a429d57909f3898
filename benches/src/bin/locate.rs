//! What the resident part of tables costs for some kinds of keys: nanoseconds to find the unit of a
//! key, bytes of memory a row. `hot`: one set of tables, searched again and again; `cold`: so many
//! equal ones that a core's caches do not hold them.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use aquifer::codec::hash::hash64;
use aquifer::sst::{Table, TableRef};
use aquifer_benches::samples::{self, mixed};

const PROBES: usize = 1 << 15;
const ROUNDS: usize = 9;
/// Bytes of tables that a core's caches do not hold.
const COLD_BYTES: usize = 24 << 20;
/// Tablets of a cut run.
const TABLETS: usize = 23;

/// Makes the i-th key.
type Keys = fn(u64) -> Vec<u8>;

const SHAPES: [(&str, Keys); 4] = [
    ("random 16 bytes", samples::random_key),
    ("big-endian ids", |i| i.to_be_bytes().to_vec()),
    ("user00001234", |i| format!("user{i:08}").into_bytes()),
    ("user1234", |i| format!("user{i}").into_bytes()),
];

fn main() {
    println!(
        "{:<16} {:>8} {:>6} {:>7} {:>11} {:>12} {:>10} {:>11} {:>9}",
        "keys",
        "rows",
        "groups",
        "tables",
        "hot locate",
        "cold locate",
        "hot probe",
        "cold probe",
        "B a row"
    );
    for (rows, groups) in [(330_000, 128), (1_000_000, 128), (330_000, 1 << 15)] {
        for (name, keys) in SHAPES {
            let stored = stored_keys(rows, groups, keys);
            for tables in [1, TABLETS] {
                let cut: Vec<&[Vec<u8>]> = stored.chunks(stored.len().div_ceil(tables)).collect();
                measure(&format!("{name:<16} {rows:>8} {groups:>6} {tables:>7}"), &stored, &cut);
            }
        }
    }
}

fn measure(name: &str, stored: &[Vec<u8>], cut: &[&[Vec<u8>]]) {
    let stored_tables: Vec<(TableRef, Vec<u8>)> = cut.iter().map(|keys| table(keys)).collect();
    let mut sets: Vec<BTreeMap<&[u8], Table>> = Vec::new();
    let mut bytes = 0;
    while bytes < COLD_BYTES {
        let decoded = |(place, meta): &(TableRef, Vec<u8>)| Table::decode(*place, meta);
        let tables = stored_tables.iter().map(|table| decoded(table).expect("just written"));
        let set: BTreeMap<&[u8], Table> = cut.iter().map(|keys| &keys[0][..]).zip(tables).collect();
        bytes += set.values().map(Table::memory_bytes).sum::<usize>();
        sets.push(set);
    }
    let each = bytes as f64 / sets.len() as f64 / stored.len() as f64;
    let locate = |probe: &Probe<'_>| black_box(probe.table.locate(&probe.key)).is_some();
    let probe = |probe: &Probe<'_>| black_box(probe.table.probe(probe.hash, &probe.key)).is_some();
    let (hot, cold) = (probes(stored, &sets[..1]), probes(stored, &sets));
    println!(
        "{name} {:>11.0} {:>12.0} {:>10.0} {:>11.0} {each:>9.3}",
        nanos(&hot, locate),
        nanos(&cold, locate),
        nanos(&hot, probe),
        nanos(&cold, probe)
    );
}

/// A key that is there and the table that has it.
struct Probe<'a> {
    table: &'a Table,
    key: Vec<u8>,
    hash: u64,
}

fn probes<'a>(stored: &'a [Vec<u8>], sets: &'a [BTreeMap<&[u8], Table>]) -> Vec<Probe<'a>> {
    (0..PROBES)
        .map(|i| {
            let key = &stored[mixed(i as u64) as usize % stored.len()][..];
            let (_, table) = sets[i % sets.len()].range(..=key).next_back().expect("a table");
            Probe { table, key: key.to_vec(), hash: hash64(key) }
        })
        .collect()
}

// Of a probe, in the best of some rounds: others had the core in the rest.
fn nanos(probes: &[Probe<'_>], run: impl Fn(&Probe<'_>) -> bool) -> f64 {
    let round = || {
        let start = Instant::now();
        let found = probes.iter().filter(|probe| run(probe)).count();
        assert_eq!(found, probes.len(), "every key is there");
        start.elapsed().as_nanos() as f64 / probes.len() as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::MAX, f64::min)
}

fn stored_keys(rows: u64, groups: u32, keys: Keys) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = (0..rows).map(|i| samples::stored_key(&keys(i), groups)).collect();
    out.sort_unstable();
    out
}

// The resident part of a table of these keys.
fn table(keys: &[Vec<u8>]) -> (TableRef, Vec<u8>) {
    let (table, file) = samples::table(keys, samples::random_value);
    let place = *table.table_ref();
    let meta = usize::try_from(place.meta_offset).expect("small");
    (place, file[meta..meta + place.meta_len as usize].to_vec())
}
