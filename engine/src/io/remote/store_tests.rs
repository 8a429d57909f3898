use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::io::clock;
use crate::io::host::credentials::{Given, Secret};
use crate::io::remote::target::Endpoints;
use crate::io::test_support::name;
use crate::io::url::{self, Place};
use crate::limits::REMOTE_TARGET_SPARE_S;

/// For how many seconds a store's urls are used, and what they say of that.
fn url_of(place: &str, given: &[(&str, &str)]) -> (u64, String) {
    let Place::Remote(place) = url::parse(place).unwrap().place else { panic!("{place}") };
    let mut some = Given::default();
    for (name, value) in given {
        some.set(name, Secret::new((*value).to_owned())).unwrap();
    }
    let (counts, budget) = (Arc::default(), Arc::new(Budget::new()));
    let store = Store::open(&place, &Access::Given(some), &counts, &budget).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let now = clock::now();
    let target = runtime.block_on(store.target(&Endpoints::new(false), name(1))).unwrap();
    ((target.expires - now) / 1_000_000_000, target.path_and_query.clone())
}

#[test]
fn urls_are_used_for_no_longer_than_they_are_signed_for() {
    let given = [("AWS_ACCESS_KEY_ID", "somebody"), ("AWS_SECRET_ACCESS_KEY", "knows")];
    let (used_s, url) = url_of("s3://b/p?endpoint=http://127.0.0.1:9", &given);
    assert!(url.contains("X-Amz-Expires=86400"), "{url}");
    assert_eq!(used_s, REMOTE_TARGET_S - REMOTE_TARGET_SPARE_S);
    let place = "abfs://c@account/p?endpoint=http://127.0.0.1:9/account";
    let (used_s, url) = url_of(place, &[("AZURE_STORAGE_KEY", "a25vd3M=")]);
    assert!(url.contains("&se="), "it says when it ends: {url}");
    assert_eq!(used_s, 3600 - REMOTE_TARGET_SPARE_S);
}

#[test]
fn no_more_reads_are_sent_than_have_a_place() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("{}/state", listener.local_addr().unwrap());
    let place = RemotePlace::parse(Scheme::WebHdfs, &place).unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let counted = asked.clone();
    let (answer, may_answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _head = stream.read(&mut [0; 4096]).unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let Ok(()) = may_answer.recv() else { return };
            let reply = b"HTTP/1.1 206 Partial Content\r\nconnection: close\r\n\
                content-length: 4\r\ncontent-range: bytes 0-3/4\r\n\r\nrows";
            stream.write_all(reply).unwrap();
        }
    });
    let (counts, budget) = (Arc::default(), Arc::new(Budget::new()));
    let store = Store::open(&place, &Access::Environment, &counts, &budget).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let all = store.places.acquire_many(REMOTE_READS_MAX as u32).await.unwrap();
        let mut read = std::pin::pin!(store.read(name(1), 0, 4));
        let waits = tokio::time::timeout(Duration::from_millis(100), &mut read).await;
        assert!(waits.is_err() && asked.load(Ordering::Relaxed) == 0, "{waits:?}");
        drop(all);
        let waits = tokio::time::timeout(Duration::from_millis(100), &mut read).await;
        assert!(waits.is_err(), "nobody has answered: {waits:?}");
        assert_eq!(store.places.available_permits(), REMOTE_READS_MAX - 1);
        answer.send(()).unwrap();
        assert_eq!(read.await.unwrap().to_vec(), b"rows");
        assert_eq!(store.places.available_permits(), REMOTE_READS_MAX);
    });
}
