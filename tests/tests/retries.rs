//! What is tried again stays in proportion to what a store serves: some faults cost some requests
//! more, and a store that is down is not asked again by everybody who waits for it.

use std::time::Instant;

use aquifer::limits::{RETRY_FLOOR_NS, RETRY_TRIES_MAX};
use aquifer::shard::engine::{Access, Config};
use aquifer_tests::host::{self, Host};
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::servers::{self, Kind};
use aquifer_tests::sim::rng::Rng;

const KEYS: u64 = 20_000;

fn value(key: u64) -> Vec<u8> {
    let mut rng = Rng::new(key);
    // Neighbours of a get lie farther apart than is read for nothing.
    (0..250).flat_map(|_| rng.next_u64().to_be_bytes()).collect()
}

fn open(url: &str, handle: Option<Vec<u8>>) -> Host {
    let access = Access::Given(Kind::Minio.given(Kind::Minio.credentials()));
    Host::open(Config { access, ..host::config(url) }, handle)
}

/// A proxy in front of a bucket of its own, and the url of a root there.
fn store(bucket: &str) -> Option<(Proxy, String)> {
    let server = servers::told(servers::shared(Kind::Minio))?;
    server.create_bucket(bucket);
    let proxy = Proxy::new(&server.address, 3);
    let url = format!("s3://{bucket}/state?endpoint={}", proxy.endpoint());
    Some((proxy, url))
}

#[test]
fn a_tenth_of_faults_costs_a_tenth_more_requests() {
    let Some((proxy, url)) = store("retries-few") else { return };
    let refused = Fault::Answer { status: 503, retry_after: None };
    for fault in [refused, Fault::Reset] {
        proxy.rule(Rule::new(fault).chance(500));
    }
    let mut host = open(&url, None);
    host.each(0..KEYS, true, value);
    let handle = (0..10).find_map(|_| host.session.checkpoint(host.store).ok()).unwrap();
    host.close();
    let mut host = open(&url, Some(handle));
    for round in 0..40 {
        assert_eq!(host.each((round..KEYS).step_by(400), false, value).len(), 0);
    }
    host.close();
    let counts = proxy.counts();
    let (asked, faults): (u64, u64) =
        (counts.requests.values().sum(), counts.faults.values().sum());
    println!("{asked} requests, {faults} faults");
    assert!(faults > 20, "{counts:?}");
    assert!(asked * 2 <= (asked - faults) * 3, "{counts:?}");
}

#[test]
fn a_store_that_is_down_is_not_asked_by_everybody_again() {
    let Some((proxy, url)) = store("retries-down") else { return };
    let mut host = open(&url, None);
    host.each(0..KEYS, true, value);
    let handle = host.checkpoint();
    host.close();
    let mut host = open(&url, Some(handle));
    // All tables are open then.
    host.each((0..KEYS).step_by(500), false, value);
    proxy.rule(Rule::new(Fault::Answer { status: 503, retry_after: None }));
    let (before, begun) = (proxy.counts().requests_of("GET"), Instant::now());
    let keys = || (7..KEYS).step_by(50);
    let failed = host.each(keys(), false, value).len() as u64;
    let asked = proxy.counts().requests_of("GET") - before;
    let held = host.engine.statistics().dfs.retries_held;
    println!("{failed} of {} failed, {asked} requests, {held} held", keys().count());
    assert!(failed > 300, "memory has them");
    // Their first tries, fewer where neighbours are read together; and what may be tried again. If
    // all were, each would cost ten requests more.
    let floor = begun.elapsed().as_nanos() as u64 / RETRY_FLOOR_NS;
    assert!(asked <= failed + RETRY_TRIES_MAX as u64 + floor + 10, "{asked}");
    assert!(held > failed / 10, "{held}");
    proxy.clear();
    assert_eq!(host.each(keys(), false, value).len(), 0);
    host.close();
}
