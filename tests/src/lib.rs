//! Tests of the engine as a whole: the simulated driver (`sim`), the model it is compared with
//! and the random programs that run against both (`model`), a client for tests that go step by
//! step (`client`); see the files in `tests/`.

pub mod client;
pub mod model;
pub mod sim;
