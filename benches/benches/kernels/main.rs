//! The CPU kernels of the engine, each alone.

mod coalescer;
mod cpu;
mod filter;
mod ring;
mod rows;
mod unit;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

use cpu::CpuTime;

fn criterion() -> Criterion<CpuTime> {
    Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! {
    name = kernels;
    config = criterion();
    targets = unit::kernels, filter::kernels, rows::kernels, coalescer::kernels, ring::kernels
}
criterion_main!(kernels);
