//! A store that is restored from forged objects: bytes of a checkpoint are changed, every checksum
//! is made to fit again, and all of it is read, written over, flushed and merged. What it answers
//! is anybody's guess; that it answers is not.

use std::sync::OnceLock;

use aquifer::checkpoint::handle::Handle;
use aquifer::codec::crc::{keyed_crc, object_key};
use aquifer::limits::{MEMORY_MIN_BYTES, PAGE_BYTES, RUNS_MAX};
use aquifer::lsm::manifest::Manifest;
use aquifer::shard::ShardLimits;
use aquifer::shard::values::{ControlOp, ControlResult, OpenStore};
use aquifer::sst::{Extent, Table, TableRef};
use aquifer::state::request::{Batch, StoreId};
use aquifer::types::{Incarnation, ObjectName, Result};

use crate::fuzz::parsers::seal_unit;
use crate::model::oracle::{KEY_GROUPS, Op, States, declared};
use crate::sim::driver::Sim;
use crate::sim::faults::FaultMix;
use crate::sim::rng::Rng;
use crate::victim::{Shape, questions, writes};

/// Bytes of an edit: object, place, new byte.
const EDIT_BYTES: usize = 4;
/// Edits of one run: more make rubbish that is refused at once.
const EDITS_MAX: usize = 16;
/// A store that has not answered after so many turns never will.
const TURNS_MAX: usize = 100_000;
/// Turns in which flushes and merges come about.
const JOB_TURNS: usize = 300;

/// As many tables as a tablet takes before they are merged.
const SHAPE: Shape = Shape { keys: 6, entries: 8, random: true, tables: RUNS_MAX as u8 };

/// A table of the checkpoint.
struct Forgery {
    table_ref: TableRef,
    bytes: Vec<u8>,
    units: Vec<Extent>,
    // Where its reference stands in the manifest.
    ref_at: usize,
}

struct Checkpoint {
    manifest: ObjectName,
    bytes: Vec<u8>,
    tables: Vec<Forgery>,
}

pub(super) fn store(data: &[u8]) {
    static CHECKPOINT: OnceLock<Checkpoint> = OnceLock::new();
    let checkpoint = CHECKPOINT.get_or_init(Checkpoint::cut);
    let mut sim = sim();
    let handle = checkpoint.forge(data, &mut sim);
    let Ok((store, states)) = open(&mut sim, Some(handle)) else { return };
    let questions = questions(SHAPE);
    run(&mut sim, &states, &questions);
    run(&mut sim, &states, &writes(SHAPE, 0, &mut Rng::new(2)));
    sim.control(0, 2, ControlOp::Checkpoint(store));
    for _ in 0..JOB_TURNS {
        sim.turn(true);
    }
    run(&mut sim, &states, &questions);
}

fn sim() -> Sim {
    let limits = ShardLimits::of_memory(MEMORY_MIN_BYTES).expect("it is the minimum");
    Sim::new(limits, FaultMix::calm(), Rng::new(1))
}

fn open(sim: &mut Sim, handle: Option<Vec<u8>>) -> Result<(StoreId, States)> {
    let open = OpenStore {
        number: 1,
        incarnation: Incarnation { host_epoch: 1, nonce: u128::from(handle.is_some()) },
        seed: 1,
        key_groups: KEY_GROUPS,
        range: (0, (KEY_GROUPS - 1) as u16),
        states: declared(),
        handles: handle.into_iter().collect(),
        keep: 0,
    };
    match control(sim, ControlOp::Open(Box::new(open)))? {
        ControlResult::Opened(store, table) => Ok((store, States::of(store, &table)?)),
        other => panic!("an open was answered with {other:?}"),
    }
}

fn control(sim: &mut Sim, op: ControlOp) -> Result<ControlResult> {
    sim.control(0, 1, op);
    for _ in 0..TURNS_MAX {
        if let Some(done) = sim.turn(true).controls.pop() {
            return done.result;
        }
    }
    panic!("a control request is never answered")
}

