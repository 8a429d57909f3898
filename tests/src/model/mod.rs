//! Random programs against the simulated engine and the real one, compared with a model of ordered
//! maps.

mod asked;
mod finish;
pub mod oracle;
pub mod real;
pub mod report;
pub mod run;
pub mod shape;
