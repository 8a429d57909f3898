//! A host of the real engine with one store of one state, for tests of what lies below.

use std::time::{Duration, Instant};

use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::engine::{Config, Engine, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::Error;
use aquifer::types::error::ErrorKind;

use crate::io_mode;

/// Key groups of the store.
pub const KEY_GROUPS: u32 = 16;
/// An answer takes a millisecond, and seconds on a disk that others fill: who waits for this long
/// waits for ever.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Looks every now and then whether something holds.
///
/// # Panics
/// If it does not within `PATIENCE`.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "it never came to pass that {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// An engine as small as they come, over the way to the disk that is tested.
#[must_use]
pub fn config(url: &str) -> Config {
    Config { memory_bytes: MEMORY_MIN_BYTES, io: io_mode(), ..Config::new(url) }
}

/// See the module. Its failures are the test's.
pub struct Host {
    /// The session of the only shard.
    pub session: Session,
    /// The store.
    pub store: StoreId,
    /// Its states: the values `v`.
    pub states: StateTable,
    /// The engine.
    pub engine: Engine,
}

impl Host {
    /// A store that is empty, or holds what a checkpoint held.
    ///
    /// # Panics
    /// If it does not open.
    #[must_use]
    pub fn open(config: Config, handle: Option<Vec<u8>>) -> Self {
        let engine = Engine::open(config).expect("the engine opens");
        let mut session = engine.session(0).expect("the first session");
        let (store, states) = open_store(&mut session, 1, handle);
        Self { session, store, states, engine }
    }

    /// Opens another store beside it; requests are for that one from now on.
    ///
    /// # Panics
    /// If it does not open.
    pub fn open_another(&mut self, number: u64, handle: Option<Vec<u8>>) {
        (self.store, self.states) = open_store(&mut self.session, number, handle);
    }

    /// Adds the put of a value, or the get of what is there.
    ///
    /// # Panics
    /// If the value is too long.
    pub fn ask(&self, batch: &mut Batch, key: u64, put: Option<&[u8]>) {
        let bytes = key.to_be_bytes();
        let target = Target { key: Key::new(&bytes, KEY_GROUPS), namespace: &[], user_data: key };
        let state = self.states.value(self.store, "v").expect("declared");
        match put {
            Some(value) => state.request_put(batch, &target, value).expect("within the limits"),
            None => state.request_get(batch, &target).expect("within the limits"),
        }
    }

    /// Puts the values of keys, or gets them. What failed of it, all for the moment.
    ///
    /// # Panics
    /// If another value comes, if something fails for good, and if no answer comes.
    pub fn each(
        &mut self,
        keys: impl Iterator<Item = u64>,
        puts: bool,
        value: fn(u64) -> Vec<u8>,
    ) -> Vec<Error> {
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        let mut waiting = 0;
        for key in keys {
            self.ask(&mut batch, key, puts.then(|| value(key)).as_deref());
            waiting += 1;
        }
        let mut failed = Vec::new();
        while waiting > 0 {
            self.session.submit(&mut batch).expect("the shard lives");
            let some = self.session.poll(Some(PATIENCE), &mut done).expect("the shard lives");
            assert!(some > 0, "requests hang");
            for item in &done.items {
                waiting -= 1;
                match item.status {
                    Status::Failed { index } => failed.push(done.errors[index as usize].clone()),
                    Status::Value if !puts => assert!(done.value(item) == value(item.user_data)),
                    status => assert!(puts && status == Status::Done, "{status:?}"),
                }
            }
        }
        assert!(failed.iter().all(|error| error.kind == ErrorKind::Io), "{failed:?}");
        failed
    }

    /// A checkpoint's handle.
    ///
    /// # Panics
    /// If it fails.
    pub fn checkpoint(&mut self) -> Vec<u8> {
        self.session.checkpoint(self.store).expect("a checkpoint")
    }

    /// Closes the session, and the engine.
    ///
    /// # Panics
    /// If something is still in use.
    pub fn close(self) {
        drop(self.session);
        self.engine.close(PATIENCE).expect("nothing is in use");
    }
}

fn open_store(
    session: &mut Session,
    number: u64,
    handle: Option<Vec<u8>>,
) -> (StoreId, StateTable) {
    let mut states = StateTable::default();
    states.declare("v", StateKind::Value).expect("a free name");
    let handles = handle.into_iter().collect();
    let config = StoreConfig { states, handles, ..StoreConfig::new(number, KEY_GROUPS) };
    session.open_store(config).expect("the store opens")
}
