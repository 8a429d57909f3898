//! Rows in memory, far more than the caches hold, in chunks as a shard serves them.

use aquifer::codec::hash::hash64;
use aquifer::limits::SERVE_CHUNK;
use aquifer::lsm::rows::{Found, Rows, row_bytes};
use aquifer::types::RowKind;
use aquifer_benches::samples::{mixed, random_key, random_value, stored_key};
use criterion::{Criterion, Throughput};

use crate::cpu::CpuTime;

const ROWS: u64 = 1 << 20;
const KEY_GROUPS: u32 = 128;
/// A stored key of a value state and a host's key of 16 bytes.
const KEY_BYTES: usize = 22;
/// Room for all rows.
const ROOM_BYTES: usize = 1 << 30;
/// Room for about a third of them.
const SMALL_ROOM_BYTES: usize = 64 << 20;
/// Rows are flushed when a sixth of the room is dirty.
const FLUSH_BYTES: usize = SMALL_ROOM_BYTES / 6;

#[derive(Clone, Copy)]
struct Key {
    hash: u64,
    stored: [u8; KEY_BYTES],
}

pub fn kernels(c: &mut Criterion<CpuTime>) {
    let keys: Vec<Key> = (0..ROWS).map(|i| key(&random_key(i))).collect();
    let values = [random_value(0), random_value(1)];
    let mut rows = Rows::default();
    rows.set_limit(ROOM_BYTES);
    keys.iter().for_each(|key| write(&mut rows, key, &values[0]));
    let shuffled: Vec<Key> = (0..ROWS).map(|i| keys[(mixed(i) % ROWS) as usize]).collect();
    let strangers: Vec<Key> = (0..ROWS).map(|i| key(&random_key(ROWS + i))).collect();

    let mut group = c.benchmark_group("rows");
    group.throughput(Throughput::Elements(SERVE_CHUNK as u64));
    let mut out = Vec::new();
    let mut turn = chunks(&shuffled);
    group.bench_function("get, one by one", |b| {
        b.iter(|| {
            out.clear();
            turn.next().expect("endless").iter().for_each(|key| get(&mut rows, key, &mut out));
        });
    });
    group.bench_function("get, in stages", |b| {
        b.iter(|| {
            out.clear();
            let chunk = turn.next().expect("endless");
            in_stages(&mut rows, chunk, |rows, key| get(rows, key, &mut out));
        });
    });
    let mut absent = chunks(&strangers);
    group.bench_function("miss, in stages", |b| {
        b.iter(|| {
            in_stages(&mut rows, absent.next().expect("endless"), |rows, key| {
                assert!(rows.probe(key.hash, &key.stored) == Found::Nothing);
            });
        });
    });
    group.bench_function("put that overwrites, in stages", |b| {
        b.iter(|| {
            let put = |rows: &mut Rows, key: &Key| write(rows, key, &values[1]);
            in_stages(&mut rows, turn.next().expect("endless"), put);
        });
    });

    // Each key was evicted long before its next turn, so that every put makes a new row, and
    // evicts an older one.
    let mut rows = Rows::default();
    rows.set_limit(SMALL_ROOM_BYTES);
    keys.iter().for_each(|key| insert(&mut rows, key, &values[0]));
    let mut turn = chunks(&keys);
    group.bench_function("put that inserts and evicts, in stages", |b| {
        b.iter(|| {
            let put = |rows: &mut Rows, key: &Key| insert(rows, key, &values[0]);
            in_stages(&mut rows, turn.next().expect("endless"), put);
        });
    });
    group.finish();
}

fn chunks(keys: &[Key]) -> impl Iterator<Item = &[Key]> {
    keys.chunks_exact(SERVE_CHUNK).cycle()
}

fn key(key: &[u8]) -> Key {
    let stored = stored_key(key, KEY_GROUPS);
    Key { hash: hash64(&stored), stored: stored.try_into().expect("of this length") }
}

// As `shard/serve.rs` does it.
fn in_stages(rows: &mut Rows, chunk: &[Key], mut act: impl FnMut(&mut Rows, &Key)) {
    chunk.iter().for_each(|key| rows.prefetch(key.hash));
    chunk.iter().for_each(|key| rows.prefetch_row(key.hash));
    chunk.iter().for_each(|key| act(rows, key));
}

// A shard copies what it finds to a list of completions.
fn get(rows: &mut Rows, key: &Key, out: &mut Vec<u8>) {
    let Found::Put(value) = rows.probe(key.hash, &key.stored) else { panic!("it is there") };
    out.extend_from_slice(value);
}

fn write(rows: &mut Rows, key: &Key, value: &[u8]) {
    assert!(rows.reserve(row_bytes(key.stored.len(), value.len())), "there is room");
    rows.write(key.hash, &key.stored, RowKind::Put, value);
}

// Flushes take no time here.
fn insert(rows: &mut Rows, key: &Key, value: &[u8]) {
    if rows.active_bytes() >= FLUSH_BYTES {
        let generation = rows.freeze().expect("there are dirty rows").generation;
        rows.turn_clean(generation);
    }
    write(rows, key, value);
}
