//! Tests of the engine as a whole; see the files in `tests/`.

pub mod rules;
