//! What is tried again stays in proportion to what a store serves: some faults cost some requests
//! more, and a store that is down is not asked again by everybody who waits for it.

use std::time::{Duration, Instant};

use aquifer::io::host::credentials::{Given, Secret};
use aquifer::limits::{MEMORY_MIN_BYTES, RETRY_FLOOR_NS, RETRY_TRIES_MAX};
use aquifer::shard::engine::{Access, Config, Engine, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target};
use aquifer::types::error::ErrorKind;
use aquifer_tests::io_mode;
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::servers::{self, Kind};
use aquifer_tests::sim::rng::Rng;

const KEY_GROUPS: u32 = 16;
const KEYS: u64 = 20_000;
/// An answer takes a millisecond: who waits for this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(120);

struct Host {
    session: Session,
    store: StoreId,
    states: StateTable,
    engine: Engine,
}

impl Host {
    fn open(url: &str, handle: Option<Vec<u8>>) -> Self {
        let who = Kind::Minio.credentials();
        let mut given = Given::default();
        given.set("AWS_ACCESS_KEY_ID", Secret::new(who.user)).unwrap();
        given.set("AWS_SECRET_ACCESS_KEY", Secret::new(who.secret)).unwrap();
        let config = Config {
            access: Access::Given(given),
            memory_bytes: MEMORY_MIN_BYTES,
            io: io_mode(),
            ..Config::new(url)
        };
        let engine = Engine::open(config).unwrap();
        let mut session = engine.session(0).unwrap();
        let mut states = StateTable::default();
        states.declare("v", StateKind::Value).unwrap();
        let handles = handle.into_iter().collect();
        let config = StoreConfig { states, handles, ..StoreConfig::new(1, KEY_GROUPS) };
        let (store, states) = session.open_store(config).unwrap();
        Self { session, store, states, engine }
    }

    /// Puts or gets keys. How many failed, all for the moment; the others are right.
    fn each(&mut self, keys: impl Iterator<Item = u64>, puts: bool) -> u64 {
        let (mut batch, mut done) = (Batch::default(), Completions::default());
        let mut waiting = 0;
        for key in keys {
            let bytes = key.to_be_bytes();
            let key_of = Key::new(&bytes, KEY_GROUPS);
            let target = Target { key: key_of, namespace: &[], user_data: key };
            let state = self.states.value(self.store, "v").unwrap();
            match puts {
                true => state.request_put(&mut batch, &target, &value(key)).unwrap(),
                false => state.request_get(&mut batch, &target).unwrap(),
            }
            waiting += 1;
        }
        let mut failed = 0;
        while waiting > 0 {
            self.session.submit(&mut batch).unwrap();
            assert!(self.session.poll(Some(PATIENCE), &mut done).unwrap() > 0, "requests hang");
            assert!(done.errors.iter().all(|e| e.kind == ErrorKind::Io), "{:?}", done.errors);
            for item in &done.items {
                waiting -= 1;
                match item.status {
                    Status::Failed { .. } => failed += 1,
                    Status::Value => assert!(done.value(item) == value(item.user_data)),
                    status => assert!(puts && status == Status::Done, "{status:?}"),
                }
            }
        }
        failed
    }

    fn close(self) {
        drop(self.session);
        self.engine.close(PATIENCE).unwrap();
    }
}

fn value(key: u64) -> Vec<u8> {
    let mut rng = Rng::new(key);
    // Neighbours of a get lie farther apart than is read for nothing.
    (0..250).flat_map(|_| rng.next_u64().to_be_bytes()).collect()
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
    let mut host = Host::open(&url, None);
    host.each(0..KEYS, true);
    let handle = (0..10).find_map(|_| host.session.checkpoint(host.store).ok()).unwrap();
    host.close();
    let mut host = Host::open(&url, Some(handle));
    for round in 0..40 {
        assert_eq!(host.each((round..KEYS).step_by(400), false), 0);
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
    let mut host = Host::open(&url, None);
    host.each(0..KEYS, true);
    let handle = host.session.checkpoint(host.store).unwrap();
    host.close();
    let mut host = Host::open(&url, Some(handle));
    // All tables are open then.
    host.each((0..KEYS).step_by(500), false);
    proxy.rule(Rule::new(Fault::Answer { status: 503, retry_after: None }));
    let (before, begun) = (proxy.counts().requests_of("GET"), Instant::now());
    let keys = || (7..KEYS).step_by(50);
    let failed = host.each(keys(), false);
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
    assert_eq!(host.each(keys(), false), 0);
    host.close();
}
