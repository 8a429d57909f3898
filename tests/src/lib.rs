//! Tests of the engine as a whole: the simulated driver (`sim`), the model it is compared with
//! and the random programs that run against both (`model`), a client for tests that go step by
//! step (`client`), the rules of the source tree (`rules`); see the files in `tests/`.

pub mod client;
pub mod model;
pub mod rules;
pub mod sim;
