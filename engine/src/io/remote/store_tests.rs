use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::io::test_support::name;

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
