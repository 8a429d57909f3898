//! Aquifer: the keyed state under a stream processor.
//!
//! A host opens an [`Engine`](shard::engine::Engine) on a DFS, takes a
//! [`Session`](shard::session::Session) to a shard and opens a store with its states. It gives
//! records to a [`Controller`](aec::Controller), which runs user code on them: records of one key
//! in order, records of different keys at once. A checkpoint is the handle that the host keeps. A
//! word count:
//!
//! ```
//! use aquifer::aec::{Context, Controller, Options};
//! use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
//! use aquifer::state::request::{Batch, Completions};
//! use aquifer::state::{StateKind, StateTable};
//! # fn main() -> aquifer::types::Result<()> {
//!
//! let config = Config { thread: ShardThread::Inline, ..Config::new("memory://words") };
//! let engine = Engine::open(config)?;
//! let mut session = engine.session(0)?;
//!
//! let mut states = StateTable::default();
//! states.declare("count", StateKind::Value)?;
//! let key_groups = 128; // the most subtasks that this operator will ever have
//! let config = StoreConfig { states, ..StoreConfig::new(1, key_groups) };
//! let (store, states) = session.open_store(config)?;
//! let counts = states.value(store, "count")?;
//!
//! let mut controller = Controller::new(Options::default(), |ctx: Context, by: u64| async move {
//!     let old = counts.get_with(&ctx, |value| value.map_or(0, decode)).await?;
//!     counts.put(&ctx, &(old + by).to_le_bytes()).await
//! })?;
//!
//! let (mut batch, mut done) = (Batch::default(), Completions::default());
//! let mut words = "the state under the stream under the water".split(' ').peekable();
//! while words.peek().is_some() || !controller.is_idle() {
//!     while words.next_if(|word| controller.offer(word.as_bytes(), 1).is_ok()).is_some() {}
//!     controller.turn(&mut done, &mut batch);
//!     session.submit(&mut batch)?;
//!     session.poll(None, &mut done)?;
//! }
//! assert_eq!(controller.failures().count(), 0);
//! let handle = session.checkpoint(store)?; // keep it: `StoreConfig::handles` opens it again
//!
//! fn decode(value: &[u8]) -> u64 {
//!     u64::from_le_bytes(value.try_into().expect("eight bytes"))
//! }
//! # assert!(handle.len() <= 1024);
//! # let key = aquifer::state::Key::new(b"the", key_groups);
//! # let target = aquifer::state::Target { key, namespace: &[], user_data: 0 };
//! # counts.request_get(&mut batch, &target)?;
//! # session.submit(&mut batch)?;
//! # session.poll(None, &mut done)?;
//! # assert_eq!(decode(done.value(&done.items[0])), 3);
//! # Ok(())
//! # }
//! ```
//!
//! The modules stand in floor order; a module uses its own floor and lower ones, never a higher
//! one (`tests/` checks it). `ARCHITECTURE.md` beside this crate tells the life of a request.

pub mod limits;
pub mod types;

pub mod codec;
pub mod mem;

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the floor of clocks, randomness and files"
)]
pub mod io;

pub mod sst;

pub mod cache;

pub mod lsm;

pub mod checkpoint;

pub mod state;

pub mod aec;

pub mod shard;
