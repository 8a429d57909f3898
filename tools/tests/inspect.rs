//! `inspect` and `verify` through the real binary, on a store that `bench` left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

/// A loaded store, and its handle.
static DATA: LazyLock<PathBuf> = LazyLock::new(|| {
    // Nobody drops a static: a folder that the next run finds again.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inspected");
    fs::create_dir_all(&folder).unwrap();
    let args = "bench load --records 50K --memory 48M --quiet --dir data";
    let output = aquifer(&folder, args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder
});

fn aquifer(folder: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    command.args(args.split(' ')).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The answer, and how the command ended.
fn json(folder: &Path, args: &str) -> (Value, i32) {
    let output = aquifer(folder, &format!("{args} --json"));
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{args}: {e}: {}{}", text(&output.stdout), text(&output.stderr))
    });
    (answer, output.status.code().unwrap())
}

/// A copy of the store, to be broken.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("cp");
    command.arg("-r").arg(DATA.join("data")).arg(folder.path());
    assert!(command.status().unwrap().success());
    folder
}

/// The tables that the handle's manifest names, by their paths below the root.
fn tables(folder: &Path) -> Vec<String> {
    let (answer, code) = json(folder, "inspect data/aquifer.handle --dfs data/dfs");
    assert_eq!(code, 0, "{answer}");
    let references = answer["handle_1"]["manifest"]["table_references"].as_array().unwrap();
    references.iter().map(|row| row["object_name"].as_str().unwrap().to_owned()).collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_handle_leads_to_its_manifest_and_tables() {
    let folder: &Path = &DATA;
    let (answer, code) = json(folder, "inspect data/aquifer.handle --dfs data/dfs");
    assert_eq!(code, 0, "{answer}");
    let handle = &answer["handle_1"];
    assert_eq!(handle["checksum"], "holds");
    let manifest = &handle["manifest"];
    assert_eq!(manifest["maximal_parallelism"], 128);
    assert_eq!(manifest["state_table"][0]["kind"], "value");
    assert_eq!(manifest["tables"], manifest["table_references"].as_array().unwrap().len());
    assert_eq!(manifest["tablet_list"][0]["low_key"], "");
    assert_eq!(answer["damage"], Value::Array(Vec::new()));

    let mut rows = 0;
    for table in tables(folder) {
        let (by_path, code) = json(folder, &format!("inspect data/dfs/{table}"));
        assert_eq!(code, 0, "{by_path}");
        let (by_name, _) = json(folder, &format!("inspect {table} --dfs data/dfs"));
        assert_eq!(by_path, by_name);
        let (units, properties) = (&by_path["units"], &by_path["resident_part"]["properties"]);
        assert_eq!(units["rows"], properties["rows"]);
        assert_eq!(units["puts"], units["rows"]);
        rows += units["rows"].as_u64().unwrap();
    }
    assert_eq!(rows, 50_000);

    let digits: String = fs::read(folder.join("data/aquifer.handle"))
        .unwrap()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let (by_digits, code) = json(folder, &format!("inspect {digits} --dfs data/dfs"));
    assert_eq!((by_digits, code), (answer, 0));
}

#[test]
fn a_root_is_shown_with_what_it_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata/root-v1.bin");
    let name = aquifer::types::ObjectName::root(3, 70).to_string();
    fs::create_dir_all(folder.path().join(&name).parent().unwrap()).unwrap();
    fs::copy(golden, folder.path().join(&name)).unwrap();
    let (root, code) = json(folder.path(), &format!("inspect {name}"));
    assert_eq!((code, &root["object_name"]["kind"]), (0, &"root".into()), "{root}");
    let kept = root["checkpoints"].as_array().unwrap();
    let manifest = kept[0]["object_name_of_the_manifest"].as_str().unwrap();
    assert!(kept.len() == 2 && manifest.contains("/manifest-000000000000002a-"), "{root}");
    flip(&folder.path().join(&name), 50);
    let (root, code) = json(folder.path(), &format!("inspect {name}"));
    assert!(code == 1 && root["damage"][0]["flaw"].as_str().unwrap().contains("checksum"));
}

