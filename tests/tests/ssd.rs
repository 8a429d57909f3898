//! The cache on the local SSD of a real engine, which is murdered in every way: no answer changes.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use aquifer::cache::ssd::SsdCounters;
use aquifer::limits::{MEMORY_MIN_BYTES, PAGE_BYTES};
use aquifer::shard::engine::{Config, Engine, ShardThread, SsdConfig, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::statistics::ShardStatistics;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer_tests::said;
use log::LevelFilter;

const KEY_GROUPS: u32 = 16;
/// Of values that take a page each: more than memory holds, and less than the cache does.
const KEYS: u64 = 16_000;
const VALUE_BYTES: usize = 3_000;
const BATCH: u64 = 128;
/// Takes all pages.
const SSD_BYTES: u64 = 96 << 20;

struct Host {
    session: Session,
    store: StoreId,
    states: StateTable,
    // Dropped behind the session.
    _engine: Engine,
}

impl Host {
    fn open(dfs: &Path, ssd: &Path, thread: ShardThread, handle: Option<&[u8]>) -> Self {
        Self::with_spare(dfs, ssd, thread, handle, 0)
    }

    fn with_spare(
        dfs: &Path,
        ssd: &Path,
        thread: ShardThread,
        handle: Option<&[u8]>,
        spare_bytes: u64,
    ) -> Self {
        let (io, memory_bytes) = (aquifer_tests::io_mode(), MEMORY_MIN_BYTES);
        let ssd = Some(SsdConfig { spare_bytes, ..SsdConfig::new(ssd, SSD_BYTES) });
        let config = Config { memory_bytes, thread, io, ssd, ..Config::new(dfs.to_str().unwrap()) };
        let engine = Engine::open(config).unwrap();
        let mut session = engine.session(0).unwrap();
        let mut states = StateTable::default();
        states.declare("v", StateKind::Value).unwrap();
        let handles = handle.map(<[u8]>::to_vec).into_iter().collect();
        let config = StoreConfig { states, handles, ..StoreConfig::new(1, KEY_GROUPS) };
        let (store, states) = session.open_store(config).unwrap();
        Self { session, store, states, _engine: engine }
    }

    fn each(&mut self, writes: bool) {
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        let (mut next, mut ended) = (0, 0);
        while ended < KEYS {
            while next < KEYS && next - ended < BATCH {
                let bytes = next.to_be_bytes();
                let target =
                    Target { key: Key::new(&bytes, KEY_GROUPS), namespace: &[], user_data: next };
                let state = self.states.value(self.store, "v").unwrap();
                match writes {
                    true => state.request_put(&mut batch, &target, &value(next)).unwrap(),
                    false => state.request_get(&mut batch, &target).unwrap(),
                }
                next += 1;
            }
            self.session.submit(&mut batch).unwrap();
            self.session.poll(None, &mut done).unwrap();
            ended += done.items.len() as u64;
            for item in &done.items {
                if let Status::Failed { index } = item.status {
                    panic!("{}: {}", item.user_data, done.errors[index as usize]);
                }
                if !writes {
                    assert_eq!(done.value(item), value(item.user_data), "{}", item.user_data);
                }
            }
        }
    }

    /// Reads everything, twice: what the first time brings in, the second time finds.
    fn read(&mut self) -> ShardStatistics {
        self.each(false);
        self.each(false);
        self.session.statistics().unwrap()
    }
}

/// Differs from key to key and does not compress.
fn value(key: u64) -> Vec<u8> {
    let mut x = key | 1 << 40;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as u8
    };
    (0..VALUE_BYTES).map(|_| next()).collect()
}

/// A state on a DFS, and the folder of a cache that knows nothing of it yet.
struct Rig {
    folder: tempfile::TempDir,
    dfs: PathBuf,
    ssd: PathBuf,
    handle: Vec<u8>,
}

impl Rig {
    fn new() -> Self {
        // Beside the test's program: that is a disk, where the temporary folder may be memory.
        let program = std::env::current_exe().unwrap();
        Self::new_in(program.parent().unwrap())
    }

    fn new_in(parent: &Path) -> Self {
        let folder = tempfile::tempdir_in(parent).unwrap();
        let (dfs, ssd) = (folder.path().join("dfs"), folder.path().join("ssd"));
        let mut host = Host::open(&dfs, &folder.path().join("elsewhere"), ShardThread::Owned, None);
        host.each(true);
        let handle = host.session.checkpoint(host.store).unwrap();
        Self { folder, dfs, ssd, handle }
    }

    fn open(&self, thread: ShardThread) -> Host {
        Host::open(&self.dfs, &self.ssd, thread, Some(&self.handle))
    }

