//! A process that is stopped in the middle of a checkpoint or of deletions, given up, and goes on
//! when another has restored, written and deleted: nothing that anybody needs is lost.
//!
//! The test is the host that commits checkpoints. It starts the processes: this program again,
//! which obeys lines on its standard input. `AQUIFER_ZOMBIES=n` makes n rounds. Whether a process
//! was in the midst of something when it was stopped is chance: rounds are added until each kind
//! was met.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use aquifer::checkpoint::handle::Handle;
use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer::state::request::{Batch, Completions, StoreId};
use aquifer::types::ObjectName;
use aquifer_tests::model::mixture::{everything, write};
use aquifer_tests::model::oracle::{KEY_GROUPS, Model, Op, States, compare, declared};
use aquifer_tests::sim::driver::Answer;
use aquifer_tests::sim::rng::Rng;
use aquifer_tools::objects::Root;
use aquifer_tools::verify::checkpoint::Checker;
use indicatif::ProgressBar;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Rounds of an ordinary run.
const ROUNDS: u64 = 10;
/// Rounds after which each kind was met, or never is.
const ROUNDS_MAX: u64 = 20;
const WRITES: usize = 1500;
/// Set in a process of an engine: its root.
const ROOT: &str = "AQUIFER_ZOMBIE_ROOT";
/// What its answers begin with, among what the test harness prints.
const MARK: &str = "=> ";
/// An answer takes some milliseconds: who waits for this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store in an engine of this process.
struct Store {
    session: Session,
    id: StoreId,
    states: States,
    _engine: Engine,
}

impl Store {
    fn open(root: &str, host_epoch: u64, handle: Option<Vec<u8>>) -> Self {
        let io = aquifer_tests::io_mode();
        let (memory_bytes, thread) = (MEMORY_MIN_BYTES, ShardThread::Owned);
        // Long enough to be stopped in the midst of it.
        let dfs = format!("file://{root}?latency=1ms");
        let config = Config { memory_bytes, thread, io, ..Config::new(dfs) };
        let engine = Engine::open(config).expect("a folder");
        let mut session = engine.session(0).expect("the first one");
        let config = StoreConfig {
            states: declared(),
            host_epoch,
            handles: handle.into_iter().collect(),
            ..StoreConfig::new(1, KEY_GROUPS)
        };
        let (id, table) = session.open_store(config).expect("its checkpoint is whole");
        let states = States::of(id, &table).expect("declared");
        Self { session, id, states, _engine: engine }
    }

    fn run(&mut self, ops: &[Op]) -> Vec<Answer> {
        let mut answers = vec![None; ops.len()];
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        for (at, op) in ops.iter().enumerate() {
            self.states.request(&mut batch, op, at as u64).expect("within the limits");
        }
        while self.session.in_flight() > 0 || !batch.requests.is_empty() {
            self.session.submit(&mut batch).expect("the shard lives");
            let count = self.session.poll(Some(PATIENCE), &mut done).expect("the shard lives");
            assert!(count > 0, "{} requests hang", self.session.in_flight());
            for item in &done.items {
                answers[item.user_data as usize] = Some(Answer::of(&done, item));
            }
        }
        answers.into_iter().map(|answer| answer.expect("answered once")).collect()
    }

    /// What a command is answered with.
    fn obey(&mut self, line: &str) -> String {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        let result = match command {
            "write" => {
                let answers = self.run(&writes(argument.parse().expect("a seed")));
                let failed = answers.iter().find(|answer| **answer != Answer::Done);
                return failed.map_or("done".to_owned(), |answer| format!("failed {answer:?}"));
            }
            "checkpoint" => self.session.run_control(ControlOp::Checkpoint(self.id)),
            "drain" => self.session.run_control(ControlOp::Drain(self.id)),
            "release" => self.session.run_control(ControlOp::Release(self.id, bytes_of(argument))),
            "claim" => {
                let handles = argument.split(' ').map(bytes_of).collect();
                self.session.run_control(ControlOp::Claim(self.id, handles))
            }
            other => panic!("{other}?"),
        };
        match result {
            Ok(ControlResult::Handle(handle)) => hex(&handle),
            Ok(_) => "done".to_owned(),
            Err(error) => format!("failed {error}"),
        }
    }
}

