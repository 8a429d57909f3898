use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::io::bulk::ObjectWriter;
use crate::io::dfs::Dfs;
use crate::io::entropy;
use crate::io::handoff::locked;
use crate::io::read_driver::IoKind;
use crate::io::task::Runtime;
use crate::io::test_support::name;
use crate::limits::{PAGE_BYTES, REMOTE_PART_BYTES};
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName};

/// What goes wrong with the next call of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    // An error of the kind.
    Fails(ErrorKind),
    // It says the opposite of what is.
    Lies,
    Panics,
}

/// Objects in memory, with a fault and a gate.
pub(super) struct Shelf {
    objects: Mutex<HashMap<String, Vec<u8>>>,
    drafts: Mutex<HashMap<usize, Vec<u8>>>,
    fault: Mutex<Fault>,
    words: AtomicUsize,
    given_up: AtomicUsize,
    // A read fills so many bytes at most.
    stride: usize,
    // A call waits here until its other end is gone.
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Shelf {
    pub(super) fn lent() -> (Arc<Self>, String) {
        let shelf = Arc::new(Self {
            objects: Mutex::default(),
            drafts: Mutex::default(),
            fault: Mutex::new(Fault::None),
            words: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
            stride: 1000,
            gate: Mutex::new(None),
        });
        let name = format!("shelf-{:x}", entropy::nonce().unwrap());
        FILE_SYSTEMS.lend(&name, shelf.clone()).unwrap();
        (shelf, name)
    }

    fn set(&self, fault: Fault) {
        *locked(&self.fault) = fault;
    }

    // Takes the fault: true to lie.
    fn suffer(&self) -> Result<bool> {
        let gate = locked(&self.gate).take();
        if let Some(gate) = gate {
            let _opened = gate.recv();
        }
        match std::mem::replace(&mut *locked(&self.fault), Fault::None) {
            Fault::None => Ok(false),
            Fault::Fails(kind) => Err(Error::new(kind, "the shelf says so")),
            Fault::Lies => Ok(true),
            Fault::Panics => panic!("the shelf breaks"),
        }
    }

    fn find<T>(&self, path: &str, read: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let objects = locked(&self.objects);
        let missing = || Error::new(ErrorKind::MissingObject, format!("{path} is not there"));
        objects.get(path).map(|bytes| read(bytes)).ok_or_else(missing)
    }
}

impl FileSystem for Shelf {
    fn put(&self, piece: Piece<'_>) -> Result<bool> {
        if piece.end == End::GivenUp {
            self.given_up.fetch_add(1, Ordering::Relaxed);
            locked(&self.drafts).remove(piece.word);
            return Ok(true);
        }
        let lies = self.suffer()?;
        if *piece.word == 0 {
            *piece.word = 1 + self.words.fetch_add(1, Ordering::Relaxed);
        }
        let mut drafts = locked(&self.drafts);
        let draft = drafts.entry(*piece.word).or_default();
        assert_eq!(draft.len() as u64, piece.offset, "pieces come in order");
        draft.extend_from_slice(piece.bytes);
        if piece.end == End::More {
            return Ok(!lies);
        }
        let draft = drafts.remove(piece.word).unwrap();
        let mut objects = locked(&self.objects);
        if piece.only_new && objects.contains_key(piece.path) {
            return Ok(false);
        }
        if !lies {
            objects.insert(piece.path.to_owned(), draft);
        }
        Ok(true)
    }

    fn read(&self, path: &str, offset: u64, into: &mut [u8]) -> Result<usize> {
        let lies = self.suffer()?;
        self.find(path, |bytes| {
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(into.len()).min(self.stride);
            into[..count].copy_from_slice(&rest[..count]);
            if lies { into.len() + 1 } else { count }
        })
    }

    fn size(&self, path: &str) -> Result<u64> {
        let lies = self.suffer()?;
        self.find(path, |bytes| bytes.len() as u64 + u64::from(lies))
    }

