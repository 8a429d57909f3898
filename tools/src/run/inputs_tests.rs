use std::os::unix::fs::symlink;

use super::*;

fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in ["b/2.txt", "b/1.txt", "a.txt", ".git/config", "target/x.o", "src/target/t.rs"] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "text").unwrap();
    }
    fs::write(folder.path().join("target/CACHEDIR.TAG"), "").unwrap();
    symlink(folder.path(), folder.path().join("ring")).unwrap();
    folder
}

fn names(folder: &Path, files: &[InputFile]) -> Vec<String> {
    let name = |f: &InputFile| {
        Path::new(&f.path).strip_prefix(folder).unwrap().to_str().unwrap().to_owned()
    };
    files.iter().map(name).collect()
}

#[test]
fn a_folder_is_walked_in_order_without_build_output_history_and_links() {
    let folder = tree();
    let root = folder.path().to_owned();
    let (files, notices) = list(std::slice::from_ref(&root), &HashSet::new()).unwrap();
    assert_eq!(names(&root, &files), ["a.txt", "b/1.txt", "b/2.txt", "src/target/t.rs"]);
    assert!(files.iter().all(|f| f.bytes == 4));
    assert!(notices.is_empty());
}

#[test]
fn what_the_job_writes_is_left_out() {
    let folder = tree();
    let root = folder.path().to_owned();
    let own = HashSet::from([root.join("b"), root.join("a.txt")]);
    let (files, _) = list(std::slice::from_ref(&root), &own).unwrap();
    assert_eq!(names(&root, &files), ["src/target/t.rs"]);
}

#[test]
fn a_name_that_is_not_text_is_told() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(OsStr::from_bytes(b"a\xff")), "text").unwrap();
    let (files, notices) = list(&[folder.path().to_owned()], &HashSet::new()).unwrap();
    assert_eq!((files.len(), notices.len()), (0, 1));
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let error = list(&["/no/such/input".into()], &HashSet::new()).unwrap_err();
    assert!(format!("{error:#}").contains("/no/such/input"), "{error:#}");
    let twice = list(&[STDIN.into(), STDIN.into()], &HashSet::new()).unwrap_err();
    assert!(twice.to_string().contains("twice"), "{twice}");
}

#[test]
fn what_is_no_file_is_refused_with_the_way_to_count_it() {
    let error = list(&["/dev/null".into()], &HashSet::new()).unwrap_err().to_string();
    assert!(error.contains("/dev/null") && error.contains("standard input: -"), "{error}");
    let folder = tree();
    let path = folder.path().join("a.txt");
    let (files, _) = list(std::slice::from_ref(&path), &HashSet::new()).unwrap();
    let inputs = Inputs::new(files).unwrap();
    fs::remove_file(&path).unwrap();
    symlink("/dev/null", &path).unwrap();
    let error = inputs.check_unchanged().unwrap_err().to_string();
    assert!(error.contains("a.txt is neither a file nor a folder"), "{error}");
}

#[test]
fn what_may_not_be_read_is_told_before_the_job_begins() {
    // Not even root may read it.
    let path = PathBuf::from("/proc/sys/vm/compact_memory");
    let error = list(std::slice::from_ref(&path), &HashSet::new()).unwrap_err();
    assert!(format!("{error:#}").contains("compact_memory: Permission denied"), "{error:#}");
    let folder = path.parent().unwrap().to_owned();
    let (files, notices) = list(&[folder], &HashSet::new()).unwrap();
    assert!(!files.is_empty() && files.iter().all(|file| Path::new(&file.path) != path));
    let told = |notice: &String| notice.contains("compact_memory is left out: Permission denied");
    assert!(notices.iter().any(told), "{notices:?}");
}

#[test]
fn a_change_of_an_input_is_named() {
    let folder = tree();
    let root = folder.path().to_owned();
    let (files, _) = list(std::slice::from_ref(&root), &HashSet::new()).unwrap();
    let inputs = Inputs::new(files).unwrap();
    inputs.check_unchanged().unwrap();
    fs::write(root.join("b/1.txt"), "texts").unwrap();
    let changed = inputs.check_unchanged().unwrap_err();
    assert!(changed.to_string().contains("b/1.txt has changed"), "{changed}");
    fs::remove_file(root.join("b/1.txt")).unwrap();
    let gone = inputs.check_unchanged().unwrap_err();
    assert!(gone.to_string().contains("b/1.txt"), "{gone}");
}