fn writes(seed: u64) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    (0..WRITES).map(|_| write(&mut rng)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string");
        out
    })
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The process of an engine: the first line is its host epoch and the handle it opens.
fn obey(root: &str) {
    let mut lines = std::io::stdin().lines().map(|line| line.expect("text"));
    let first = lines.next().expect("how to open");
    let (epoch, handle) = first.split_once(' ').expect("both");
    let handle = (!handle.is_empty()).then(|| bytes_of(handle));
    let mut store = Store::open(root, epoch.parse().expect("a number"), handle);
    println!("{MARK}open");
    for line in lines {
        println!("{MARK}{}", store.obey(&line));
    }
}

/// A process of an engine.
struct Process {
    child: Child,
    said: Receiver<String>,
}

impl Process {
    fn start(root: &Path, host_epoch: u64, handle: &[u8]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "zombies_harm_nobody", "--nocapture"])
            .env(ROOT, root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let stdout = child.stdout.take().expect("a pipe");
        let mut process = Self { child, said: lines(stdout) };
        process.tell(&format!("{host_epoch} {}", hex(handle)));
        assert_eq!(process.hears(), "open");
        process
    }

    fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{line}").expect("it lives");
    }

    fn hears(&self) -> String {
        self.said.recv_timeout(PATIENCE).expect("it answers")
    }

    fn does(&mut self, line: &str) -> String {
        self.tell(line);
        self.hears()
    }

    fn done(&mut self, line: &str) {
        assert_eq!(self.does(line), "done", "{line:.20}");
    }

    /// Writes, and says so to the model.
    fn writes(&mut self, seed: u64, model: &mut Model) {
        self.done(&format!("write {seed}"));
        writes(seed).iter().for_each(|op| drop(model.apply(op)));
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        bytes_of(&self.does("checkpoint"))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is a child");
    }

    /// It ends by itself.
    fn ends(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that ended cannot be killed any more.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (send, said) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The harness may not have ended its own line.
            if let Some((_, answer)) = line.split_once(MARK)
                && send.send(answer.to_owned()).is_err()
            {
                break;
            }
        }
    });
    said
}

/// A checkpoint that the host keeps, and what it holds.
struct Kept {
    handle: Vec<u8>,
    model: Model,
}

/// The objects that a checkpoint needs.
fn needed(root: &Root, kept: &Kept) -> BTreeSet<ObjectName> {
    let handle = Handle::decode(kept.handle.as_slice()).expect("whole");
    let manifest = root.manifest(&handle).expect("it was committed");
    manifest.tables.iter().map(|table| table.name).chain([handle.manifest]).collect()
}

/// Everything a checkpoint holds is there, byte by byte and row by row.
fn check(root: &Path, kept: &Kept) {
    let objects = Root::of_url(root.to_str().expect("text")).expect("a folder");
    let checked = Checker::new(objects, true, ProgressBar::hidden()).check(&kept.handle);
    assert!(checked.faults.is_empty(), "{:#?}", checked.faults);
    let mut store = Store::open(root.to_str().expect("text"), 99, Some(kept.handle.clone()));
    let (ops, mut model) = (everything(), kept.model.clone());
    for (op, answer) in ops.iter().zip(store.run(&ops)) {
        if let Err(difference) = compare(&model.apply(op), &answer) {
            panic!("{op:?}: {difference}");
        }
    }
}

/// Of some objects, how many are there.
fn left(root: &Path, names: &BTreeSet<ObjectName>) -> usize {
    names.iter().filter(|name| root.join(name.to_string()).exists()).count()
}

/// Returns when there is so much of something.
fn wait_for(enough: usize, have: impl Fn() -> usize) {
    let begun = Instant::now();
    while have() < enough {
        assert!(begun.elapsed() < PATIENCE, "{} of {enough}", have());
        std::thread::yield_now();
    }
}

/// What a round saw: whether the zombie was stopped in the midst, of deletes or a checkpoint.
struct Round {
    midst: bool,
    deletes: bool,
    claims: bool,
}

