//! Random programs against the simulated engine, compared with a model of ordered maps.

mod finish;
pub mod oracle;
pub mod run;
pub mod shape;
