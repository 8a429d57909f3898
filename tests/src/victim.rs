//! A checkpoint in memory whose objects tests damage, and an engine that is asked for all of it:
//! each answer is right, or an error.

use std::time::Duration;

use aquifer::checkpoint::handle::Handle;
use aquifer::io::dfs::Dfs;
use aquifer::limits::{MANIFEST_BYTES_MAX, MEMORY_MIN_BYTES};
use aquifer::lsm::manifest::Manifest;
use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::ControlOp;
use aquifer::state::request::{Batch, Completions};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName};

use crate::model::oracle::{
    Expected, KEY_GROUPS, Model, Op, RowKey, State, States, compare, declared,
};
use crate::sim::driver::Answer;
use crate::sim::rng::Rng;

/// An answer takes a millisecond: who waits for this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a checkpoint is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Keys of every state.
    pub keys: u8,
    /// Entries of its map.
    pub entries: u16,
    /// Values of random bytes leave the tables unpacked; others are packed.
    pub random: bool,
    /// Checkpoints in a row, each a table over the one before.
    pub tables: u8,
}

/// An object of the checkpoint.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its name.
    pub name: ObjectName,
    /// Its bytes as they were written.
    pub bytes: Vec<u8>,
}

/// How many requests were answered, and how many failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// With what was written.
    pub right: usize,
    /// With an error.
    pub failed: usize,
}

/// See the module.
pub struct Victim {
    /// The newest checkpoint's.
    pub handle: Vec<u8>,
    /// Its manifest.
    pub manifest: Object,
    /// The manifest of the first checkpoint.
    pub older: Object,
    /// The tables of the newest checkpoint.
    pub tables: Vec<Object>,
    dfs: Dfs,
    session: Session,
    questions: Vec<(Op, Expected)>,
    _engine: Engine,
}

impl Victim {
    /// A checkpoint in the memory that `name` names.
    ///
    /// # Panics
    /// If the engine does not write it.
    #[must_use]
    pub fn new(name: &str, shape: Shape) -> Self {
        let dfs = format!("memory://{name}");
        let (memory_bytes, thread) = (MEMORY_MIN_BYTES, ShardThread::Inline);
        let io = crate::io_mode();
        let config = Config { memory_bytes, thread, io, ..Config::new(&dfs) };
        let engine = Engine::open(config).expect("memory is always there");
        let mut session = engine.session(0).expect("the first one");
        let dfs = Dfs::open(&dfs).expect("the same");
        let opened = session.open_store(store_config(None)).expect("an empty store");
        let states = States::of(opened.0, &opened.1).expect("declared");
        let (mut model, mut rng, mut handles) = (Model::default(), Rng::new(1), Vec::new());
        for table in 0..shape.tables {
            let ops = writes(shape, table, &mut rng);
            ops.iter().for_each(|op| drop(model.apply(op)));
            let answers = run(&mut session, &states, ops.iter());
            assert!(answers.iter().all(|answer| *answer == Answer::Done), "{answers:?}");
            handles.push(session.checkpoint(opened.0).expect("a checkpoint"));
        }
        session.run_control(ControlOp::Close(opened.0)).expect("it is open");
        let load = |name: ObjectName| {
            let bytes = dfs.load(&name, MANIFEST_BYTES_MAX).expect("it was written");
            Object { name, bytes }
        };
        let manifest_of = |handle| load(Handle::decode(handle).expect("whole").manifest);
        let handle = handles.pop().expect("at least one table");
        let manifest = manifest_of(&handle);
        let older = manifest_of(handles.first().unwrap_or(&handle));
        let decoded = Manifest::decode(&manifest.name, &manifest.bytes).expect("whole");
        let tables = decoded.tables.iter().map(|table| load(table.name)).collect();
        let ask = |op: Op| (op.clone(), model.apply(&op));
        let questions = questions(shape).into_iter().map(ask).collect();
        Self { handle, manifest, older, tables, dfs, session, questions, _engine: engine }
    }

    /// Restores with other bytes under a name, or with nothing there, and asks for all rows.
    /// Afterwards the object is whole again.
    ///
    /// # Errors
    /// What refused to be opened.
    ///
    /// # Panics
    /// If an answer is wrong, or none comes.
    #[track_caller]
    pub fn damaged(&mut self, whole: &Object, bytes: Option<Vec<u8>>) -> Result<Told, Error> {
        self.dfs.delete(&whole.name).expect("memory");
        if let Some(bytes) = bytes {
            self.dfs.put(&whole.name, &bytes).expect("the name is free");
        }
        let told = self.restored(&self.handle.clone());
        self.dfs.delete(&whole.name).expect("memory");
        self.dfs.put(&whole.name, &whole.bytes).expect("the name is free");
        told
    }

