//! One filter probe. Fences are measured by `locate`, for several kinds of keys.

use std::hint::black_box;

use aquifer::limits::{FILTER_BITS_LAST, FILTER_KEYS_MAX, SERVE_CHUNK};
use aquifer::sst::filter::Filter;
use aquifer_benches::samples::mixed;
use criterion::{Criterion, Throughput};

use crate::cpu::CpuTime;

/// As many full filters as no core's caches hold: about 100 MiB.
const FILTERS: u64 = 1024;
const PROBES: u64 = 1 << 20;

pub fn kernels(c: &mut Criterion<CpuTime>) {
    let filters: Vec<Filter> = (0..FILTERS).map(filter).collect();
    let mut group = c.benchmark_group("filter");
    group.throughput(Throughput::Elements(SERVE_CHUNK as u64));
    let may_hold = |&(filter, hash): &(&Filter, u64)| black_box(filter.may_hold(hash));
    for (name, filters) in [("hot", &filters[..1]), ("beyond the cache", &filters[..])] {
        let probes = probes(filters);
        let mut turn = probes.chunks_exact(SERVE_CHUNK).cycle();
        group.bench_function(name, |b| {
            b.iter(|| turn.next().expect("endless").iter().filter(|p| may_hold(p)).count());
        });
    }
    let probes = probes(&filters);
    let mut turn = probes.chunks_exact(SERVE_CHUNK).cycle();
    group.bench_function("beyond the cache, prefetched", |b| {
        b.iter(|| {
            let chunk = turn.next().expect("endless");
            chunk.iter().for_each(|(filter, hash)| filter.prefetch(*hash));
            chunk.iter().filter(|p| may_hold(p)).count()
        });
    });
    group.finish();
}

fn filter(number: u64) -> Filter {
    let hashes: Vec<u64> = (0..FILTER_KEYS_MAX as u64).map(|i| hash(number, i)).collect();
    Filter::build(FILTER_BITS_LAST, &hashes)
}

fn hash(filter: u64, i: u64) -> u64 {
    mixed(filter << 32 | i)
}

// Every second hash is there.
fn probes(filters: &[Filter]) -> Vec<(&Filter, u64)> {
    (0..PROBES)
        .map(|i| {
            let number = mixed(i) % filters.len() as u64;
            let there = hash(number, mixed(!i) % FILTER_KEYS_MAX as u64);
            (&filters[number as usize], if i % 2 == 0 { there } else { !there })
        })
        .collect()
}
