use super::*;

fn job() -> Job {
    let mut job = Job {
        ngram: 3,
        limit: Some(7),
        dfs: "/state".into(),
        roots: vec!["/in".into(), "-".into()],
        attempt: 2,
        inputs: vec![InputFile { path: "/in/ä b".into(), bytes: 9 }],
        checkpoints: Vec::new(),
    };
    job.add(checkpoint(1));
    job
}

fn checkpoint(records: u64) -> Checkpoint {
    let tally = Tally { distinct: 3, distinct_bytes: 40, top: vec![("a b c".into(), 2)] };
    let window = vec!["b".into(), "c".into()];
    let position = Position { file: 0, offset: 5, window, records };
    Checkpoint { handle: vec![0, 7, 0xff, records as u8], position, tally }
}

#[test]
fn a_job_reads_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.job");
    let mut job = job();
    job.save(&path).unwrap();
    assert_eq!(Job::load(&path).unwrap(), job);
    job.add(checkpoint(2));
    job.save(&path).unwrap();
    assert_eq!(Job::load(&path).unwrap(), job);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is gone");
}

#[test]
fn a_fresh_job_replaces_jobs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.job");
    Job::refuse_other_files(&path).unwrap();
    job().save(&path).unwrap();
    Job::refuse_other_files(&path).unwrap();
    for (text, refused) in [("", false), ("aquifer", true), ("my only copy of something", true)] {
        fs::write(&path, text).unwrap();
        let result = Job::refuse_other_files(&path);
        assert_eq!(result.is_err(), refused, "{text}");
        let named = |error: anyhow::Error| error.to_string().contains("with --job");
        assert!(result.err().is_none_or(named), "{text}");
    }
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    for other in [path.as_path(), folder.path()] {
        let error = Job::refuse_other_files(other).unwrap_err().to_string();
        assert!(error.contains("is not a file"), "{error}");
    }
}

#[test]
fn the_oldest_checkpoints_are_given_up() {
    let mut job = job();
    assert_eq!(job.add(checkpoint(2)), []);
    assert_eq!(job.add(checkpoint(3)), [checkpoint(1)]);
    assert_eq!(job.checkpoints, [checkpoint(2), checkpoint(3)]);
    assert_eq!(job.last(), checkpoint(3));
}

#[test]
fn a_job_without_a_checkpoint_starts_at_the_beginning() {
    let last = Job { checkpoints: Vec::new(), ..job() }.last();
    assert_eq!(last, Checkpoint::default());
    assert!(last.handle.is_empty());
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.job");
    job().save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        for bytes in [&flipped[..], &whole[..at]] {
            fs::write(&path, bytes).unwrap();
            let error = Job::load(&path).unwrap_err();
            assert!(format!("{error:#}").contains("a.job"), "{error:#}");
        }
    }
}

#[test]
fn what_is_no_job_file_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.job");
    job().save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let middle = whole.len() / 2;
    for bytes in [&b""[..], &b"\xff\xfe\0\x01"[..], &b"hello\nworld\n"[..], &whole[..middle]] {
        fs::write(&path, bytes).unwrap();
        let error = format!("{:#}", Job::load(&path).unwrap_err());
        let remedy = "restore the file, or start without --resume";
        assert!(error.contains("a.job") && error.contains(remedy), "{error}");
    }
}

#[test]
fn a_job_is_claimed_once_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.job");
    let claim = Job::claim(&path).unwrap();
    let error = Job::claim(&path).unwrap_err().to_string();
    assert!(error.contains("a.job") && error.contains("--job"), "{error}");
    // A checkpoint replaces the file.
    job().save(&path).unwrap();
    Job::claim(&path).unwrap_err();
    Job::claim(&folder.path().join("b.job")).unwrap();
    drop(claim);
    Job::claim(&path).unwrap();
}

#[test]
fn a_missing_job_file_is_named_with_what_to_do() {
    let error = Job::load(Path::new("/no/such.job")).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("/no/such.job") && text.contains("--job"), "{text}");
}

#[test]
fn the_seed_of_the_fuzzer_is_a_job() {
    Job::parse(sealed(include_str!("../../../fuzz/seeds/job/body")).as_bytes()).unwrap();
}