    /// Restores from a handle and asks for all rows.
    ///
    /// # Errors
    /// What refused to be opened.
    ///
    /// # Panics
    /// If an answer is wrong, or none comes.
    #[track_caller]
    pub fn restored(&mut self, handle: &[u8]) -> Result<Told, Error> {
        let (store, table) = self.session.open_store(store_config(Some(handle.to_vec())))?;
        let states = States::of(store, &table).expect("a checkpoint has all states");
        let answers = run(&mut self.session, &states, self.questions.iter().map(|(op, _)| op));
        self.session.run_control(ControlOp::Close(store)).expect("it is open");
        let mut told = Told::default();
        for ((op, expected), answer) in self.questions.iter().zip(answers) {
            if let Answer::Failed(kind, text) = &answer {
                let damage = [ErrorKind::Corrupt, ErrorKind::MissingObject, ErrorKind::TooLarge];
                assert!(damage.contains(kind), "{kind:?}: {text}");
                told.failed += 1;
            } else if let Err(difference) = compare(expected, &answer) {
                panic!("{op:?}: {difference}");
            } else {
                told.right += 1;
            }
        }
        Ok(told)
    }
}

fn store_config(handle: Option<Vec<u8>>) -> StoreConfig {
    StoreConfig {
        states: declared(),
        handles: handle.into_iter().collect(),
        ..StoreConfig::new(1, KEY_GROUPS)
    }
}

fn row(state: State, key: u8, map_key: &[u8]) -> RowKey {
    RowKey { state, key, namespace: 0, map_key: map_key.to_vec() }
}

/// Writes of the `table`th checkpoint: over some rows of the one before, beside others.
pub(crate) fn writes(shape: Shape, table: u8, rng: &mut Rng) -> Vec<Op> {
    let random = shape.random;
    let mut value = |len: usize| -> Vec<u8> {
        let byte = rng.next_u64() as u8;
        (0..len).map(|_| if random { rng.next_u64() as u8 } else { byte }).collect()
    };
    let mut ops = Vec::new();
    for key in 0..shape.keys {
        // A large value lies in pages of its own.
        let len = if key % 16 == 3 { 5000 } else { 300 };
        match (u32::from(key) + u32::from(table)) % 4 {
            0 if table > 0 => ops.push(Op::Delete(row(State::Value, key, b""))),
            1 if table > 0 => {}
            _ => ops.push(Op::Put(row(State::Value, key, b""), value(len))),
        }
        ops.push(Op::Add(row(State::Sum, key, b""), i64::from(key) + 1));
        ops.push(Op::Append(row(State::List, key, b""), vec![value(9)]));
    }
    for entry in (0..shape.entries).filter(|entry| entry % 3 != u16::from(table % 3)) {
        let entry = row(State::Map, 1, &entry.to_be_bytes());
        ops.push(Op::Put(entry, value(200)));
    }
    ops
}

/// Every row by a get, every map by a scan, and rows that were never there.
pub(crate) fn questions(shape: Shape) -> Vec<Op> {
    let states = [State::Value, State::Sum, State::List, State::Other];
    let mut ops = Vec::new();
    for state in states {
        ops.extend((0..shape.keys).map(|key| Op::Get(row(state, key, b""))));
    }
    ops.extend((0..shape.entries).map(|at| Op::Get(row(State::Map, 1, &at.to_be_bytes()))));
    ops.push(Op::Scan(row(State::Map, 1, b""), u32::from(shape.entries) + 1));
    ops.push(Op::Scan(row(State::Map, 2, b""), 10));
    ops
}

/// Runs operations as one batch; their answers in order.
fn run<'a>(
    session: &mut Session,
    states: &States,
    ops: impl ExactSizeIterator<Item = &'a Op>,
) -> Vec<Answer> {
    let mut answers = vec![None; ops.len()];
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    for (at, op) in ops.enumerate() {
        states.request(&mut batch, op, at as u64).expect("within the limits");
    }
    session.submit(&mut batch).expect("the shard lives");
    while session.in_flight() > 0 {
        let count = session.poll(Some(PATIENCE), &mut done).expect("the shard lives");
        assert!(count > 0, "{} requests hang", session.in_flight());
        for item in &done.items {
            answers[item.user_data as usize] = Some(Answer::of(&done, item));
        }
    }
    answers.into_iter().map(|answer| answer.expect("each request is answered once")).collect()
}

impl std::fmt::Debug for Victim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Victim").field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}
