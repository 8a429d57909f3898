//! Tests of the engine as a whole: the simulated driver (`sim`), the model and the random programs
//! that compare it with the simulated and with the real engine (`model`), a client for tests that
//! go step by step (`client`), a checkpoint to damage (`victim`), the bodies of the
//! fuzz targets (`fuzz`), the rules of the source tree (`rules`); see the files in `tests/`.

pub mod client;
pub mod fuzz;
pub mod model;
pub mod rules;
pub mod sim;
pub mod victim;