fn run(sim: &mut Sim, states: &States, ops: &[Op]) {
    let mut batch = Batch::default();
    for (at, op) in ops.iter().enumerate() {
        states.request(&mut batch, op, at as u64).expect("within the limits");
    }
    sim.submit(0, batch);
    let mut missing = ops.len();
    for _ in 0..TURNS_MAX {
        missing -= sim.turn(true).answers.len();
        if missing == 0 {
            return;
        }
    }
    panic!("{missing} requests are never answered");
}

impl Checkpoint {
    fn cut() -> Self {
        let mut sim = sim();
        let (store, states) = open(&mut sim, None).expect("an empty store");
        let (mut rng, mut last) = (Rng::new(1), Vec::new());
        for table in 0..SHAPE.tables {
            run(&mut sim, &states, &writes(SHAPE, table, &mut rng));
            last = match control(&mut sim, ControlOp::Checkpoint(store)) {
                Ok(ControlResult::Handle(handle)) => handle,
                other => panic!("a checkpoint was answered with {other:?}"),
            };
        }
        let name = Handle::decode(&last).expect("whole").manifest;
        let bytes = sim.dfs.object(&name).expect("it was put").to_vec();
        let manifest = Manifest::decode(&name, &bytes).expect("whole");
        let tables = manifest.tables.iter().map(|&table_ref| {
            let object = sim.dfs.object(&table_ref.name).expect("it was sealed").to_vec();
            let meta = &object[table_ref.meta_offset as usize..][..table_ref.meta_len as usize];
            let units = Table::decode(table_ref, meta).expect("whole").units_from(b"").collect();
            let record = table_ref.encode();
            let ref_at = bytes.windows(record.len()).position(|bytes| bytes == record);
            Forgery { table_ref, bytes: object, units, ref_at: ref_at.expect("it is named") }
        });
        let tables: Vec<_> = tables.collect();
        assert_eq!(tables.len(), RUNS_MAX, "the next one has them merged");
        Self { manifest: name, bytes, tables }
    }

    // Puts the checkpoint with some bytes changed; its handle.
    fn forge(&self, data: &[u8], sim: &mut Sim) -> Vec<u8> {
        let mut manifest = self.bytes[..self.bytes.len() - 4].to_vec();
        let mut objects: Vec<_> = self.tables.iter().map(|table| table.bytes.clone()).collect();
        let edits = data.as_chunks::<EDIT_BYTES>().0;
        for &[object, low, high, byte] in edits.iter().take(EDITS_MAX) {
            let place = usize::from(u16::from_le_bytes([low, high]));
            // One edit in four is of the manifest: all else hangs on it.
            let bytes = match usize::from(object) {
                object if object % 4 == 0 => &mut manifest,
                object => &mut objects[object / 4 % self.tables.len()],
            };
            let at = place % bytes.len();
            bytes[at] = byte;
        }
        for (table, mut bytes) in self.tables.iter().zip(objects) {
            let meta_crc = table.seal(&mut bytes);
            let crc_at = table.ref_at + TableRef::encode(&table.table_ref).len() - 4;
            if manifest[crc_at..crc_at + 4] == self.bytes[crc_at..crc_at + 4] {
                manifest[crc_at..crc_at + 4].copy_from_slice(&meta_crc.to_le_bytes());
            }
            sim.dfs.put(table.table_ref.name, bytes);
        }
        let crc = keyed_crc(object_key(&self.manifest), 0, &manifest);
        manifest.extend_from_slice(&crc.to_le_bytes());
        let handle = Handle::of(self.manifest, &manifest).encode();
        sim.dfs.put(self.manifest, manifest);
        handle
    }
}

impl Forgery {
    // Makes the checksums of the units fit, and returns the one of the resident part.
    fn seal(&self, bytes: &mut [u8]) -> u32 {
        let key = object_key(&self.table_ref.name);
        for unit in &self.units {
            let from = unit.offset as usize;
            if bytes.len() >= from + PAGE_BYTES {
                seal_unit(&mut bytes[from..], key, unit.offset);
            }
        }
        let meta = self.table_ref.meta();
        keyed_crc(key, meta.offset, &bytes[meta.offset as usize..][..meta.len as usize])
    }
}
