//! The coalescer's share of a unit's read: need, issue, and hand out what landed. The read itself
//! takes no time here.

use std::hint::black_box;

use aquifer::cache::coalescer::{Coalescer, Pages};
use aquifer::io::values::{IoRequest, ObjectSlot};
use aquifer::limits::PAGE_BYTES;
use aquifer::mem::pool::Pool;
use aquifer::mem::slab::Token;
use aquifer::sst::Extent;
use aquifer_benches::samples::mixed;
use criterion::{Criterion, Throughput};

use crate::cpu::CpuTime;

/// Units needed in a tick.
const NEEDS: u64 = 256;
const TICKS: u64 = 64;
const OBJECTS: u64 = 16;
/// Pages of an object of 128 MiB.
const PAGES: u64 = 1 << 15;

type Need = (ObjectSlot, Extent);
/// Makes the i-th need.
type Shape = fn(u64) -> Need;

pub fn kernels(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("coalescer");
    group.throughput(Throughput::Elements(NEEDS));
    let shapes: [(&str, Shape); 3] = [
        ("apart", |i| need(i, 0)),
        // Two gets for each unit.
        ("joined", |i| need(i % (NEEDS / 2) + i / NEEDS * NEEDS, 0)),
        // Four neighbours make one read.
        ("merged", |i| need(i / 4, i % 4)),
    ];
    for (name, shape) in shapes {
        let needs: Vec<Need> = (0..TICKS * NEEDS).map(shape).collect();
        let mut turn = needs.chunks_exact(NEEDS as usize).cycle();
        let mut rig = Rig::default();
        group.bench_function(name, |b| {
            b.iter(|| assert_eq!(rig.tick(turn.next().expect("endless")), NEEDS));
        });
    }
    group.finish();
}

fn need(i: u64, next: u64) -> Need {
    let object = (mixed(i) % OBJECTS) as u32;
    let offset = (mixed(!i) % (PAGES / 4) * 4 + next) * PAGE_BYTES as u64;
    (ObjectSlot(object), Extent { offset, len: PAGE_BYTES as u32 })
}

#[derive(Default)]
struct Rig {
    coalescer: Coalescer,
    pool: Pool,
    io: Vec<IoRequest>,
}

impl Rig {
    // How many waiters were answered.
    fn tick(&mut self, needs: &[Need]) -> u64 {
        for (waiter, &(object, extent)) in (0..).zip(needs) {
            let pages = Pages { object, object_key: 0, extent };
            self.coalescer.need(pages, Token(waiter), None);
        }
        self.coalescer.issue(0, &mut self.pool, &mut self.io).expect("there is memory");
        let mut answered = 0;
        for request in self.io.drain(..) {
            let IoRequest::Read { token, buf, .. } = request else { panic!("{request:?}") };
            let mut landed = self.coalescer.finish(token, false, 0);
            while let Some(extent) = self.coalescer.next_landed(&mut landed, &buf, &Ok(()), None) {
                answered += extent.waiters.len() as u64;
                black_box(&extent.pages);
            }
            self.pool.give_back(buf);
        }
        answered
    }
}
