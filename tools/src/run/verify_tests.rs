use std::fs;

use aquifer::shard::engine::{Config, Engine, ShardThread};
use aquifer::state::request::StoreId;

use super::*;
use crate::run::count::{self, Plan, count};
use crate::run::inputs::InputFile;
use crate::run::job_file::Job;
use crate::run::{KEY_GROUPS, STATE, store_config};

/// A job that was counted, and the store it was counted into.
struct Counting {
    folder: tempfile::TempDir,
    inputs: Inputs,
    session: Session,
    state: ValueState,
    counted: Counted,
    _engine: Engine,
}

impl Counting {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        let text: String = (0..5000_u64).map(|i| format!("w{} ", i * i % 977)).collect();
        fs::write(&path, &text).unwrap();
        let file = InputFile { path: path.to_str().unwrap().to_owned(), bytes: text.len() as u64 };
        let mut job = Job {
            ngram: 1,
            limit: None,
            dfs: format!("memory://verify-{name}"),
            roots: vec![path],
            attempt: 1,
            inputs: vec![file],
            checkpoints: Vec::new(),
        };
        let inputs = Inputs::new(job.inputs.clone()).unwrap();
        let (memory_bytes, thread) = (48 << 20, ShardThread::Inline);
        let config = Config { memory_bytes, thread, ..Config::new(&job.dfs) };
        let engine = Engine::open(config).unwrap();
        let mut session = engine.session(0).unwrap();
        let (store, states) = session.open_store(store_config(&job).unwrap()).unwrap();
        let state = states.value(store, STATE).unwrap();
        let counted = count_all(&mut session, store, state, &inputs, &mut job, folder.path());
        Self { folder, inputs, session, state, counted, _engine: engine }
    }

    fn read_back(&mut self, parts: u32) -> Result<(Verified, String)> {
        let path = self.folder.path().join("counts.tsv");
        let mut read_back = ReadBack {
            inputs: &self.inputs,
            ngram: 1,
            key_groups: KEY_GROUPS,
            counted: &self.counted,
            session: &mut self.session,
            state: self.state,
            verify: true,
            counts: Some(&path),
        };
        let verified = read_back.run_in_parts(parts)?;
        Ok((verified, fs::read_to_string(&path)?))
    }

    fn put(&mut self, word: &str, count: u64) {
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        let key = Key::new(word.as_bytes(), KEY_GROUPS);
        let target = Target { key, namespace: &[], user_data: 0 };
        self.state.request_put(&mut batch, &target, &count.to_le_bytes()).unwrap();
        self.session.submit(&mut batch).unwrap();
        self.session.poll(None, &mut done).unwrap();
        assert_eq!(done.items[0].status, Status::Done);
    }
}

fn count_all(
    session: &mut Session,
    store: StoreId,
    state: ValueState,
    inputs: &Inputs,
    job: &mut Job,
    folder: &Path,
) -> Counted {
    let plan = Plan {
        in_flight: 64,
        key_groups: KEY_GROUPS,
        checkpoint_every: 1000,
        limit: u64::MAX,
        crash_at: u64::MAX,
    };
    let reader = Reader::new(inputs, 1, &Position::default(), Pass::First).unwrap();
    let mut progress = Progress::new("counting", inputs.bytes());
    let job_path = &folder.join("a.job");
    let progress = &mut progress;
    count(count::Parts { session, store, state, reader, job, job_path, progress }, plan).unwrap()
}

#[test]
fn parts_find_what_the_whole_finds() {
    let mut counting = Counting::new("parts");
    let (whole, counts) = counting.read_back(1).unwrap();
    assert_eq!(whole.words, counting.counted.tally.distinct);
    assert_eq!(counts.lines().count() as u64, whole.words);
    let total: u64 =
        counts.lines().map(|l| l.split_once('\t').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(total, 5000);
    for parts in [2, 7, KEY_GROUPS] {
        let (found, same) = counting.read_back(parts).unwrap();
        assert_eq!((found.words, &same), (whole.words, &counts), "{parts} parts");
    }
}

#[test]
fn a_wrong_count_is_named() {
    let mut counting = Counting::new("wrong");
    counting.put("w0", 1);
    let error = counting.read_back(3).unwrap_err().to_string();
    assert!(error.contains("1 words differ") && error.contains("`w0`"), "{error}");
    assert!(error.contains("the store counts 1"), "{error}");
}

#[test]
fn a_word_that_must_be_absent_is_named() {
    let mut counting = Counting::new("absent");
    counting.put("w_", 3);
    let error = counting.read_back(1).unwrap_err().to_string();
    assert!(error.contains("`w_` is not in the input, the store counts 3"), "{error}");
}