fn round(seed: u64) -> Round {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let mut rng = Rng::new(seed);
    // Draws of neighbouring seeds are not alike.
    let (claims, deletes) = (rng.below(2) == 0, seed.is_multiple_of(2));
    let mut model = Model::default();
    let mut zombie = Process::start(root, 1, &[]);
    let objects = Root::of_url(root.to_str().expect("text")).expect("a folder");
    let mut doomed = BTreeSet::new();
    let mut kept = Vec::new();
    let mut took = Duration::ZERO;
    for part in 0..3 {
        zombie.writes(seed * 100 + part, &mut model);
        let begun = Instant::now();
        let handle = zombie.checkpoint();
        took = begun.elapsed();
        kept.push(Kept { handle, model: model.clone() });
    }
    // What it is in the midst of: a checkpoint, or deletes of the first one's objects.
    zombie.done(&format!("write {}", seed * 100 + 3));
    if deletes {
        zombie.done("drain");
        let first = kept.remove(0);
        doomed = needed(&objects, &first);
        kept.iter().for_each(|kept| doomed = &doomed - &needed(&objects, kept));
        zombie.tell(&format!("release {}", hex(&first.handle)));
        wait_for(rng.below(doomed.len()), || doomed.len() - left(root, &doomed));
    } else {
        zombie.tell("checkpoint");
        std::thread::sleep(took * rng.below(1000) as u32 / 1000);
    }
    zombie.signal(Signal::SIGSTOP);
    let answered = zombie.said.try_recv().is_ok();
    let midst = if deletes { left(root, &doomed) > 0 } else { !answered };

    // Another takes its place.
    let newest = kept.last().expect("three, or two").handle.clone();
    model = kept.last().expect("the same").model.clone();
    let mut other = Process::start(root, 2, &newest);
    if claims {
        let all: Vec<String> = kept.iter().map(|kept| hex(&kept.handle)).collect();
        other.done(&format!("claim {}", all.join(" ")));
    }
    let mut own = Vec::new();
    for part in 4..7 {
        other.writes(seed * 100 + part, &mut model);
        other.done("drain");
        own.push(Kept { handle: other.checkpoint(), model: model.clone() });
    }
    let last = own.pop().expect("three of them");
    // Claimed ones are its own too; others stay with the host.
    let released = own.into_iter().chain(if claims { std::mem::take(&mut kept) } else { vec![] });
    for checkpoint in released {
        other.done(&format!("release {}", hex(&checkpoint.handle)));
    }

    // It goes on as if nothing had happened. What it needs may be gone: it was given up.
    zombie.signal(Signal::SIGCONT);
    if !answered {
        zombie.hears();
    }
    for part in 7..9 {
        zombie.does(&format!("write {}", seed * 100 + part));
        zombie.does("drain");
        zombie.does("checkpoint");
    }
    check(root, &last);
    kept.iter().for_each(|kept| check(root, kept));
    zombie.ends();
    other.ends();
    check(root, &last);
    Round { midst, deletes, claims }
}

#[test]
fn zombies_harm_nobody() {
    if let Ok(root) = std::env::var(ROOT) {
        return obey(&root);
    }
    let rounds = std::env::var("AQUIFER_ZOMBIES").ok().map(|n| n.parse().expect("a number"));
    let ordinary = rounds.unwrap_or(ROUNDS);
    let (mut cuts, mut deletes, mut claims, mut of) = (0, 0, 0, 0);
    while of < ordinary || (cuts.min(deletes) == 0 && of < ordinary.max(ROUNDS_MAX)) {
        of += 1;
        let round = round(of);
        cuts += u64::from(round.midst && !round.deletes);
        deletes += u64::from(round.midst && round.deletes);
        claims += u64::from(round.claims);
    }
    println!("{of} rounds: stopped in {cuts} checkpoints and {deletes} deletions; {claims} claims");
    assert!(cuts > 0, "nobody was ever stopped in the midst of a checkpoint");
    assert!(deletes > 0, "nobody was ever stopped in the midst of deletions");
}
