//! Manifests and handles of somebody who may write to the DFS and knows all checksums: each ends
//! in an error, in 256 MiB of memory, and no file outside the root is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aquifer::checkpoint::{self, handle::Handle};
use aquifer::codec::crc::{keyed_crc, object_key};
use aquifer::codec::varint;
use aquifer::io::dfs::Dfs;
use aquifer::limits::{
    KEY_GROUPS_MAX, MANIFEST_BYTES_MAX, MANIFEST_HOT_PAGE_MEMORY_BYTES, MANIFEST_HOT_PAGES_MAX,
    MANIFEST_HOT_TABLE_MEMORY_BYTES, MANIFEST_MEMORY_BYTES_MAX, MANIFEST_RUN_MEMORY_BYTES,
    MANIFEST_TABLE_MEMORY_BYTES, MANIFEST_TABLET_MEMORY_BYTES, MEMORY_MIN_BYTES, PAGE_BYTES,
    STORED_KEY_BYTES_MAX,
};
use aquifer::lsm::manifest::{Manifest, TabletRef};
use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::ControlOp;
use aquifer::sst::TableRef;
use aquifer::sst::meta::TABLE_REF_BYTES;
use aquifer::state::request::{Batch, Completions};
use aquifer::types::error::ErrorKind;
use aquifer::types::object::OBJECT_NAME_BYTES;
use aquifer::types::{Error, Incarnation, ObjectKind, ObjectName};
use aquifer_tests::model::mixture::{everything, write};
use aquifer_tests::model::oracle::{KEY_GROUPS, Model, Op, States, compare, declared};
use aquifer_tests::sim::driver::Answer;
use aquifer_tests::sim::rng::Rng;
use aquifer_tools::objects::Root;
use aquifer_tools::verify::checkpoint::Checker;
use indicatif::ProgressBar;

/// Writable memory of the process that reads what is hostile, KiB.
const MEMORY_KIB: &str = "262144";
/// Set in that process: the file of what it opens.
const LIES: &str = "AQUIFER_HOSTILE_LIES";
const PATIENCE: Duration = Duration::from_secs(60);
const MILLIARD: u64 = 1_000_000_000;
/// Of the current format.
const VERSION: u32 = 2;
const TO_COME: &str = "a version to come";
/// Of `Lies::largest`.
const LARGEST: usize = 12;
/// Of them.
const MANY_TABLETS: usize = 2;
/// Words of errors.
const TOO_MUCH: &str = "more memory than there is for manifests";
const NOT_ASCENDING: &str = "do not ascend";
const FAILED: &str = "requests failed";

/// A manifest that tells lies. Where it is not given, what a store has is taken.
struct Lies {
    whole: Manifest,
    // The next object's number.
    seq: u64,
}

/// The bytes of a manifest, part by part.
struct Parts {
    version: u32,
    key_groups: u32,
    range: (u16, u16),
    states: Vec<u8>,
    tables: Vec<u8>,
    tablets: Vec<u8>,
    hot: Vec<u8>,
}

fn counted(count: u64, items: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(&mut out, count);
    out.extend_from_slice(items);
    out
}

fn span(bytes: &[u8]) -> Vec<u8> {
    counted(bytes.len() as u64, bytes)
}

fn tablet(low: &[u8], runs: &[u64]) -> Vec<u8> {
    let runs_of: Vec<u8> = runs.iter().flat_map(|run| counted(*run, &[])).collect();
    [span(low), counted(runs.len() as u64, &runs_of)].concat()
}

fn tables(refs: &[TableRef]) -> Vec<u8> {
    let refs_of: Vec<u8> = refs.iter().flat_map(TableRef::encode).collect();
    counted(refs.len() as u64, &refs_of)
}

fn hot(table: u64, steps: &[u64]) -> Vec<u8> {
    let steps_of: Vec<u8> = steps.iter().flat_map(|step| counted(*step, &[])).collect();
    [counted(table, &[]), counted(steps.len() as u64, &steps_of)].concat()
}

