//! Tests of the engine as a whole: the simulated driver (`sim`), the model and the random programs
//! that compare it with the simulated and with the real engine (`model`), a client for tests that
//! go step by step (`client`), a host of the real engine (`host`), a checkpoint to damage
//! (`victim`), the bodies of the fuzz targets (`fuzz`), real object stores (`servers`) and what
//! breaks the way to them (`proxy`, `http`), the rules of the source tree (`rules`); see the files
//! in `tests/`.

use aquifer::shard::engine::IoMode;

/// The way to the disk that the tests of the real engine take: that of `AQUIFER_IO`, which is
/// `auto`, `uring` or `portable`, as for the `aquifer` command.
///
/// # Panics
/// If it is something else.
#[must_use]
pub fn io_mode() -> IoMode {
    match std::env::var("AQUIFER_IO").as_deref() {
        Err(_) | Ok("auto") => IoMode::Auto,
        Ok("uring") => IoMode::Uring,
        Ok("portable") => IoMode::Portable,
        Ok(other) => panic!("AQUIFER_IO={other}: use auto, uring or portable"),
    }
}

/// Tells on one line what a test did not run, and why: `./test` sums these lines up.
pub fn not_run(what: impl std::fmt::Display) {
    use std::io::Write;
    let what = what.to_string();
    let line = format!("not run: {}\n", what.trim().replace('\n', "; "));
    // Past the capture of tests, which hides what those print that pass. In one write, so that no
    // other line begins within this one.
    drop(std::io::stderr().write_all(line.as_bytes()));
}

pub mod client;
pub mod fuzz;
pub mod host;
pub mod http;
pub mod model;
pub mod proxy;
pub mod rules;
pub mod said;
pub mod servers;
pub mod sim;
pub mod victim;

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Set in the process that does not run something.
    const CHILD: &str = "AQUIFER_TEST_NOT_RUN";

    #[test]
    fn what_is_not_run_is_told_whoever_captures() {
        if std::env::var_os(CHILD).is_some() {
            return super::not_run("a test, for\nit is none\n");
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tests::what_is_not_run_is_told_whoever_captures"]);
        let output = command.env(CHILD, "").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(said.lines().any(|line| line == "not run: a test, for; it is none"), "{said}");
    }
}
