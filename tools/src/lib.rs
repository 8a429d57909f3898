//! The library behind the `aquifer` command.

pub mod cli;

pub mod compactor;

pub mod compare;

pub mod doctor;

pub mod dump;

pub mod figure;

pub mod files;

pub mod inspect;

pub mod interrupt;

pub mod io;

pub mod load;

pub mod manual;

pub mod objects;

pub mod page;

pub mod probe;

pub mod run;

pub mod scrub;

pub mod statistics;

pub mod top;

pub mod units;

pub mod verify;
