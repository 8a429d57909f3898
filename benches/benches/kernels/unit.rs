//! A unit after its read: check it, find a row in it.

use std::hint::black_box;

use aquifer::codec::hash::hash64;
use aquifer::sst::{Table, Unit};
use aquifer_benches::samples::{self, mixed, random_key, stored_key};
use criterion::Criterion;

use crate::cpu::CpuTime;

/// Units of 16 MiB take turns: a unit that was just read is not in the L2 cache either.
const UNITS: u64 = 4096;
/// A unit that was just checked is in the L1 cache.
const HOT_UNITS: u64 = 4;
const PROBES: u64 = 1 << 14;
const UNIT_ROWS: u64 = 27;
const KEY_GROUPS: u32 = 128;

/// Makes the i-th key.
type Keys = fn(u64) -> Vec<u8>;
/// Makes the i-th value.
type Values = fn(u64) -> Vec<u8>;

pub fn kernels(c: &mut Criterion<CpuTime>) {
    let codecs: [(&str, Values); 2] =
        [("raw", samples::random_value), ("lz4", samples::half_random_value)];
    for (codec, values) in codecs {
        let sample = Sample::new(random_key, values);
        let object_key = sample.table.object_key();
        let probes = sample.probes(UNITS);
        let mut turn = probes.iter().cycle();
        let mut scratch = Vec::new();
        let mut group = c.benchmark_group(format!("unit/{codec}"));
        group.bench_function("check", |b| {
            b.iter(|| {
                let Probe { offset, bytes, .. } = *turn.next().expect("endless");
                let unit = Unit::check(object_key, offset, bytes, &mut scratch);
                black_box(unit.expect("whole").len())
            });
        });
        group.bench_function("check and find", |b| {
            b.iter(|| {
                let Probe { key, offset, bytes } = *turn.next().expect("endless");
                let unit = Unit::check(object_key, offset, bytes, &mut scratch);
                find(unit.expect("whole"), key)
            });
        });
        group.finish();
    }
    let shapes: [(&str, Keys); 2] =
        [("random keys", random_key), ("ids", |i| i.to_be_bytes().to_vec())];
    for (shape, keys) in shapes {
        let sample = Sample::new(keys, samples::random_value);
        let probes = sample.probes(HOT_UNITS);
        let mut turn = probes.iter().cycle();
        c.bench_function(&format!("unit/find, {shape}"), |b| {
            b.iter(|| {
                let Probe { key, offset, bytes } = *turn.next().expect("endless");
                find(Unit::of_image(offset, bytes).expect("whole"), key)
            });
        });
    }
}

fn find(unit: Unit<'_>, key: &[u8]) {
    let entry = unit.find(key).expect("whole").expect("the unit has the key");
    black_box(entry.value);
}

/// A table with its keys and its object.
struct Sample {
    keys: Vec<Vec<u8>>,
    table: Table,
    file: Vec<u8>,
}

/// A key, and the unit that holds it.
#[derive(Clone, Copy)]
struct Probe<'a> {
    key: &'a [u8],
    offset: u64,
    bytes: &'a [u8],
}

impl Sample {
    fn new(keys: Keys, values: Values) -> Self {
        let key = |i| stored_key(&keys(i), KEY_GROUPS);
        let mut keys: Vec<_> = (0..UNITS * UNIT_ROWS).map(key).collect();
        keys.sort_unstable();
        let (table, file) = samples::table(&keys, values);
        Self { keys, table, file }
    }

    // Of the first units, in random order.
    fn probes(&self, units: u64) -> Vec<Probe<'_>> {
        let probe = |i| {
            let key = &self.keys[(mixed(i) % (units * UNIT_ROWS)) as usize][..];
            let extent = self.table.probe(hash64(key), key).expect("the key is there");
            let start = usize::try_from(extent.offset).expect("a small file");
            let bytes = &self.file[start..start + extent.len as usize];
            Probe { key, offset: extent.offset, bytes }
        };
        (0..PROBES).map(probe).collect()
    }
}
