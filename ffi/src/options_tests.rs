use std::collections::BTreeSet;

use aquifer::shard::engine::{Access, ShardThread};

use super::{OPTIONS, engine, engine_text, store};

#[test]
fn text_becomes_a_configuration_and_text_again() {
    let text = b"# a job\n\n dfs= memory://words?latency=2ms \r\nmemory = 1.5G\nthread=inline\n";
    let config = engine(text).unwrap();
    assert_eq!((&config.dfs[..], config.memory_bytes), ("memory://words?latency=2ms", 3 << 29));
    assert_eq!((config.shards, config.thread), (1, ShardThread::Inline));
    let again = engine(engine_text(&config).as_bytes()).unwrap();
    assert_eq!(engine_text(&again), engine_text(&config));
    let ssd = engine(b"dfs = x\nssd = 2G\nssd_dir = /a").unwrap();
    assert_eq!(engine(engine_text(&ssd).as_bytes()).unwrap().ssd, ssd.ssd);
    assert_eq!(ssd.ssd.unwrap().bytes, 2 << 30);
    let text = b"dfs = x\ncompactors = a:1, b:2\ncompactor_secret_file = /run/secret";
    let config = engine(text).unwrap();
    assert_eq!(config.compactors, ["a:1", "b:2"]);
    assert!(engine_text(&config).ends_with("= a:1,b:2\ncompactor_secret_file = /run/secret\n"));
    let source = engine(b"dfs = x\ncredentials = vault").unwrap();
    assert!(engine_text(&source).contains("credentials = vault\n"));
    assert!(matches!(source.access, Access::Source(name) if name == "vault"));
    let hedge = engine(b"dfs = x\nhedge = true").unwrap();
    assert!(hedge.hedge && engine(engine_text(&hedge).as_bytes()).unwrap().hedge);
    assert_eq!(store(b"key_groups = 64\nfirst_key_group = 7").unwrap().range, (7, 63));
}

#[test]
fn what_is_wrong_is_named_with_a_hint() {
    let cases: [(&[u8], &str); 11] = [
        (
            b"memroy = 1G",
            "line 1 of the options: no option is named `memroy`; did you mean `memory`?",
        ),
        (
            b"\nxyzzy = 1",
            "line 2 of the options: no option is named `xyzzy`; there are dfs, credential.NAME",
        ),
        (b"dfs", "`dfs` is not `name = value`"),
        (b"dfs = a\ndfs = b", "`dfs` stands twice"),
        (b"memory = lots", "memory = lots: use bytes"),
        (b"shards = -1", "shards = -1: use a whole number up to 1024"),
        (b"memory = 1G", "the option dfs is missing"),
        (b"dfs = \xff", "the options are not UTF-8"),
        (b"dfs = a\nssd = 1G", "the option ssd_dir is missing"),
        (b"ssd = much", "ssd = much: use bytes"),
        (b"hedge = yes", "hedge = yes: use true or false"),
    ];
    for (text, message) in cases {
        let failure = engine(text).unwrap_err();
        assert!(failure.text.contains(message), "{}", failure.text);
    }
    assert!(store(b"key_groups = 0").unwrap_err().text.contains("use 1 to 32768"));
    let failure = store(b"first_key_group = 9\nlast_key_group = 3").unwrap_err();
    assert!(failure.text.contains("key groups 9 to 3 of 128"), "{}", failure.text);
    assert!(store(b"last_key_group = 128").is_err());
    assert_eq!(store(b"keep_checkpoints = 16").unwrap().keep, 16);
    assert!(store(b"keep_checkpoints = 17").unwrap_err().text.contains("up to 16"));
}

#[test]
fn secrets_are_taken_and_not_repeated() {
    let text = "dfs = s3://b/x\ncredential.AWS_ACCESS_KEY_ID = hunter2\n\
                credential.AWS_SECRET_ACCESS_KEY = hunter2=\n";
    let config = engine(text.as_bytes()).unwrap();
    let shown = format!("{config:?} {}", engine_text(&config));
    assert!(shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("hunter2"), "{shown}");
    let cases = [
        ("credential.AWS_SECRET_ACCES_KEY = hunter2", "did you mean AWS_SECRET_ACCESS_KEY?"),
        ("credential.AWS_SECRET_ACCESS_KEY hunter2", "is not `name = value`"),
        ("wJalrXUtnFEMI/K7MDENG/hunter2/EXAMPLEKEY", "`...` is not `name = value`"),
        ("credential.AZURE_STORAGE_KEY:hunter2==", "is no `credential.NAME = value`"),
        ("credential.X:hunter2", "`...` is not `name = value`"),
        ("credential.AWS_SECRET_ACCESS_KEY = abc\nhunter2def", "`...` is not `name = value`"),
        ("credential.AWS_SECRET_ACCESS_KEY = abc\nhunter2def==", "no option is named `...`"),
        ("credential.AWS_ACCESS_KEY_ID =", "is empty"),
        ("AWS_SECRET_ACCESS_KEY = hunter2", "no option is named `AWS_SECRET_ACCESS_KEY`"),
        ("credential.HADOOP_USER_NAME = hunter2\ncredentials = x", "leave one out"),
        (
            "credential.HADOOP_USER_NAME = hunter2\ncredential.HADOOP_USER_NAME = hunter2",
            "stands twice",
        ),
    ];
    for (text, message) in cases {
        let failure = engine(format!("dfs = x\n{text}").as_bytes()).unwrap_err();
        assert!(failure.text.contains(message), "{}", failure.text);
        assert!(!failure.text.contains("hunter2"), "{}", failure.text);
    }
}

#[test]
fn every_option_is_taken_and_its_default_is_what_is_left_out() {
    let names: BTreeSet<_> = OPTIONS.iter().map(|option| option.name).collect();
    assert_eq!(names.len(), OPTIONS.len());
    let defaults = "credentials = \nmemory = 256M\n\
                    shards = 1\nthread = owned\nio = auto\nstatistics_page = \n\
                    ssd = 0\nssd_dir = \nssd_spare = 256M\nhedge = false\npatience = 10\n\
                    compactors = \ncompactor_secret_file = \n";
    for option in &OPTIONS[2..15] {
        let line =
            format!("{} = {}", option.name.to_str().unwrap(), option.default.to_str().unwrap());
        assert!(defaults.contains(&line), "{line}");
    }
    let explicit = engine(format!("dfs = x\n{defaults}").as_bytes()).unwrap();
    assert_eq!(engine_text(&explicit), engine_text(&engine(b"dfs = x").unwrap()));
}
