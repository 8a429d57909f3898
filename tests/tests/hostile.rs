//! Manifests and handles of somebody who may write to the DFS and knows all checksums: each ends
//! in an error, in 256 MiB of memory, and no file outside the root is touched.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aquifer::checkpoint::handle::Handle;
use aquifer::codec::crc::{keyed_crc, object_key};
use aquifer::codec::varint;
use aquifer::io::dfs::Dfs;
use aquifer::limits::{
    KEY_GROUPS_MAX, MANIFEST_BYTES_MAX, MEMORY_MIN_BYTES, PAGE_BYTES, STORED_KEY_BYTES_MAX,
};
use aquifer::lsm::manifest::{Manifest, TabletRef};
use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::ControlOp;
use aquifer::sst::TableRef;
use aquifer::state::request::{Batch, Completions};
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
/// Set in that process: the root.
const ROOT: &str = "AQUIFER_HOSTILE_ROOT";
const PATIENCE: Duration = Duration::from_secs(60);
const MILLIARD: u64 = 1_000_000_000;
/// Of a manifest that is long for what it says: its reader takes ten times as much.
const LONG_BYTES: usize = 8 << 20;

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

/// A hostile manifest, for people and by its bytes.
type Lie = (&'static str, Parts);

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
            version: 1,
            key_groups: whole.key_groups,
            range: whole.range,
            states: span(&whole.states),
            tables: tables(&whole.tables),
            tablets: counted(whole.tablets.len() as u64, &tablets),
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
        let trailing = [self.parts().tablets, vec![0]].concat();
        let mut lies = vec![
            ("a version to come", Parts { version: 2, ..self.parts() }),
            ("no key groups", Parts { key_groups: 0, ..self.parts() }),
            ("too many key groups", Parts { key_groups: KEY_GROUPS_MAX + 1, ..self.parts() }),
            ("key groups out of order", Parts { range: (3, 2), ..self.parts() }),
            ("key groups out of range", Parts { range: (0, u16::MAX), ..self.parts() }),
            ("bytes behind the last tablet", Parts { tablets: trailing, ..self.parts() }),
        ];
        // What is wrong comes last.
        let mut low = 0_u64;
        let mut tablets = tablet(b"", &[]);
        while tablets.len() < LONG_BYTES {
            low += 1;
            tablets.extend(tablet(&low.to_be_bytes()[5..], &[]));
        }
        tablets.extend(tablet(b"", &[]));
        let tablets = counted(low + 2, &tablets);
        lies.push(("a tablet out of order behind many", Parts { tablets, ..self.parts() }));
        let one = self.whole.tables[0];
        let name = |seq| ObjectName { seq, ..one.name };
        let many = (0..LONG_BYTES as u64 / 73).map(|seq| TableRef { name: name(seq), ..one });
        let refs: Vec<TableRef> = many.chain([TableRef { name: name(0), ..one }]).collect();
        lies.push(("a table twice among many", Parts { tables: tables(&refs), ..self.parts() }));
        lies
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
        out.extend([&self.states[..], &self.tables, &self.tablets].concat());
        let crc = keyed_crc(object_key(name), 0, &out);
        out.extend(crc.to_le_bytes());
        out
    }
}

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
        let (session, model) = (engine.session(0).unwrap(), Model::default());
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

    /// Opens a checkpoint and asks for everything. Counts the requests that failed; no other
    /// answer is wrong.
    fn open(&mut self, handle: &[u8]) -> Result<usize, Error> {
        let handles = vec![handle.to_vec()];
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
        let mut rng = Rng::new(1);
        let ops: Vec<Op> = (0..600).map(|_| write(&mut rng)).collect();
        ops.iter().for_each(|op| drop(self.model.apply(op)));
        assert!(self.run(&states, &ops).iter().all(|answer| *answer == Answer::Done));
        let handle = self.session.checkpoint(store).unwrap();
        self.session.run_control(ControlOp::Close(store)).unwrap();
        handle
    }

    /// Neither the engine nor the tools take it.
    fn refuses(&mut self, what: &str, handle: &[u8]) {
        match self.open(handle) {
            Ok(failed) => assert!(failed > 0, "{what} was opened, and nothing failed"),
            Err(error) => println!("{what}: {error}"),
        }
        let root = Root::of_url(&self.root).unwrap();
        let checked = Checker::new(root, true, ProgressBar::hidden()).check(handle);
        assert!(!checked.faults.is_empty(), "{what} is whole to the tools");
    }
}

