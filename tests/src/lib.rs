//! Tests of the engine as a whole: the simulated driver (`sim`), the model and the random programs
//! that compare it with the simulated and with the real engine (`model`), a client for tests that
//! go step by step (`client`), a host of the real engine (`host`), a checkpoint to damage
//! (`victim`), the bodies of the fuzz targets (`fuzz`), real object stores (`servers`) and what
//! breaks the way to them (`proxy`, `http`), the rules of the source tree (`rules`); see the files
//! in `tests/`.

use aquifer::shard::engine::IoMode;

/// The way to the disk that the tests of the real engine take: that of `AQUIFER_IO`, which is
/// `auto`, `uring` or `portable`, as for the `aquifer` command.
///
/// # Panics
/// If it is something else.
#[must_use]
pub fn io_mode() -> IoMode {
    match std::env::var("AQUIFER_IO").as_deref() {
        Err(_) | Ok("auto") => IoMode::Auto,
        Ok("uring") => IoMode::Uring,
        Ok("portable") => IoMode::Portable,
        Ok(other) => panic!("AQUIFER_IO={other}: use auto, uring or portable"),
    }
}

pub mod client;
pub mod fuzz;
pub mod host;
pub mod http;
pub mod model;
pub mod proxy;
pub mod rules;
pub mod servers;
pub mod sim;
pub mod victim;