/// A hostile manifest, for people and by its bytes.
type Lie = (&'static str, Parts);
/// One for people, with words of what comes of it, and the handles to open.
type Try = (String, String, Vec<Vec<u8>>);

impl Lies {
    fn parts(&self) -> Parts {
        let whole = &self.whole;
        let tablets: Vec<u8> = whole
            .tablets
            .iter()
            .flat_map(|TabletRef { low, runs }| {
                tablet(low, &runs.iter().map(|run| u64::from(*run)).collect::<Vec<_>>())
            })
            .collect();
        Parts {
            version: VERSION,
            key_groups: whole.key_groups,
            range: whole.range,
            states: span(&whole.states),
            tables: tables(&whole.tables),
            tablets: counted(whole.tablets.len() as u64, &tablets),
            hot: counted(1, &hot(0, &[0])),
        }
    }

    /// Lengths and counts beyond what follows.
    fn long(&self) -> Vec<Lie> {
        let mut lies = Vec::new();
        for count in [MILLIARD, 1 << 32, 1 << 63, u64::MAX] {
            let ref_of = self.whole.tables[0].encode();
            let states = counted(count, b"x");
            lies.push(("the length of the states", Parts { states, ..self.parts() }));
            let tables = counted(count, &ref_of);
            lies.push(("the count of the tables", Parts { tables, ..self.parts() }));
            let tablets = counted(count, &tablet(b"", &[0]));
            lies.push(("the count of the tablets", Parts { tablets, ..self.parts() }));
            let tablets = counted(1, &counted(count, b"low"));
            lies.push(("the length of a low key", Parts { tablets, ..self.parts() }));
            let tablets = counted(1, &[span(b""), counted(count, &[0])].concat());
            lies.push(("the count of the runs", Parts { tablets, ..self.parts() }));
            let tablets = counted(1, &tablet(b"", &[count]));
            lies.push(("the number of a run", Parts { tablets, ..self.parts() }));
            // The states that a state table counts, and the length of a name in it.
            let states = span(&counted(count, &[0; 3]));
            lies.push(("the count of the states", Parts { states, ..self.parts() }));
            let states = span(&[&[1, 1, 0][..], &counted(count, b"name")].concat());
            lies.push(("the length of a name", Parts { states, ..self.parts() }));
            for (what, hot) in [
                ("the count of tables with hot pages", counted(count, &hot(0, &[0]))),
                ("the number of a table with hot pages", counted(1, &hot(count, &[0]))),
                (
                    "the count of hot pages",
                    counted(1, &[counted(0, &[]), counted(count, &[0])].concat()),
                ),
                ("the number of a hot page", counted(1, &hot(0, &[count]))),
                ("the distance to a hot page", counted(1, &hot(0, &[0, count]))),
            ] {
                lies.push((what, Parts { hot, ..self.parts() }));
            }
        }
        lies
    }

    fn tablets(&self) -> Vec<Lie> {
        let long = vec![1; STORED_KEY_BYTES_MAX + 1];
        let of: [(&str, Vec<Vec<u8>>); 8] = [
            ("no tablets", vec![]),
            ("a first tablet that is not the first", vec![tablet(b"a", &[0])]),
            ("tablets out of order", vec![tablet(b"", &[]), tablet(b"b", &[]), tablet(b"a", &[])]),
            ("tablets that overlap", vec![tablet(b"", &[0]), tablet(b"a", &[]), tablet(b"a", &[])]),
            ("the same tablet twice", vec![tablet(b"", &[0]), tablet(b"", &[0])]),
            ("a table twice in a tablet", vec![tablet(b"", &[0, 0])]),
            ("a run that no table is", vec![tablet(b"", &[self.whole.tables.len() as u64])]),
            ("a low key that is too long", vec![tablet(b"", &[]), tablet(&long, &[])]),
        ];
        let lie = |(what, tablets): (&'static str, Vec<Vec<u8>>)| {
            let tablets = counted(tablets.len() as u64, &tablets.concat());
            (what, Parts { tablets, ..self.parts() })
        };
        of.into_iter().map(lie).collect()
    }

    fn tables(&self, own: ObjectName) -> Vec<Lie> {
        let page = PAGE_BYTES as u64;
        let (first, far) = (self.whole.tables[0], u64::MAX / page * page);
        let of_lengths = |meta_offset: u64, meta_len: u32| TableRef {
            meta_offset,
            meta_len,
            file_bytes: meta_offset.wrapping_add(u64::from(meta_len)).wrapping_add(page),
            ..first
        };
        let longest = 256 << 20;
        let of: [(&str, TableRef); 11] = [
            ("itself as a table", TableRef { name: own, ..first }),
            (
                "a table of its own numbers",
                TableRef { name: ObjectName { kind: ObjectKind::Sst, ..own }, ..first },
            ),
            (
                "a table of no object",
                TableRef { name: ObjectName { seq: u64::MAX, ..first.name }, ..first },
            ),
            ("a resident part of 2^32 bytes", of_lengths(page, u32::MAX)),
            ("an empty resident part", of_lengths(page, 0)),
            ("a resident part at 2^63", of_lengths(1 << 63, first.meta_len)),
            ("a resident part that wraps around", of_lengths(far, first.meta_len)),
            ("a resident part of 256 MiB", of_lengths(0, longest)),
            ("a resident part of 256 MiB at 2^62", of_lengths(1 << 62, longest)),
            ("a file of 2^63 bytes", TableRef { file_bytes: 1 << 63, ..first }),
            ("a checksum of other bytes", TableRef { meta_crc: !first.meta_crc, ..first }),
        ];
        let mut lies = Vec::new();
        for (what, lie) in of {
            // In place of the first, which stands in some tablet.
            let mut refs = self.whole.tables.clone();
            refs[0] = lie;
            lies.push((what, Parts { tables: tables(&refs), ..self.parts() }));
        }
        for (what, second) in [
            ("a table twice", first),
            ("a table twice, with other lengths", of_lengths(first.meta_offset + page, 4096)),
        ] {
            let refs = [&self.whole.tables[..], &[second]].concat();
            lies.push((what, Parts { tables: tables(&refs), ..self.parts() }));
        }
        lies
    }

    fn others(&self) -> Vec<Lie> {
        let trailing = [self.parts().hot, vec![0]].concat();
        let mut lies = vec![
            (TO_COME, Parts { version: VERSION + 1, ..self.parts() }),
            ("hot pages in a version without", Parts { version: 1, ..self.parts() }),
            ("no hot pages where they belong", Parts { hot: vec![], ..self.parts() }),
            ("no key groups", Parts { key_groups: 0, ..self.parts() }),
            ("too many key groups", Parts { key_groups: KEY_GROUPS_MAX + 1, ..self.parts() }),
            ("key groups out of order", Parts { range: (3, 2), ..self.parts() }),
            ("key groups out of range", Parts { range: (0, u16::MAX), ..self.parts() }),
            ("bytes behind the last hot page", Parts { hot: trailing, ..self.parts() }),
        ];
        let end = self.whole.tables[0].file_bytes / PAGE_BYTES as u64;
        for (what, hot) in [
            ("hot pages of no table", vec![hot(self.whole.tables.len() as u64, &[0])]),
            ("hot pages of a table twice", vec![hot(0, &[0]), hot(0, &[1])]),
            ("a table without hot pages among those with some", vec![hot(0, &[])]),
            ("a hot page twice", vec![hot(0, &[1, 0])]),
            ("a hot page behind its table", vec![hot(0, &[end])]),
        ] {
            let hot = counted(hot.len() as u64, &hot.concat());
            lies.push((what, Parts { hot, ..self.parts() }));
        }
        lies
    }

    /// As large as a reader takes, or just larger, with words of what comes of it. What is wrong
    /// comes last, or is that no table is there.
    fn largest(&self, which: usize) -> (&'static str, &'static str, Parts) {
        let left = MANIFEST_MEMORY_BYTES_MAX - (1 << 20);
        let of = |runs: usize, low_bytes: usize| {
            let of_runs = runs * MANIFEST_RUN_MEMORY_BYTES;
            left / (MANIFEST_TABLET_MEMORY_BYTES + of_runs + 3 * low_bytes)
        };
        let (key, bad) = (STORED_KEY_BYTES_MAX, tablet(b"", &[]));
        match which {
            0 => ("4 Mi tablets, one bad", TOO_MUCH, self.many(4 << 20, 4, 0, &bad)),
            1 => ("many tablets, one bad", NOT_ASCENDING, self.many(of(2, 4), 4, 2, &bad)),
            MANY_TABLETS => ("many tablets", FAILED, self.many(of(2, 4), 4, 2, &[])),
            3 => ("many runs", FAILED, self.many(of(100, 4), 4, 100, &[])),
            4 => ("long keys", FAILED, self.many(of(2, key), key, 2, &[])),
            5 => ("longer keys than fit", TOO_MUCH, self.many(28 << 10, key, 2, &[])),
            6 => {
                let states = span(&vec![1; MANIFEST_BYTES_MAX as usize - (1 << 20)]);
                ("states that are none", "state table", Parts { states, ..self.parts() })
            }
            _ => self.largest_tables(which, left),
        }
    }

    fn largest_tables(&self, which: usize, left: usize) -> (&'static str, &'static str, Parts) {
        let of = |refs: &[TableRef]| Parts { tables: tables(refs), ..self.parts() };
        let most = left / MANIFEST_TABLE_MEMORY_BYTES;
        match which {
            7 => {
                let mut refs = self.strangers(most);
                refs.push(refs[0]);
                ("many tables, one twice", "stands twice", of(&refs))
            }
            8 => ("many tables", FAILED, of(&self.strangers(most))),
            9 => {
                let most = MANIFEST_BYTES_MAX as usize / TABLE_REF_BYTES - 10;
                ("more tables than fit", TOO_MUCH, of(&self.strangers(most)))
            }
            10 => {
                let of_hot = MANIFEST_HOT_TABLE_MEMORY_BYTES + MANIFEST_HOT_PAGE_MEMORY_BYTES;
                let refs = self.strangers(left / (MANIFEST_TABLE_MEMORY_BYTES + of_hot));
                let all: Vec<u8> = (0..refs.len() as u64).flat_map(|at| hot(at, &[0])).collect();
                let hot = counted(refs.len() as u64, &all);
                ("many tables with hot pages", FAILED, Parts { hot, ..of(&refs) })
            }
            11 => {
                let hot = counted(1, &hot(0, &vec![1; MANIFEST_HOT_PAGES_MAX]));
                ("many hot pages", FAILED, Parts { hot, ..of(&self.strangers(2)) })
            }
            _ => unreachable!("{which} of {LARGEST}"),
        }
    }

    /// So many tablets with low keys of so many bytes and so many runs, and another behind them.
    fn many(&self, count: usize, low_bytes: usize, runs: usize, last: &[u8]) -> Parts {
        let runs: Vec<u64> = (0..runs as u64).collect();
        // Neighbours that have the same runs are joined.
        let back: Vec<u64> = runs.iter().rev().copied().collect();
        let mut tablets = Vec::new();
        for at in 0..count as u64 {
            let mut low = at.to_be_bytes()[4..].to_vec();
            low.resize(low_bytes, 0);
            let low = if at == 0 { b"" } else { &low[..] };
            tablets.extend(tablet(low, if at.is_multiple_of(2) { &runs } else { &back }));
        }
        tablets.extend_from_slice(last);
        let tablets = counted(count as u64 + u64::from(!last.is_empty()), &tablets);
        let tables = tables(&self.strangers(runs.len()));
        Parts { tables, tablets, hot: counted(0, &[]), ..self.parts() }
    }

    /// References of tables that are not there, two at least.
    fn strangers(&self, count: usize) -> Vec<TableRef> {
        let first = self.whole.tables[0];
        let (file_bytes, page) = (1 << 40, PAGE_BYTES as u64);
        let meta_offset = file_bytes - u64::from(first.meta_len) - page;
        let one = TableRef { file_bytes, meta_offset, ..first };
        let name = |seq| ObjectName { seq: seq + MILLIARD, ..one.name };
        (0..count.max(2) as u64).map(|seq| TableRef { name: name(seq), ..one }).collect()
    }

    fn next_name(&mut self) -> ObjectName {
        self.seq += 1;
        let incarnation = Incarnation { host_epoch: 66, nonce: 6 };
        ObjectName { store: 6, incarnation, kind: ObjectKind::Manifest, seq: self.seq, rand: 6 }
    }
}

impl Parts {
    fn bytes(&self, name: &ObjectName) -> Vec<u8> {
        let mut out = b"AQUIMAN1".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(6_u64.to_le_bytes());
        out.extend(self.key_groups.to_le_bytes());
        out.extend(self.range.0.to_le_bytes());
        out.extend(self.range.1.to_le_bytes());
        for part in [&self.states, &self.tables, &self.tablets, &self.hot] {
            out.extend(part);
        }
        let crc = keyed_crc(object_key(name), 0, &out);
        out.extend(crc.to_le_bytes());
        out
    }
}

/// What the process with little memory is told: the root, the handle of an honest checkpoint, and
/// what to open.
type Told = (String, Vec<u8>, Vec<Try>);

/// An engine that is asked to open what is hostile.
struct Reader {
    root: String,
    session: Session,
    model: Model,
    _engine: Engine,
}

impl Reader {
    fn new(root: &str) -> Self {
        let io = aquifer_tests::io_mode();
        let (memory_bytes, thread) = (MEMORY_MIN_BYTES, ShardThread::Inline);
        let config = Config { memory_bytes, thread, io, ..Config::new(format!("file://{root}")) };
        let engine = Engine::open(config).unwrap();
        let (session, mut model) = (engine.session(0).unwrap(), Model::default());
        writes().iter().for_each(|op| drop(model.apply(op)));
        Self { root: root.to_owned(), session, model, _engine: engine }
    }

    fn run(&mut self, states: &States, ops: &[Op]) -> Vec<Answer> {
        let mut answers = vec![None; ops.len()];
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        for (at, op) in ops.iter().enumerate() {
            states.request(&mut batch, op, at as u64).unwrap();
        }
        while self.session.in_flight() > 0 || !batch.requests.is_empty() {
            self.session.submit(&mut batch).unwrap();
            let count = self.session.poll(Some(PATIENCE), &mut done).unwrap();
            assert!(count > 0, "{} requests hang", self.session.in_flight());
            for item in &done.items {
                answers[item.user_data as usize] = Some(Answer::of(&done, item));
            }
        }
        answers.into_iter().map(|answer| answer.expect("answered once")).collect()
    }

    /// Opens checkpoints and asks for everything. Counts the requests that failed; no other answer
    /// is wrong.
    fn open(&mut self, handles: &[Vec<u8>]) -> Result<usize, Error> {
        let handles = handles.to_vec();
        let config = StoreConfig { states: declared(), handles, ..StoreConfig::new(1, KEY_GROUPS) };
        let (store, table) = self.session.open_store(config)?;
        let states = States::of(store, &table).expect("declared");
        let ops = everything();
        let mut failed = 0;
        for (op, answer) in ops.iter().zip(self.run(&states, &ops)) {
            match answer {
                Answer::Failed(..) => failed += 1,
                answer => compare(&self.model.apply(op), &answer).unwrap(),
            }
        }
        self.session.run_control(ControlOp::Close(store)).unwrap();
        Ok(failed)
    }

    /// The handle of an honest checkpoint.
    fn honest(&mut self) -> Vec<u8> {
        let config = StoreConfig { states: declared(), ..StoreConfig::new(1, KEY_GROUPS) };
        let (store, table) = self.session.open_store(config).unwrap();
        let states = States::of(store, &table).unwrap();
        assert!(self.run(&states, &writes()).iter().all(|answer| *answer == Answer::Done));
        let handle = self.session.checkpoint(store).unwrap();
        self.session.run_control(ControlOp::Close(store)).unwrap();
        handle
    }

    /// Neither the engine nor the tools take it.
    fn refuses(&mut self, (what, why, handles): &Try) {
        let came = match self.open(handles) {
            Ok(failed) => format!("{failed} requests failed"),
            Err(error) => error.to_string(),
        };
        println!("{what}: {came}");
        assert!(came.contains(why) && came != "0 requests failed", "{what}: {came}");
        // The tools open each by itself.
        let [handle] = &handles[..] else { return };
        let root = Root::of_url(&self.root).unwrap();
        let checked = Checker::new(root, true, ProgressBar::hidden()).check(handle);
        assert!(!checked.faults.is_empty(), "{what} is whole to the tools");
    }
}

/// What the honest checkpoint holds.
fn writes() -> Vec<Op> {
    let mut rng = Rng::new(1);
    (0..600).map(|_| write(&mut rng)).collect()
}

/// Runs in the process with little memory.
fn open_all(told: &str) {
    let (root, honest, lies): Told = serde_json::from_slice(&fs::read(told).unwrap()).unwrap();
    let mut reader = Reader::new(&root);
    lies.iter().for_each(|lie| reader.refuses(lie));
    assert_eq!(reader.open(&[honest]).unwrap(), 0);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
}

/// A root with an honest checkpoint, in a folder that has other files.
struct Place {
    folder: tempfile::TempDir,
    root: PathBuf,
    dfs: Dfs,
    honest: Vec<u8>,
    lies: Lies,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // What a path out of the root would find.
        let root = folder.path().join("a/b/root");
        fs::create_dir_all(&root).unwrap();
        for beside in ["manifest", "a/manifest", "a/b/sst", "a/b/root-2"] {
            fs::write(folder.path().join(beside), beside).unwrap();
        }
        let mut reader = Reader::new(root.to_str().unwrap());
        let honest = reader.honest();
        let dfs = Dfs::open(&format!("file://{}", root.display())).unwrap();
        let name = Handle::decode(&honest[..]).unwrap().manifest;
        let bytes = dfs.load(&name, MANIFEST_BYTES_MAX).unwrap();
        let whole = Manifest::decode(&name, &bytes[..]).unwrap();
        let mut place = Self { folder, root, dfs, honest, lies: Lies { whole, seq: 0 } };
        // Without a lie it is opened.
        let truth = place.put(None, &place.lies.parts());
        assert_eq!(reader.open(&[truth]).unwrap(), 0);
        place
    }

    /// The handle of a manifest, of this name or of the next one.
    fn put(&mut self, name: Option<ObjectName>, parts: &Parts) -> Vec<u8> {
        let name = name.unwrap_or_else(|| self.lies.next_name());
        let bytes = parts.bytes(&name);
        self.dfs.put(&name, &bytes).unwrap();
        Handle::of(name, &bytes).encode()
    }

    /// Handles whose manifests have other lengths than they say, up to 2^63.
    fn of_other_lengths(&mut self) -> Vec<Try> {
        let lengths = [
            (u64::MAX, 10),
            (1 << 63, 10),
            (MANIFEST_BYTES_MAX + 1, 10),
            (MANIFEST_BYTES_MAX, 10),
            (10, MILLIARD * 73),
            (1 << 63, MILLIARD * 73),
            (MANIFEST_BYTES_MAX / 2, MANIFEST_BYTES_MAX / 2),
            (MANIFEST_BYTES_MAX, MANIFEST_BYTES_MAX),
        ];
        let of_one = |(told, there)| {
            let name = self.lies.next_name();
            let file = fs::File::create(self.root.join(name.to_string())).unwrap();
            file.set_len(there).unwrap();
            let handle = Handle { manifest: name, manifest_bytes: told, manifest_hash: 7 };
            (format!("{told} bytes of {there}"), String::new(), vec![handle.encode()])
        };
        lengths.map(of_one).into()
    }

    /// Has a process with little memory open all of them.
    fn open(&self, lies: Vec<Try>) {
        let told: Told = (self.root.to_str().unwrap().to_owned(), self.honest.clone(), lies);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, serde_json::to_vec(&told).unwrap()).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -d {MEMORY_KIB} && exec \"$0\" \"$@\"")]);
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", "hostile_manifests_end_in_an_error_in_little_memory"]);
        let output = command.arg("--nocapture").env(LIES, file.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = said + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{}: {said}", output.status);
        println!("{said}");
    }

    /// All files beside the root.
    fn outside(&self) -> Vec<(String, Vec<u8>)> {
        tree(self.folder.path(), &self.root)
    }
}