/// What runs with little memory.
fn read_all(root: &str) {
    let mut reader = Reader::new(root);
    let honest = reader.honest();
    let dfs = Dfs::open(&format!("file://{root}")).unwrap();
    let name = Handle::decode(&honest[..]).unwrap().manifest;
    let bytes = dfs.load(&name, MANIFEST_BYTES_MAX).unwrap();
    let whole = Manifest::decode(&name, &bytes[..]).unwrap();
    let mut lies = Lies { whole, seq: 0 };
    // Without a lie it is opened.
    let own = lies.next_name();
    let truth = lies.parts().bytes(&own);
    dfs.put(&own, &truth).unwrap();
    assert_eq!(reader.open(&Handle::of(own, &truth).encode()).unwrap(), 0);

    let own = lies.next_name();
    let all = [lies.long(), lies.tablets(), lies.tables(own), lies.others()];
    for (at, (what, parts)) in all.into_iter().flatten().enumerate() {
        // One of them names itself.
        let name = if what == "itself as a table" { own } else { lies.next_name() };
        let bytes = parts.bytes(&name);
        dfs.put(&name, &bytes).unwrap();
        reader.refuses(&format!("{at}, {what}"), &Handle::of(name, &bytes).encode());
    }
    // Handles whose manifests have other lengths than they say, up to 2^63.
    for (told, there) in [
        (u64::MAX, 10),
        (1 << 63, 10),
        (MANIFEST_BYTES_MAX + 1, 10),
        (MANIFEST_BYTES_MAX, 10),
        (10, MILLIARD * 73),
        (1 << 63, MILLIARD * 73),
        (100 << 20, 100 << 20),
        (MANIFEST_BYTES_MAX, MANIFEST_BYTES_MAX),
    ] {
        let name = lies.next_name();
        let file = fs::File::create(Path::new(root).join(name.to_string())).unwrap();
        file.set_len(there).unwrap();
        let handle = Handle { manifest: name, manifest_bytes: told, manifest_hash: 7 };
        reader.refuses(&format!("{told} bytes of {there}"), &handle.encode());
    }
    assert_eq!(reader.open(&honest).unwrap(), 0);
}

/// Paths below a folder, with the bytes of small files.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let told = path.display().to_string();
        if path.is_dir() {
            all.push((told, Vec::new()));
            all.extend(tree(&path));
        } else {
            all.push((told, fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn hostile_manifests_end_in_an_error_in_little_memory() {
    if let Ok(root) = std::env::var(ROOT) {
        return read_all(&root);
    }
    let folder = tempfile::tempdir().unwrap();
    // What a path out of the root would find.
    let root = folder.path().join("a/b/root");
    fs::create_dir_all(&root).unwrap();
    for beside in ["manifest", "a/manifest", "a/b/sst", "a/b/root-2"] {
        fs::write(folder.path().join(beside), beside).unwrap();
    }
    let outside = |tree: Vec<(String, Vec<u8>)>| {
        let inside = format!("{}/", root.display());
        tree.into_iter().filter(|(path, _)| !path.starts_with(&inside)).collect::<Vec<_>>()
    };
    let before = outside(tree(folder.path()));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -d {MEMORY_KIB} && exec \"$0\" \"$@\"")]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "hostile_manifests_end_in_an_error_in_little_memory"]);
    let output = command.arg("--nocapture").env(ROOT, &root).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{}: {said}", output.status);
    println!("{said}");
    // Holes of files of 73 GB are not read here.
    fs::remove_dir_all(&root).unwrap();
    fs::create_dir(&root).unwrap();
    assert_eq!(outside(tree(folder.path())), before);
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