#[test]
fn one_unit_is_shown_row_by_row() {
    let folder: &Path = &DATA;
    let table = format!("data/dfs/{}", tables(folder)[0]);
    let (unit, code) = json(folder, &format!("inspect {table} --unit 3"));
    assert_eq!(code, 0, "{unit}");
    let (unit, offset) = (&unit["unit"], unit["unit"]["offset"].as_u64().unwrap());
    let rows = unit["row_list"].as_array().unwrap();
    assert_eq!(unit["rows"], rows.len());
    assert_eq!(rows[0]["value_bytes"], 128);
    assert!(rows[0]["key_says"].as_str().unwrap().contains("state 1"), "{}", rows[0]);
    let (same, _) = json(folder, &format!("inspect {table} --at {offset}"));
    assert_eq!(&same["unit"], unit);
    for place in ["--unit 123456", "--at 99999999999"] {
        let output = aquifer(folder, &format!("inspect {table} {place}"));
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
}

#[test]
fn damage_is_shown_with_its_place_and_the_rest_is_still_read() {
    let copy = copy();
    let folder = copy.path();
    let table = tables(folder)[0].clone();
    let path = folder.join("data/dfs").join(&table);
    let whole = fs::read(&path).unwrap();
    let inspected = |args: &str| {
        let (answer, code) = json(folder, &format!("inspect data/dfs/{table}{args}"));
        assert_eq!(code, 1, "{answer}");
        let damage = answer["damage"][0].clone();
        assert_eq!(damage["what"], table);
        (answer, damage["offset"].as_u64())
    };
    flip(&path, 4096 * 3 + 700);
    let (answer, offset) = inspected("");
    assert_eq!((offset, &answer["units"]["damaged"]), (Some(3 * 4096), &1.into()));
    let (answer, _) = inspected(" --at 12288");
    assert!(!answer["unit"]["row_list"].as_array().unwrap().is_empty(), "as much as there is");

    fs::write(&path, &whole).unwrap();
    flip(&path, whole.len() - 4096 + 9);
    let (answer, offset) = inspected("");
    assert_eq!(offset, Some(whole.len() as u64 - 4096));
    assert_eq!(answer["footer"]["checksum"], "differs");
    assert!(answer["units"]["rows"].as_u64() > Some(0), "{answer}");

    for len in [0, 1, 4095, 4096, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        inspected("");
    }
}

#[test]
fn verify_names_what_is_wrong() {
    let copy = copy();
    let folder = copy.path();
    let verify = "verify data/aquifer.handle --dfs data/dfs";
    let (answer, code) = json(folder, &format!("{verify} --deep"));
    assert_eq!((code, &answer["checkpoint_1"]["result"]), (0, &"whole".into()), "{answer}");
    assert_eq!(answer["checkpoint_1"]["rows_read"], 50_000);

    let path: PathBuf = folder.join("data/dfs").join(&tables(folder)[0]);
    flip(&path, 5000);
    assert_eq!(json(folder, verify).1, 0, "a unit is read by a deep check alone");
    let (answer, code) = json(folder, &format!("{verify} --deep"));
    let fault = &answer["checkpoint_1"]["faults"][0];
    assert_eq!((code, &fault["kind"], &fault["offset"]), (1, &"damaged".into(), &4096.into()));
    fs::remove_file(&path).unwrap();
    let (answer, code) = json(folder, verify);
    assert_eq!((code, &answer["checkpoint_1"]["faults"][0]["kind"]), (1, &"missing".into()));

    for args in ["verify data/aquifer.handle", "verify none", "verify data/aquifer.handle --dfs x"]
    {
        let output = aquifer(folder, args);
        assert_eq!(output.status.code(), Some(2), "{args}: {}", text(&output.stderr));
    }
    assert!(!folder.join("x").exists(), "nothing is made");
    assert_eq!(
        aquifer(folder, &format!("verify {} --dfs data/dfs", "00".repeat(78))).status.code(),
        Some(1)
    );
}

#[test]
fn a_job_file_brings_its_handles_and_its_root() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("words"), "a stream of words is a stream ".repeat(500)).unwrap();
    let run = "run wordcount words --memory 48M --checkpoint-every 1000 --no-verify --dfs state";
    assert!(aquifer(folder.path(), run).status.success());
    let (answer, code) = json(folder.path(), "inspect wordcount.job");
    assert_eq!((code, &answer["handle_2"]["manifest"]["store"]), (0, &1.into()), "{answer}");
    let (answer, code) = json(folder.path(), "verify wordcount.job --deep");
    assert_eq!((code, &answer["checkpoint_2"]["result"]), (0, &"whole".into()), "{answer}");

    let job = folder.path().join("wordcount.job");
    let len = fs::metadata(&job).unwrap().len() as usize;
    flip(&job, len - 9);
    for command in ["inspect", "verify"] {
        let output = aquifer(folder.path(), &format!("{command} wordcount.job"));
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    }
}

#[test]
fn golden_files_are_read_under_the_names_they_were_written_with() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata");
    let output = aquifer(&golden, "inspect table-v1-raw.sst");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--name"), "{}", text(&output.stderr));
    let name = "0000000000000007/0000000000000003-00000000000000000123456789abcdef/\
                sst-0000000000000001-000000000000feed";
    for table in ["table-v1-raw.sst", "table-v1-lz4.sst"] {
        let (answer, code) = json(&golden, &format!("inspect {table} --name {name}"));
        assert_eq!(code, 0, "{answer}");
    }
    let (answer, code) = json(&golden, "inspect handle-v1.bin");
    assert_eq!((code, &answer["handle_1"]["checksum"]), (0, &"holds".into()));
}

#[test]
fn what_cannot_be_looked_at_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), "neither").unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    for what in ["none", "text"] {
        let output = aquifer(folder.path(), &format!("inspect {what}"));
        assert_eq!(output.status.code(), Some(2), "{what}: {}", text(&output.stderr));
    }
    for command in ["inspect", "verify"] {
        for (what, why) in
            [(".", "is a folder"), ("pipe", "is no file"), ("/dev/null", "is no file")]
        {
            let output = aquifer(folder.path(), &format!("{command} {what} --dfs ."));
            assert!(output.stdout.is_empty(), "{command} {what}");
            assert_eq!(output.status.code(), Some(2), "{command} {what}");
            assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn what_is_neither_handle_nor_job_file_is_told_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let job = folder.path().join("wordcount.job");
    let random: Vec<u8> =
        (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&random[..], &[0; 4096], b"", b"some text"] {
        fs::write(&job, bytes).unwrap();
        for command in ["inspect", "verify"] {
            let output = aquifer(folder.path(), &format!("{command} wordcount.job --dfs ."));
            assert_eq!(output.status.code(), Some(2), "{command}");
            let error = text(&output.stderr);
            assert!(error.contains("wordcount.job is no handle and no job file"), "{error}");
        }
    }
    // What is left of a handle is a damaged one.
    fs::write(&job, b"AQUH\x01").unwrap();
    let output = aquifer(folder.path(), "verify wordcount.job --dfs .");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}
