use super::*;
use crate::io::entropy;
use crate::io::test_support::{Folder, name};
use crate::lsm::fold::MergeOps;
use crate::sst::testing::{Row, build_as, stored_key};
use crate::types::{Locality, RowKind};

const SECRET: &[u8] = b"a secret of the tests";

fn soon() -> Nanos {
    clock::now() + 60_000 * MS
}

/// A compactor that serves, and its DFS.
struct Served {
    address: String,
    dfs: Dfs,
    _folder: Folder,
}

fn serve(query: &str, change: impl FnOnce(&mut CompactorConfig)) -> Served {
    let folder = Folder::new();
    let secret_file = folder.path().join("secret");
    std::fs::write(&secret_file, SECRET).unwrap();
    let root = format!("memory://compactor-{:x}", entropy::nonce().unwrap());
    let mut config = CompactorConfig::new("127.0.0.1:0", format!("{root}{query}"));
    config.secret_file = Some(secret_file);
    change(&mut config);
    let compactor = Compactor::start(&config).unwrap();
    let address = compactor.address().unwrap().to_string();
    std::thread::spawn(|| compactor.serve());
    Served { address, dfs: Dfs::open(&root).unwrap(), _folder: folder }
}

impl Served {
    fn connect(&self) -> Wire {
        let secret = Secret::new(SECRET).unwrap();
        let mut wire = Wire::connect(&self.address, &secret, soon()).unwrap();
        assert_eq!(Report::decode(&wire.receive(soon()).unwrap()).unwrap(), Report::Ready);
        wire
    }

    /// An errand of two tables that lie on the DFS.
    fn errand(&self) -> Errand {
        let inputs = [1, 2].map(|seq| {
            let row = |at: u64| Row {
                key: stored_key(1, Locality::Small, &(at * seq).to_be_bytes(), b""),
                kind: RowKind::Put,
                value: vec![seq as u8; 100],
            };
            let rows: Vec<Row> = (1..2000).map(row).collect();
            let built = build_as(name(seq), 16, &rows, &[]);
            self.dfs.put(&name(seq), &built.file).unwrap();
            *built.table.table_ref()
        });
        Errand {
            low: Box::default(),
            high: None,
            bottom: true,
            filter_bits: 12,
            target_bytes: 8 << 10,
            ops: MergeOps::default(),
            inputs: inputs.to_vec(),
            names: (10..40).map(name).collect(),
        }
    }
}

/// What ends an errand.
fn end(wire: &mut Wire) -> Report {
    loop {
        match Report::decode(&wire.receive(soon()).unwrap()).unwrap() {
            Report::Progress(_) => {}
            report => return report,
        }
    }
}

fn run(served: &Served, errand: &[u8]) -> Report {
    let mut wire = served.connect();
    wire.send(errand, soon()).unwrap();
    end(&mut wire)
}

#[test]
fn an_errand_is_done_and_its_tables_are_there() {
    for io in [IoMode::Auto, IoMode::Portable] {
        let served = serve("", |config| config.io = io);
        let Report::Done(tables) = run(&served, &served.errand().encode()) else {
            panic!("it is done")
        };
        assert!(tables.len() > 1);
        for (seq, table) in (10..).zip(&tables) {
            assert_eq!(table.name, name(seq));
            assert_eq!(served.dfs.size(&table.name).unwrap(), table.file_bytes);
        }
    }
}

#[test]
fn what_is_no_errand_or_cannot_be_done_is_told() {
    let served = serve("", |_| {});
    let failed = |report| match report {
        Report::Failed(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(failed(run(&served, b"no errand")).contains("no errand of this version"));
    let mut errand = served.errand();
    errand.inputs[0].name = name(77);
    assert!(failed(run(&served, &errand.encode())).contains("--dfs that of the engine"));
    errand = served.errand();
    errand.inputs[0].meta_crc ^= 1;
    assert!(failed(run(&served, &errand.encode())).contains("checksum differs"));
    let small = serve("", |config| {
        config.merges = 2;
        config.memory_bytes = 8 << 20;
    });
    assert!(failed(run(&small, &small.errand().encode())).contains("fewer merges at once"));
}

#[test]
fn who_finds_no_place_is_told_and_who_left_frees_one() {
    let served = serve("?latency=100ms", |config| config.merges = 1);
    let errand = served.errand().encode();
    let mut first = served.connect();
    first.send(&errand, soon()).unwrap();
    // It works: it said so.
    first.receive(soon()).unwrap();
    assert_eq!(run(&served, &errand), Report::Busy);
    first.close();
    let mut again = served.errand();
    again.names = (50..80).map(name).collect();
    let again = again.encode();
    while run(&served, &again) == Report::Busy {}
    assert!(served.dfs.size(&name(50)).is_ok(), "the errand after it was done");
}

#[test]
fn strangers_are_refused_and_others_served() {
    let served = serve("", |_| {});
    let other = Secret::new(b"another secret of the tests").unwrap();
    let mut stranger = Wire::connect(&served.address, &other, soon()).unwrap();
    assert!(stranger.receive(soon()).unwrap_err().text.contains("the secrets differ"));
    stranger.send(&served.errand().encode(), soon()).unwrap();
    // They take all places of connections, and say nothing.
    let silent: Vec<_> = (0..COMPACTOR_CONNECTIONS_MAX)
        .map(|_| TcpStream::connect(&served.address).unwrap())
        .collect();
    assert!(matches!(run(&served, &served.errand().encode()), Report::Done(_)));
    drop(silent);
}

#[test]
fn a_bad_configuration_is_refused() {
    let folder = Folder::new();
    let secret_file = folder.path().join("secret");
    let refused = |change: &dyn Fn(&mut CompactorConfig)| {
        let mut config = CompactorConfig::new("127.0.0.1:0", "memory://refused");
        config.secret_file = Some(secret_file.clone());
        change(&mut config);
        Compactor::start(&config).err().expect("it is refused").text.to_string()
    };
    assert!(refused(&|_| {}).contains("the secret of compactors"));
    std::fs::write(&secret_file, SECRET).unwrap();
    assert!(refused(&|config| config.merges = 0).contains("use 1 to"));
    assert!(refused(&|config| config.listen = "127.0.0.1".to_owned()).contains("listening on"));
    let taken = wire::listen("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let holder = wire::listen(&taken).unwrap();
    assert!(refused(&|config| config.listen = taken.clone()).contains("a free port"));
    drop(holder);
    assert!(refused(&|config| config.dfs = "memory://refused?fail=1".to_owned()).contains("list"));
}