    fn file(&self) -> PathBuf {
        self.ssd.join("shard-0.cache")
    }
}

#[test]
fn what_was_read_is_found_again_and_after_a_restart_too() {
    let rig = Rig::new();
    for thread in [ShardThread::Owned, ShardThread::Inline] {
        let _none = fs::remove_dir_all(&rig.ssd);
        let first = rig.open(thread).read();
        assert!(first.ssd.hits > 0 && first.ssd.held_bytes > 0, "{:?}", first.ssd);
        assert_eq!((first.ssd.damaged, first.ssd.failures), (0, 0));
        let second = rig.open(thread).read();
        assert!(second.ssd.hits >= first.ssd.hits, "{:?} after {:?}", second.ssd, first.ssd);
        assert_eq!((second.ssd.damaged, second.ssd.failures), (0, 0));
        assert!(fs::metadata(rig.file()).unwrap().len() <= SSD_BYTES);
    }
}

#[test]
fn what_is_written_is_found_at_its_first_read() {
    let rig = Rig::new();
    for thread in [ShardThread::Owned, ShardThread::Inline] {
        fs::remove_dir_all(&rig.ssd).ok();
        let mut host = Host::open(&rig.dfs, &rig.ssd, thread, None);
        host.each(true);
        let handle = host.session.checkpoint(host.store).unwrap();
        // A disk that is slow leaves some out, but not all.
        let written = host.session.statistics().unwrap().ssd.written;
        assert!(written > KEYS / 10, "{written}");
        drop(host);
        let mut host = Host::open(&rig.dfs, &rig.ssd, thread, Some(&handle));
        host.each(false);
        let ssd = host.session.statistics().unwrap().ssd;
        assert!(ssd.hits >= written * 9 / 10, "{ssd:?}, of {written}");
        assert_eq!((ssd.damaged, ssd.failures), (0, 0), "{ssd:?}");
    }
}

#[test]
fn a_cache_that_is_damaged_while_it_is_used_changes_no_answer() {
    let rig = Rig::new();
    let mut host = rig.open(ShardThread::Owned);
    host.read();
    let file = File::options().read(true).write(true).open(rig.file()).unwrap();
    for page in (0..file.metadata().unwrap().len()).step_by(PAGE_BYTES * 3) {
        file.write_all_at(b"damaged", page + 100).unwrap();
    }
    let seen = host.read().ssd;
    assert!(seen.damaged > 0, "{seen:?}");
    drop(host);
    assert!(rig.open(ShardThread::Owned).read().ssd.hits > 0);
}

#[test]
fn a_cache_that_vanishes_changes_no_answer() {
    let rig = Rig::new();
    let mut host = rig.open(ShardThread::Owned);
    host.read();
    fs::remove_dir_all(&rig.ssd).unwrap();
    host.read();
    drop(host);
    let mut host = rig.open(ShardThread::Owned);
    host.read();
    File::options().write(true).open(rig.file()).unwrap().set_len(0).unwrap();
    let seen = host.read().ssd;
    assert!(seen.failures > 0, "{seen:?}");
}

#[test]
fn a_disk_that_others_fill_gets_its_space_back() {
    let rig = Rig::new();
    rig.open(ShardThread::Owned).read();
    let bytes = || fs::metadata(rig.file()).unwrap().len();
    let before = bytes();
    let thread = ShardThread::Owned;
    let mut host = Host::with_spare(&rig.dfs, &rig.ssd, thread, Some(&rig.handle), 1 << 62);
    let shrinks = (0..100).any(|_| {
        host.each(false);
        bytes() <= before / 4
    });
    assert!(shrinks, "{} of {before} bytes are left", bytes());
    assert_eq!(host.session.statistics().unwrap().ssd.damaged, 0);
}

/// Set in the process that may not use the cache in this folder.
const FORBIDDEN: &str = "AQUIFER_TEST_FORBIDDEN";
/// A user without privileges.
const NOBODY: u32 = 65534;

/// Gives a folder and all in it to that user.
fn give(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

#[test]
fn a_cache_that_its_user_may_not_use_changes_no_answer() {
    // The build's folder may be closed to others.
    let rig = Rig::new_in(&std::env::temp_dir());
    rig.open(ShardThread::Owned).read();
    let (folder, program) = (rig.folder.path(), rig.folder.path().join("program"));
    fs::write(folder.join("handle"), &rig.handle).unwrap();
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    // Modes stop whoever is not root.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        give(folder);
    }
    let closed = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    closed(&rig.file(), 0o000);
    for folder_mode in [0o700, 0o000] {
        closed(&rig.ssd, folder_mode);
        let mut command = Command::new(&program);
        command.args(["--exact", "under_modes_that_forbid_it", "--nocapture"]);
        command.current_dir(folder).env(FORBIDDEN, folder);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output();
        closed(&rig.ssd, 0o700);
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                let what = format!("a cache of mode 000: nobody else can be become: {error}");
                return aquifer_tests::not_run(what);
            }
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = said + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{folder_mode:o}: {said}");
    }
}

