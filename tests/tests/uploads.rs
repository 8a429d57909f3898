//! Objects that suffer on their way into real stores: what is there in the end is what was sent.

use std::time::Duration;

use aquifer::io::dfs::Dfs;
use aquifer::io::retry::patiently;
use aquifer::io::trials::pattern;
use aquifer::limits::REMOTE_PART_BYTES;
use aquifer::shard::engine::Access;
use aquifer::types::{Incarnation, ObjectKind, ObjectName};
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::servers::{self, Kind};

/// Bytes of an object that is written in two parts.
const LARGE: usize = REMOTE_PART_BYTES + 1_000;

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
fn a_delete_that_is_applied_late_takes_no_object_away() {
    let Some((proxy, dfs)) = root(Kind::Hdfs, "late", "") else { return };
    let late = Fault::ApplyLate(Duration::from_secs(1));
    proxy.rule(Rule::new(late).method("DELETE").times(1));
    patiently(|| dfs.put(&name(1), &pattern(LARGE))).unwrap();
    while proxy.counts().late > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(load(&dfs, &name(1)) == pattern(LARGE));
}
