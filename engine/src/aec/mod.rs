//! Floor 8: the controller, on the thread that runs user code.
//!
//! User code is a closure that makes a future of each record; the future awaits operations on
//! states. Records of one key run one after the other in the order they arrived, records of
//! different keys at once, so that thousands of reads are in flight from one thread. No locks,
//! no allocation per record: futures live in boxes that are used again, the no-op waker polls
//! them, and a completion names its operation by slot and generation.
//!
//! The controller does no I/O. Its host offers records, submits the requests of each turn to a
//! store and gives the completions to the next turn. A word count:
//!
//! ```
//! use aquifer::aec::{Context, Controller, Options};
//! use aquifer::state::request::{Batch, Completions, StoreId};
//! use aquifer::state::{StateKind, StateTable};
//! # use aquifer::state::request::{Op, Status};
//! # #[derive(Default)]
//! # struct Store(std::collections::BTreeMap<Vec<u8>, Vec<u8>>);
//! # impl Store {
//! #     fn execute(&mut self, batch: &mut Batch, done: &mut Completions) {
//! #         for request in &batch.requests {
//! #             let key = request.key.of(&batch.bytes);
//! #             match request.op {
//! #                 Op::Get => match self.0.get(key) {
//! #                     Some(v) => done.push_value(request.user_data, Status::Value, v),
//! #                     None => done.push(request.user_data, Status::Absent),
//! #                 },
//! #                 _ => {
//! #                     self.0.insert(key.to_vec(), request.value.of(&batch.bytes).to_vec());
//! #                     done.push(request.user_data, Status::Done);
//! #                 }
//! #             }
//! #         }
//! #         batch.clear();
//! #     }
//! # }
//! # fn main() -> aquifer::types::Result<()> {
//! # let mut store = Store::default();
//!
//! let mut states = StateTable::default();
//! states.declare("count", StateKind::Value)?;
//! let counts = states.value(StoreId(0), "count")?;
//!
//! let mut controller = Controller::new(Options::default(), |ctx: Context, by: u64| async move {
//!     let old = counts.get_with(&ctx, |value| value.map_or(0, number)).await?;
//!     counts.put(&ctx, &(old + by).to_le_bytes()).await
//! })?;
//!
//! let (mut batch, mut done) = (Batch::default(), Completions::default());
//! let mut words = "the state under the stream under the water".split(' ').peekable();
//! while words.peek().is_some() || !controller.is_idle() {
//!     while words.next_if(|word| controller.offer(word.as_bytes(), 1).is_ok()).is_some() {}
//!     controller.turn(&mut done, &mut batch);
//!     store.execute(&mut batch, &mut done);
//! }
//! assert_eq!(controller.failures().count(), 0);
//!
//! fn number(value: &[u8]) -> u64 {
//!     u64::from_le_bytes(value.try_into().expect("eight bytes"))
//! }
//! # let mut found: Vec<u64> = store.0.values().map(|v| number(v)).collect();
//! # found.sort();
//! # assert_eq!(found, [1, 1, 1, 2, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! A write need not be awaited for the order: `counts.put(..).submit().await` goes on at once,
//! and the record still ends no sooner than its writes. Operations may run at once: [`join`].

mod context;
mod controller;
mod core;
mod keys;
mod operation;
mod parked;
mod states;

pub use context::{Bytes, Context, Scope, join};
pub use controller::{Controller, Counters, Failure, Options};
pub use operation::{Read, Submit, Write};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_property;
#[cfg(test)]
mod tests_toy;
