//! The library behind the `aquifer` command.

pub mod cli;

pub mod doctor;

pub mod interrupt;

pub mod io;

pub mod load;

pub mod run;

pub mod statistics;

pub mod top;

pub mod units;