#[test]
fn under_modes_that_forbid_it() {
    let Ok(folder) = std::env::var(FORBIDDEN) else { return };
    said::listen(LevelFilter::Trace);
    let folder = Path::new(&folder);
    let (dfs, ssd) = (folder.join("dfs"), folder.join("ssd"));
    let refused = File::open(ssd.join("shard-0.cache")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    let handle = fs::read(folder.join("handle")).unwrap();
    // What it reads is what it would read without a cache.
    let seen = Host::open(&dfs, &ssd, ShardThread::Owned, Some(&handle)).read().ssd;
    assert_eq!(seen, SsdCounters::default());
    let said = said::lines();
    let of_it: Vec<&String> = said.iter().filter(|line| line.contains("SSD")).collect();
    assert_eq!(of_it.len(), 1, "{said:?}");
    assert!(of_it[0].contains("the DFS serves") && of_it[0].contains("denied"), "{of_it:?}");
}

/// Set in the process whose mounts have a small tmpfs here.
const SMALL: &str = "AQUIFER_TEST_TMPFS";

#[test]
fn a_cache_on_a_full_tmpfs_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    // Mounts of its own, which it may make as root of a user namespace of its own.
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg(r#"mount -t tmpfs -o size=8m none "$1" && shift && exec "$@""#).arg("sh");
    command.arg(folder.path()).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "on_a_full_tmpfs", "--nocapture"]).env(SMALL, folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    if !said.contains("running 1 test") {
        let what = format!("a full tmpfs, for mounts of one's own are forbidden here: {said}");
        return aquifer_tests::not_run(what);
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn on_a_full_tmpfs() {
    let Ok(small) = std::env::var(SMALL) else { return };
    said::listen(LevelFilter::Warn);
    let mut rig = Rig::new();
    rig.ssd = Path::new(&small).join("ssd");
    let mut host = rig.open(ShardThread::Owned);
    // Others take the rest while it is used, until nothing is left.
    let mut rest = File::create(Path::new(&small).join("rest")).unwrap();
    while rest.write_all(&[1; PAGE_BYTES]).is_ok() {
        host.each(false);
        let full = rest.write_all(&[1; 1 << 20]);
        println!("{full:?}");
    }
    let seen = host.read().ssd;
    println!("{seen:?}");
    assert!(seen.capacity_bytes <= 8 << 20 || seen.failures > 0, "{seen:?}");
    drop(host);
    // And there is no room for another cache.
    fs::remove_dir_all(&rig.ssd).unwrap();
    while rest.write_all(&[1; PAGE_BYTES]).is_ok() {}
    let told = || said::lines().iter().filter(|line| line.contains("no room")).count();
    let before = told();
    rig.open(ShardThread::Owned).read();
    assert_eq!(told(), before + 1, "{:?}", said::lines());
}

#[test]
fn garbage_in_its_place_is_no_cache() {
    let rig = Rig::new();
    fs::create_dir_all(&rig.ssd).unwrap();
    fs::write(rig.file(), vec![0xa5; SSD_BYTES as usize + 77]).unwrap();
    let seen = rig.open(ShardThread::Owned).read().ssd;
    assert!(seen.hits > 0 && seen.damaged == 0, "{seen:?}");
}

#[test]
fn a_cache_that_cannot_be_opened_is_done_without() {
    let rig = Rig::new();
    fs::write(&rig.ssd, "no folder").unwrap();
    assert_eq!(rig.open(ShardThread::Owned).read().ssd.capacity_bytes, 0);
    fs::remove_file(&rig.ssd).unwrap();
    let first = rig.open(ShardThread::Owned);
    let mut second = rig.open(ShardThread::Inline);
    assert_eq!(second.read().ssd.capacity_bytes, 0, "another engine has the folder");
    drop(first);
}

#[test]
fn a_cache_whose_index_does_not_fit_is_refused() {
    let rig = Rig::new();
    let ssd = Some(SsdConfig::new(&rig.ssd, 64 << 30));
    let config = Config {
        memory_bytes: MEMORY_MIN_BYTES,
        ssd,
        io: aquifer_tests::io_mode(),
        ..Config::new(rig.dfs.to_str().unwrap())
    };
    let Err(error) = Engine::open(config) else { panic!("it was opened") };
    assert!(error.text.contains("make the cache smaller"), "{}", error.text);
}
