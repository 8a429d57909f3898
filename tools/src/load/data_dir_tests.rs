use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::{DataDir, LoadArgs, MARKER};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

fn args(dir: &Path, options: &str) -> LoadArgs {
    let line = format!("bench get --dir {} {options}", dir.display());
    Command::try_parse_from(line.split_whitespace()).unwrap().load
}

/// A fresh path, removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("aquifer-dir-test-{name}-{}", std::process::id()));
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn loaded_data_is_found_again_with_the_seed_of_its_values() {
    let scratch = Scratch::new("reuse");
    let mut dir = DataDir::open(&args(&scratch.0, "--reuse --seed 7"), "disk").unwrap();
    assert!(!dir.loaded());
    dir.set_loaded().unwrap();
    dir.set_inserted(5).unwrap();
    let again = DataDir::open(&args(&scratch.0, "--reuse --seed 8"), "disk").unwrap();
    assert_eq!((again.loaded(), again.seed(), again.inserted()), (true, 7, 5));
}

#[test]
fn data_of_other_options_or_engines_is_refused() {
    let scratch = Scratch::new("other");
    DataDir::open(&args(&scratch.0, ""), "disk").unwrap().set_loaded().unwrap();
    for options in ["--records 7", "--value-size 64", "--compressible 2"] {
        let options = format!("--reuse {options}");
        let error = DataDir::open(&args(&scratch.0, &options), "disk").unwrap_err().to_string();
        assert!(error.contains("without --reuse"), "{options}: {error}");
    }
    assert!(DataDir::open(&args(&scratch.0, "--reuse"), "rocksdb").is_err());
}

#[test]
fn without_reuse_old_data_goes_and_a_broken_load_is_loaded_again() {
    let scratch = Scratch::new("restart");
    let mut dir = DataDir::open(&args(&scratch.0, ""), "disk").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/rows"), "x").unwrap();
    assert!(!DataDir::open(&args(&scratch.0, "--reuse"), "disk").unwrap().loaded(), "half loaded");
    dir.set_loaded().unwrap();
    let dir = DataDir::open(&args(&scratch.0, ""), "disk").unwrap();
    assert!(!dir.loaded());
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [MARKER]);
}

#[test]
fn a_directory_with_files_of_others_is_left_alone() {
    let scratch = Scratch::new("foreign");
    fs::create_dir(&scratch.0).unwrap();
    fs::write(scratch.0.join("thesis.tex"), "years of work").unwrap();
    let error = DataDir::open(&args(&scratch.0, ""), "disk").unwrap_err().to_string();
    assert!(error.contains("empty directory"), "{error}");
    assert!(scratch.0.join("thesis.tex").exists());
}

#[test]
fn a_temporary_directory_is_removed() {
    let mut options = args(Path::new("unused"), "");
    options.dir = None;
    let dir = DataDir::open(&options, "disk").unwrap();
    let path = dir.path().to_owned();
    assert!(path.exists());
    drop(dir);
    assert!(!path.exists());
}
