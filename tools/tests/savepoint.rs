//! `export` and `import` through the real binary, on a store that `bench` left behind.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const RECORDS: u64 = 20_000;

fn aquifer(folder: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    command.args(args.split(' ')).current_dir(folder);
    command
}

fn run(folder: &Path, args: &str) -> Output {
    aquifer(folder, args).output().unwrap()
}

/// What it says, if it ends so.
fn ends(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn json(folder: &Path, args: &str) -> Value {
    let output = run(folder, &format!("{args} --json"));
    ends(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A loaded store, and `all.dump` of it.
fn exported() -> (TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let args = format!("bench load --records {RECORDS} --memory 48M --quiet --dir data");
    ends(&run(folder.path(), &args), 0);
    let answer = json(folder.path(), "export data/aquifer.handle --dfs data/dfs --to all.dump");
    (folder, answer)
}

#[test]
fn a_store_goes_to_another_root_and_back_as_it_was() {
    let (folder, answer) = exported();
    let path = folder.path();
    let dump = fs::read(path.join("all.dump")).unwrap();
    assert_eq!((&answer["rows"], &answer["states"]), (&RECORDS.into(), &1.into()), "{answer}");
    assert_eq!((&answer["bytes"], &answer["key_groups"]), (&dump.len().into(), &"0 to 127".into()));

    let import = "import all.dump --dfs file:///proc/none --handle h";
    assert!(ends(&run(path, import), 2).contains("cannot be the root of a DFS"));
    let answer = json(path, "import all.dump --dfs other --handle other.handle --store 7");
    assert_eq!(answer["rows"], RECORDS, "{answer}");
    ends(&run(path, "verify other.handle --dfs other --deep"), 0);
    assert!(path.join("other/0000000000000007").is_dir());
    let answer = json(path, "export other.handle --dfs other --to again.dump");
    assert_eq!(answer["bytes"], dump.len());
    assert!(fs::read(path.join("again.dump")).unwrap() == dump);
    // The store that was loaded reads what was imported.
    fs::copy(path.join("other.handle"), path.join("data/aquifer.handle")).unwrap();
    let dfs = path.join("other");
    let get = format!("get,rmw --reuse --dir data --dfs {} --verify", dfs.display());
    let rest = format!("--records {RECORDS} --memory 48M --seconds 0.3 --warmup 0 --quiet");
    ends(&run(path, &format!("bench {get} {rest}")), 0);
}

#[test]
fn dumps_go_through_pipes() {
    let (folder, _) = exported();
    let path = folder.path();
    let dump = fs::read(path.join("all.dump")).unwrap();
    let output = run(path, "export data/aquifer.handle --dfs data/dfs --to -");
    ends(&output, 0);
    assert!(output.stdout == dump);

    let mut import = aquifer(path, "import - --dfs other --handle h");
    import.stdin(Stdio::piped()).stdout(Stdio::null());
    // Killed in the middle: nothing is there, and it begins anew.
    let mut child = import.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&dump[..dump.len() / 2]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!path.join("h").exists());
    import.stdin(File::open(path.join("all.dump")).unwrap());
    ends(&import.output().unwrap(), 0);
    ends(&run(path, "verify h --dfs other --deep"), 0);
}

#[test]
fn what_cannot_be_exported_or_imported_is_told() {
    let (folder, _) = exported();
    let path = folder.path();
    let export = "export data/aquifer.handle --dfs data/dfs --to all.dump";
    assert!(ends(&run(path, export), 2).contains("all.dump is there already"));
    let nowhere = "export data/aquifer.handle --to x.dump";
    assert!(ends(&run(path, nowhere), 2).contains("--dfs"));
    let twice = "export data/aquifer.handle data/aquifer.handle --dfs data/dfs --to x.dump";
    assert!(ends(&run(path, twice), 2).contains("both hold key groups 0 to 127"));
    assert!(ends(&run(path, "import none --dfs other --handle h"), 2).contains("none"));
    let foreign = "import data/aquifer.handle --dfs other --handle h";
    assert!(ends(&run(path, foreign), 1).contains("is no dump"));

    let mut dump = fs::read(path.join("all.dump")).unwrap();
    let middle = dump.len() / 2;
    dump[middle] ^= 1;
    fs::write(path.join("bad.dump"), &dump).unwrap();
    let import = "import bad.dump --dfs other --handle h";
    let said = ends(&run(path, import), 1);
    assert!(said.contains("bad.dump: ") && said.contains("block "), "{said}");
    fs::write(path.join("bad.dump"), &dump[..middle]).unwrap();
    let said = ends(&run(path, import), 1);
    assert!(said.contains("the dump ends inside it"), "{said}");
    assert!(!path.join("h").exists());

    let store = fs::read_dir(path.join("data/dfs/0000000000000001")).unwrap().next().unwrap();
    for object in fs::read_dir(store.unwrap().path()).unwrap().map(|object| object.unwrap()) {
        if object.file_name().to_str().unwrap().starts_with("sst-") {
            fs::remove_file(object.path()).unwrap();
        }
    }
    let said = ends(&run(path, "export data/aquifer.handle --dfs data/dfs --to y.dump"), 1);
    assert!(said.contains("sst-") && !path.join("y.dump").exists(), "{said}");
}

#[test]
fn the_last_checkpoint_of_a_job_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("text"), "to be or not to be that is the question ".repeat(500)).unwrap();
    let run_job = "run wordcount --memory 48M --job words.job --dfs state text";
    ends(&run(path, run_job), 0);
    let answer = json(path, "export words.job --to words.dump");
    assert!(answer["rows"].as_u64() >= Some(8), "{answer}");
    json(path, "import words.dump --dfs other --handle words.handle");
    ends(&run(path, "verify words.handle --dfs other --deep"), 0);
}
