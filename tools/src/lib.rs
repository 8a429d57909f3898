//! The library behind the `aquifer` command.

pub mod cli;

pub mod compare;

pub mod figure;

pub mod inspect;

pub mod interrupt;

pub mod load;

pub mod manual;

pub mod objects;

pub mod page;

pub mod run;

pub mod units;

pub mod verify;
