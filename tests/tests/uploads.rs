//! Objects that suffer on their way into real stores: what is there in the end is what was sent.

use aquifer::io::dfs::Dfs;
use aquifer::io::retry::patiently;
use aquifer::io::trials::pattern;
use aquifer::limits::REMOTE_PART_BYTES;
use aquifer::shard::engine::Access;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Incarnation, ObjectKind, ObjectName};
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::servers::{self, Kind};

/// Bytes of an object that is written in two parts.
const LARGE: usize = REMOTE_PART_BYTES + 1_000;

/// Has the client tell the store a checksum of what it uploads.
const CHECKSUM: &str = "&checksum=crc32c";

fn name(seq: u64) -> ObjectName {
    let incarnation = Incarnation { host_epoch: 0, nonce: 7 };
    ObjectName { store: 1, incarnation, kind: ObjectKind::Manifest, seq, rand: 7 }
}

/// A proxy in front of a bucket of its own, and a root there whose url takes this besides.
fn root(kind: Kind, bucket: &str, more: &str) -> Option<(Proxy, Dfs)> {
    let server = servers::told(servers::shared(kind))?;
    server.create_bucket(bucket);
    let proxy = Proxy::new(&server.address, 7);
    let access = Access::Given(kind.given(kind.credentials()));
    let url = format!("{}{more}", kind.url(&proxy.endpoint(), bucket));
    Some((proxy, Dfs::open_as(&url, &access).unwrap()))
}

fn load(dfs: &Dfs, name: &ObjectName) -> Vec<u8> {
    dfs.load(name, 2 * LARGE as u64).unwrap()
}

fn missing(dfs: &Dfs, name: &ObjectName) -> ErrorKind {
    patiently(|| dfs.size(name)).unwrap_err().kind
}

#[test]
fn parts_that_are_joined_with_an_error_are_no_object() {
    let Some((proxy, dfs)) = root(Kind::Minio, "joined", "") else { return };
    let fails = |code, times| {
        let rule = Rule::new(Fault::ErrorInside(code)).method("POST").path("uploadId=");
        proxy.rule(rule.times(times));
    };
    // One that the client does not try again by itself.
    fails("InvalidPart", 1);
    let error = dfs.put(&name(1), &pattern(LARGE)).unwrap_err();
    assert!(error.kind == ErrorKind::Io && error.text.contains("InvalidPart"), "{error}");
    assert_eq!(missing(&dfs, &name(1)), ErrorKind::MissingObject);
    fails("InternalError", 2);
    dfs.put(&name(1), &pattern(LARGE)).unwrap();
    assert!(load(&dfs, &name(1)) == pattern(LARGE));
    assert_eq!(proxy.counts().faults_of("error inside"), 3);
}

/// The replies to these requests of an upload are lost once each.
fn survives(kind: Kind, requests: &[(&str, &str)]) {
    let Some((proxy, dfs)) = root(kind, "lost", "") else { return };
    for (seq, (method, part)) in (1..).zip(requests) {
        proxy.clear();
        proxy.rule(Rule::new(Fault::LoseReply).method(method).path(part).times(1));
        patiently(|| dfs.put(&name(seq), &pattern(LARGE))).unwrap();
        assert!(load(&dfs, &name(seq)) == pattern(LARGE), "{part}");
    }
    assert_eq!(proxy.counts().faults_of("lose reply"), requests.len() as u64);
}

#[test]
fn an_upload_to_s3_survives_the_loss_of_any_reply() {
    let requests = [("POST", "uploads"), ("PUT", "partNumber=1"), ("POST", "uploadId=")];
    survives(Kind::Minio, &requests);
}

#[test]
fn an_upload_to_hdfs_survives_the_loss_of_any_reply() {
    let requests = [("PUT", "op=CREATE"), ("POST", "op=CONCAT"), ("PUT", "op=RENAME")];
    survives(Kind::Hdfs, &requests);
}

#[test]
fn minio_refuses_bytes_that_are_not_those_of_their_checksum() {
    let Some((proxy, dfs)) = root(Kind::Minio, "checked", CHECKSUM) else { return };
    let flip = |part: &str, times| {
        proxy.clear();
        proxy.rule(Rule::new(Fault::Flip).method("PUT").path(part).times(times));
    };
    flip("manifest-", 1);
    let error = dfs.put(&name(1), &pattern(1_000)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io, "{error}");
    assert_eq!(missing(&dfs, &name(1)), ErrorKind::MissingObject);
    flip("partNumber=2", 1);
    dfs.put(&name(2), &pattern(LARGE)).unwrap_err();
    assert_eq!(missing(&dfs, &name(2)), ErrorKind::MissingObject);
    for (name, bytes) in [(name(1), pattern(1_000)), (name(2), pattern(LARGE))] {
        // As jobs do.
        flip("manifest-", 1);
        patiently(|| dfs.put(&name, &bytes)).unwrap();
        assert!(load(&dfs, &name) == bytes);
    }
    assert_eq!(proxy.counts().faults_of("flip"), 4);
}

#[test]
fn another_s3_takes_checksums_and_refuses_other_bytes_of_whole_objects() {
    let Some((proxy, dfs)) = root(Kind::S3s, "checked", CHECKSUM) else { return };
    for (seq, bytes) in [(1, pattern(1_000)), (2, pattern(LARGE))] {
        dfs.put(&name(seq), &bytes).unwrap();
        assert!(load(&dfs, &name(seq)) == bytes);
    }
    // Of parts it compares nothing, and it keeps what it refused until it is sent again.
    proxy.rule(Rule::new(Fault::Flip).method("PUT").times(1));
    let error = dfs.put(&name(3), &pattern(1_000)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io, "{error}");
    dfs.put(&name(3), &pattern(1_000)).unwrap();
    assert!(load(&dfs, &name(3)) == pattern(1_000));
}

#[test]
fn without_checksums_bits_that_flip_are_found_by_the_reader_alone() {
    let Some((proxy, dfs)) = root(Kind::Minio, "unchecked", "") else { return };
    proxy.rule(Rule::new(Fault::Flip).method("PUT").times(1));
    dfs.put(&name(1), &pattern(1_000)).unwrap();
    assert!(load(&dfs, &name(1)) != pattern(1_000));
}

#[test]
fn an_upload_to_hdfs_deletes_nothing() {
    let Some((proxy, dfs)) = root(Kind::Hdfs, "deletes", "") else { return };
    for seq in [1, 1, 2] {
        dfs.put(&name(seq), &pattern(LARGE)).unwrap();
        assert!(load(&dfs, &name(seq)) == pattern(LARGE));
    }
    // One whose reply is lost may be applied when the object is there.
    assert_eq!(proxy.counts().requests_of("DELETE"), 0);
}
