//! Floor 8: the controller, on the thread that runs user code.

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