    fn list(&self, prefix: &str, add: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        let lies = self.suffer()?;
        let objects = locked(&self.objects);
        let below = objects.iter().filter(|(path, _)| path.starts_with(prefix));
        for (path, bytes) in below {
            let path = if lies { "/elsewhere/\u{7}\n" } else { path };
            if !add(Entry { path, bytes: bytes.len() as u64, modified_s: Some(7) }) {
                break;
            }
        }
        Ok(())
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.suffer()?;
        self.find(path, |_| ())?;
        locked(&self.objects).remove(path);
        Ok(())
    }
}

fn open(file_system: &str) -> Dfs {
    Dfs::open(&format!("host://{file_system}/some/path")).unwrap()
}

#[test]
fn objects_are_put_read_listed_and_deleted() {
    let (shelf, fs) = Shelf::lent();
    let dfs = open(&fs);
    assert_eq!(dfs.load(&name(1), 10).unwrap_err().kind, ErrorKind::MissingObject);
    dfs.put(&name(1), b"state").unwrap();
    assert!(locked(&shelf.objects).contains_key(&format!("/some/path/{}", name(1))));
    assert_eq!(dfs.load(&name(1), 5).unwrap(), b"state");
    assert_eq!(dfs.load(&name(1), 4).unwrap_err().kind, ErrorKind::TooLarge);
    assert_eq!(
        (dfs.size(&name(1)).unwrap(), dfs.read(&name(1), 1, 3).unwrap()),
        (5, b"tat".into())
    );
    let short = dfs.read(&name(1), 3, 3).unwrap_err();
    assert!(short.kind == ErrorKind::Corrupt && short.text.contains("ends at or before byte 5"));
    assert!(!dfs.create(&name(1), b"other").unwrap());
    assert!(dfs.create(&name(2), b"second").unwrap());
    locked(&shelf.objects).insert(format!("/some/path/{:016x}/note", name(1).store), b"x".into());
    let mut listed = dfs.list(name(1).store).unwrap();
    listed.sort_by_key(|object| object.bytes);
    let listed: Vec<_> = listed.iter().map(|o| (o.name, o.bytes, o.modified_s)).collect();
    assert_eq!(listed, [(name(1), 5, Some(7)), (name(2), 6, Some(7))]);
    assert_eq!(dfs.list(name(1).store + 1).unwrap(), []);
    dfs.delete(&name(1)).unwrap();
    dfs.delete(&name(1)).unwrap();
    assert_eq!(dfs.size(&name(1)).unwrap_err().kind, ErrorKind::MissingObject);
    let requests = dfs.counters().requests;
    assert_eq!((requests.puts, requests.lists, requests.deletes), (3, 2, 2));
    assert!(dfs.is_store() && dfs.missing() == crate::io::retry::Missing::MayAppear);
}

#[test]
fn what_a_host_answers_wrongly_is_refused() {
    let (shelf, fs) = Shelf::lent();
    let dfs = open(&fs);
    dfs.put(&name(1), &[7; 5000]).unwrap();
    assert_eq!(dfs.read(&name(1), 0, 5000).unwrap(), [7; 5000], "in five steps");
    type Call = fn(&Dfs) -> Result<()>;
    let calls: [(Call, &str); 3] = [
        (|dfs| dfs.read(&name(1), 0, 100).map(drop), "101 bytes where 100 were asked for"),
        (
            |dfs| dfs.list(name(1).store).map(drop),
            "names \"/elsewhere/\\u{7}\\n\", which is not below",
        ),
        (|dfs| dfs.load(&name(1), 9000).map(drop), "ends at or before byte 5000"),
    ];
    for (call, text) in calls {
        shelf.set(Fault::Lies);
        let error = call(&dfs).unwrap_err();
        assert!(
            error.text.contains(text) && error.text.contains(&fs) | text.contains("ends"),
            "{error}"
        );
        assert_ne!(error.kind, ErrorKind::Io, "it would be asked for again: {error}");
        call(&dfs).unwrap();
    }
    shelf.set(Fault::Fails(ErrorKind::Io));
    let error = dfs.size(&name(1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.text.starts_with("size of host://shelf-") && error.text.ends_with("says so"));
    shelf.set(Fault::Panics);
    let error = dfs.size(&name(1)).unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.text.contains("panicked"), "{error}");
    assert_eq!(dfs.size(&name(1)).unwrap(), 5000);
}

// A piece in each page, and the end.
fn write(dfs: &Dfs, name: ObjectName, pages: usize) -> Result<u64> {
    let runtime = Runtime::new(IoKind::Portable).unwrap();
    runtime.run(async {
        let writer = ObjectWriter::create(dfs, name).await?;
        for page in 0..pages {
            writer.write((page * PAGE_BYTES) as u64, &[page as u8; PAGE_BYTES]).await?;
        }
        writer.seal().await
    })
}

#[test]
fn an_object_that_fails_midway_is_given_up_and_one_that_is_sealed_is_there() {
    let (shelf, fs) = Shelf::lent();
    let dfs = open(&fs);
    assert_eq!(write(&dfs, name(1), 3).unwrap(), 3 * PAGE_BYTES as u64);
    assert_eq!(dfs.load(&name(1), 1 << 20).unwrap()[PAGE_BYTES], 1);
    assert_eq!(shelf.given_up.load(Ordering::Relaxed), 0);
    let whole = vec![5; REMOTE_PART_BYTES + 1];
    dfs.put(&name(2), &whole).unwrap();
    assert!(dfs.size(&name(2)).unwrap() == whole.len() as u64);
    for (number, fault) in
        [Fault::Fails(ErrorKind::Io), Fault::Fails(ErrorKind::NoSpace)].into_iter().enumerate()
    {
        shelf.set(fault);
        let error = write(&dfs, name(3), 2).unwrap_err();
        assert!(Fault::Fails(error.kind) == fault && error.text.contains("put of host://"));
        assert_eq!(shelf.given_up.load(Ordering::Relaxed), number + 1);
    }
    // The last piece is taken and nothing is there.
    shelf.set(Fault::None);
    let host = Arc::new(Host::open(&fs, "/", "here/".into(), &Arc::default()).unwrap());
    let sealing = host.clone();
    let sealed = crate::io::remote::waited(async move {
        let upload = sealing.write(sealing.upload(&name(4)), Bytes::from_static(b"abc")).await?;
        Ok(upload)
    })
    .unwrap();
    shelf.set(Fault::Lies);
    let error = crate::io::remote::waited(async move { host.seal(sealed).await }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::MissingObject, "{error}");
    assert!(locked(&shelf.drafts).is_empty());
}

#[test]
fn what_comes_behind_a_piece_that_failed_fails_as_it_did() {
    let (shelf, fs) = Shelf::lent();
    let dfs = open(&fs);
    let (opened, gate) = mpsc::channel();
    *locked(&shelf.gate) = Some(gate);
    shelf.set(Fault::Fails(ErrorKind::NoSpace));
    let failed = |error: Error| {
        assert_eq!(error.kind, ErrorKind::NoSpace, "{error}");
        assert!(error.text.contains("put of host://") && error.text.ends_with("says so"));
    };
    let runtime = Runtime::new(IoKind::Portable).unwrap();
    runtime.run(async {
        let writer = ObjectWriter::create(&dfs, name(1)).await.unwrap();
        let piece = |page| writer.write((page * PAGE_BYTES) as u64, &[1; PAGE_BYTES]);
        let (mut first, mut second) = (Box::pin(piece(0)), Box::pin(piece(1)));
        std::future::poll_fn(|context| {
            assert!(first.as_mut().poll(context).is_pending());
            assert!(second.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(opened);
        failed(first.await.unwrap_err());
        failed(second.await.unwrap_err());
        failed(piece(2).await.unwrap_err());
        failed(writer.seal().await.unwrap_err());
    });
    assert_eq!(shelf.given_up.load(Ordering::Relaxed), 1);
}

#[test]
fn a_file_system_is_taken_back_once_no_engine_uses_it() {
    let (shelf, fs) = Shelf::lent();
    let taken = FILE_SYSTEMS.lend(&fs, shelf.clone()).unwrap_err();
    assert!(taken.text.contains("lent as"), "{taken}");
    let dfs = open(&fs);
    assert!(FILE_SYSTEMS.take_back(&fs).unwrap_err().text.contains("is in use"));
    let other = open(&fs);
    dfs.close(Duration::ZERO).unwrap();
    assert!(FILE_SYSTEMS.take_back(&fs).unwrap_err().text.contains("is in use"), "by the other");
    drop(other);
    assert_eq!(dfs.size(&name(1)).unwrap_err().kind, ErrorKind::Closed);
    FILE_SYSTEMS.take_back(&fs).unwrap();
    assert_eq!(Arc::strong_count(&shelf), 1, "nobody keeps it");
    assert!(FILE_SYSTEMS.take_back(&fs).unwrap_err().text.contains("no file system is lent"));
    let gone = Dfs::open(&format!("host://{fs}/x")).unwrap_err();
    assert!(gone.text.contains("only inside the process of the host"), "{gone}");
    for wrong in ["", "a/b", "a b", ".", "..", "\u{e4}", &"x".repeat(65)] {
        assert!(
            FILE_SYSTEMS.lend(wrong, shelf.clone()).unwrap_err().text.contains("letters"),
            "{wrong}"
        );
    }
    for wrong in [
        "host://",
        "host:///a",
        "host://a@b/c",
        "host://a/../b",
        "host://a?user=b",
        "host://a?plaintext=yes",
    ] {
        assert_eq!(Dfs::open(wrong).unwrap_err().kind, ErrorKind::Invalid, "{wrong}");
    }
}

#[test]
fn a_call_that_hangs_keeps_the_file_system_and_nothing_else() {
    let (shelf, fs) = Shelf::lent();
    let dfs = open(&fs);
    dfs.put(&name(1), b"x").unwrap();
    let (opened, gate) = mpsc::channel();
    *locked(&shelf.gate) = Some(gate);
    let asking = dfs.clone();
    let asked = std::thread::spawn(move || asking.size(&name(1)));
    while locked(&shelf.gate).is_some() {
        std::thread::yield_now();
    }
    assert_eq!(dfs.size(&name(1)).unwrap(), 1, "others go on");
    let error = dfs.close(Duration::from_millis(1)).unwrap_err();
    assert!(error.kind == ErrorKind::Io && error.text.contains("1 calls"), "{error}");
    assert_eq!(dfs.size(&name(1)).unwrap_err().kind, ErrorKind::Closed);
    assert!(FILE_SYSTEMS.take_back(&fs).unwrap_err().text.contains("is in use"));
    drop(opened);
    dfs.close(Duration::MAX).unwrap();
    FILE_SYSTEMS.take_back(&fs).unwrap();
    assert_eq!(asked.join().unwrap().unwrap(), 1);
}