/// Paths below a folder without those below another, with the bytes of files.
fn tree(folder: &Path, without: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let told = path.display().to_string();
        if path == without {
            all.push((told, Vec::new()));
        } else if path.is_dir() {
            all.push((told, Vec::new()));
            all.extend(tree(&path, without));
        } else {
            all.push((told, fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn hostile_manifests_end_in_an_error_in_little_memory() {
    if let Ok(told) = std::env::var(LIES) {
        return open_all(&told);
    }
    let mut place = Place::new();
    let before = place.outside();
    let own = place.lies.next_name();
    let lies = &place.lies;
    let all = [lies.long(), lies.tablets(), lies.tables(own), lies.others()];
    let mut small = place.of_other_lengths();
    for (at, (what, parts)) in all.into_iter().flatten().enumerate() {
        // One of them names itself.
        let name = (what == "itself as a table").then_some(own);
        let why =
            if what == TO_COME { format!("is of format {}", VERSION + 1) } else { String::new() };
        small.push((format!("{at}, {what}"), why, vec![place.put(name, &parts)]));
    }
    place.open(small);
    for which in 0..LARGEST {
        let (what, why, parts) = place.lies.largest(which);
        let handle = place.put(None, &parts);
        place.open(vec![(what.to_owned(), why.to_owned(), vec![handle])]);
        if which == MANY_TABLETS {
            // Several that are opened together have the memory of one.
            let three = (0..3).map(|_| place.put(None, &parts)).collect();
            place.open(vec![(format!("three times {what}"), TOO_MUCH.to_owned(), three)]);
        }
    }
    assert_eq!(place.outside(), before);
}

/// A manifest that takes so much memory or up to two bytes less, of a store.
fn of_memory(lies: &Lies, store: u64, memory_bytes: usize) -> Manifest {
    let (tables, hot) = (lies.strangers(2), Vec::new());
    let tablet = |at: u64| TabletRef {
        low: if at == 0 { Box::default() } else { at.to_be_bytes()[4..].into() },
        runs: if at.is_multiple_of(2) { vec![0, 1] } else { vec![1, 0] },
    };
    let whole = Manifest { store, tables, hot, tablets: vec![tablet(0)], ..lies.whole.clone() };
    let left = memory_bytes - whole.memory_bytes();
    let of_one = MANIFEST_TABLET_MEMORY_BYTES + 3 * 4 + 2 * MANIFEST_RUN_MEMORY_BYTES;
    let mut tablets: Vec<TabletRef> = (0..=(left / of_one) as u64).map(tablet).collect();
    let last = tablets.last_mut().unwrap();
    last.low = [&last.low, &vec![0; left % of_one / 3][..]].concat().into();
    Manifest { tablets, ..whole }
}

#[test]
fn a_checkpoint_that_nobody_could_open_fails() {
    let mut place = Place::new();
    let name = place.lies.next_name();
    let bytes = of_memory(&place.lies, 6, MANIFEST_MEMORY_BYTES_MAX).to_object(&name).unwrap();
    place.dfs.put(&name, &bytes).unwrap();
    let mut reader = Reader::new(place.root.to_str().unwrap());
    let (states, handles) = (declared(), vec![Handle::of(name, &bytes).encode()]);
    // The key groups that it leaves out make a tablet more.
    let range = (0, KEY_GROUPS as u16 - 2);
    let config = StoreConfig { states, handles, range, ..StoreConfig::new(1, KEY_GROUPS) };
    let (store, _) = reader.session.open_store(config).unwrap();
    for _ in 0..2 {
        let error = reader.session.checkpoint(store).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
        assert!(error.text.contains("use more stores of fewer key groups"), "{error}");
    }
}

#[test]
fn a_store_opens_though_memory_is_too_short_for_its_older_checkpoints() {
    let mut place = Place::new();
    for (store, percent) in [(1, 60), (2, 100)] {
        let manifest = of_memory(&place.lies, store, MANIFEST_MEMORY_BYTES_MAX / 100 * percent);
        let mut put = || {
            let name = ObjectName { store, ..place.lies.next_name() };
            let bytes = manifest.to_object(&name).unwrap();
            place.dfs.put(&name, &bytes).unwrap();
            Handle::of(name, &bytes)
        };
        let kept = vec![put(), put(), put()];
        let incarnation = kept[0].manifest.incarnation;
        let root = checkpoint::root::Root { store, number: 1, incarnation, kept };
        place.dfs.put(&root.name(), &root.encode()).unwrap();
        // Whichever is read first.
        for _ in 0..3 {
            let mut reader = Reader::new(place.root.to_str().unwrap());
            let (states, keep) = (declared(), 3);
            let config = StoreConfig { states, keep, ..StoreConfig::new(store, KEY_GROUPS) };
            reader.session.open_store(config).unwrap();
        }
    }
}

#[test]
fn no_bytes_name_a_path_outside_the_root() {
    let mut rng = Rng::new(1);
    let mut names = 0;
    for round in 0..200_000_u32 {
        let mut bytes = [0; OBJECT_NAME_BYTES];
        let some = *b"../../../etc/passwd\0//../..\\..\\~root/../../../.././..";
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = if round % 3 == 0 { some[at] } else { rng.next_u64() as u8 };
        }
        if round % 2 == 0 {
            bytes[32] = 1 + (round / 2 % 2) as u8;
        }
        let Some(name) = ObjectName::decode(&bytes) else { continue };
        names += 1;
        let path = name.to_string();
        let parts: Vec<&str> = path.split('/').collect();
        assert_eq!(parts.len(), 3, "{path}");
        let fits = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        assert!(parts.iter().all(fits), "{path}");
        assert_eq!(path.parse::<ObjectName>().unwrap(), name);
    }
    assert!(names > 50_000);
    let whole = ObjectName::decode(&[1; OBJECT_NAME_BYTES]).unwrap().to_string();
    for path in [
        format!("../{whole}"),
        format!("/{whole}"),
        format!("./{whole}"),
        format!("{whole}/.."),
        format!("{whole}\0"),
        whole.replacen('/', "/../", 1),
        whole.replace('0', "+"),
        whole.replacen('/', "//", 1),
        whole.to_uppercase(),
        "../../etc/passwd".to_owned(),
    ] {
        assert!(path.parse::<ObjectName>().is_err(), "{path}");
    }
}
