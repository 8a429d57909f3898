//! A unit after its read: check it, find a row in it. 4096 units take turns, more than the L2 cache
//! holds: a unit that was just read is not there either.

use std::hint::black_box;

use aquifer::codec::hash::hash64;
use aquifer::sst::Unit;
use aquifer_benches::samples::{self, mixed, random_key, stored_key};
use criterion::Criterion;

use crate::cpu::CpuTime;

const UNITS: usize = 4096;
/// Rows that fill as many units.
const ROWS: u64 = UNITS as u64 * 27;
const KEY_GROUPS: u32 = 128;

/// Makes the i-th value.
type Value = fn(u64) -> Vec<u8>;

/// A key, and the unit that holds it.
struct Probe {
    key: Vec<u8>,
    offset: u64,
    bytes: Vec<u8>,
}

pub fn kernels(c: &mut Criterion<CpuTime>) {
    let codecs: [(&str, Value); 2] =
        [("raw", samples::random_value), ("lz4", samples::half_random_value)];
    for (codec, value) in codecs {
        let (object_key, probes) = probes(value);
        let mut scratch = Vec::new();
        let mut turn = probes.iter().cycle();
        let mut group = c.benchmark_group(format!("unit/{codec}"));
        group.bench_function("check", |b| {
            b.iter(|| {
                let Probe { offset, bytes, .. } = turn.next().expect("endless");
                let unit = Unit::check(object_key, *offset, bytes, &mut scratch);
                black_box(unit.expect("whole").len())
            });
        });
        group.bench_function("check and find", |b| {
            b.iter(|| {
                let Probe { key, offset, bytes } = turn.next().expect("endless");
                let unit = Unit::check(object_key, *offset, bytes, &mut scratch);
                let entry = unit.expect("whole").find(key).expect("whole");
                black_box(entry.expect("the unit has the key").kind)
            });
        });
        group.finish();
    }
    let (object_key, probes) = probes(samples::random_value);
    let mut turn = probes.iter().cycle();
    c.bench_function("unit/find", |b| {
        b.iter(|| {
            let Probe { key, offset, bytes } = turn.next().expect("endless");
            let unit = Unit::of_image(object_key, *offset, bytes).expect("whole");
            black_box(unit.find(key).expect("whole").expect("the unit has the key").kind)
        });
    });
}

// A random key of each of many units, in random order.
fn probes(value: Value) -> (u64, Vec<Probe>) {
    let mut keys: Vec<_> = (0..ROWS).map(|i| stored_key(&random_key(i), KEY_GROUPS)).collect();
    keys.sort_unstable();
    let (table, file) = samples::table(&keys, value);
    let probe = |i: usize| {
        let key = keys[mixed(i as u64) as usize % keys.len()].clone();
        let extent = table.probe(hash64(&key), &key).expect("the key is there");
        let start = usize::try_from(extent.offset).expect("a small file");
        let bytes = file[start..start + extent.len as usize].to_vec();
        Probe { key, offset: extent.offset, bytes }
    };
    (table.object_key(), (0..UNITS).map(probe).collect())
}
