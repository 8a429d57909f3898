//! Random programs against the simulated engine and the real one, through its Rust and its C
//! interface, compared with a model of ordered maps.

mod abi;
mod asked;
mod finish;
pub mod mixture;
mod native;
pub mod oracle;
pub mod real;
pub mod report;
pub mod run;
pub mod shape;
