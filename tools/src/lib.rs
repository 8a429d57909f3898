//! The library behind the `aquifer` command.

pub mod load;
