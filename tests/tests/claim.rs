//! Checkpoints that a store claims from those before it: what only they keep goes with them, and
//! nothing else.

use std::collections::BTreeSet;

use aquifer::shard::ShardLimits;
use aquifer::shard::values::{ControlOp, ControlResult, OpenStore};
use aquifer::state::request::StoreId;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Incarnation, ObjectName, Result};
use aquifer_tests::client::{Client, small_limits};
use aquifer_tests::model::oracle::{KEY_GROUPS, Op, RowKey, State, States, declared};
use aquifer_tests::sim::driver::Answer;

const KEYS: u8 = 40;

/// A host of one store at a time.
struct Host {
    client: Client,
    nonce: u64,
}

impl Host {
    fn new() -> Self {
        let client = Client::new(ShardLimits {
            rows_bytes_min: 3 << 20,
            flush_bytes: 4 << 10,
            ..small_limits()
        });
        Self { client, nonce: 1 }
    }

    fn write(&mut self, round: u8) {
        assert!(self.client.run(&puts(round)).iter().all(|answer| *answer == Answer::Done));
        self.client.drain();
    }

    fn read(&mut self, round: u8) {
        let gets: Vec<Op> = (0..KEYS).map(|key| Op::Get(row(key))).collect();
        let expected = Answer::Value(vec![round; 1000]);
        assert!(self.client.run(&gets).iter().all(|answer| *answer == expected));
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        match self.client.ask(ControlOp::Checkpoint(self.client.store())).unwrap() {
            ControlResult::Handle(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, range: (u16, u16), handle: &[u8]) -> StoreId {
        self.nonce += 1;
        let open = OpenStore {
            number: 1,
            incarnation: Incarnation { host_epoch: 9, nonce: 1000 + u128::from(self.nonce) },
            seed: self.nonce,
            key_groups: KEY_GROUPS,
            range,
            states: declared(),
            handles: vec![handle.to_vec()],
            keep: 0,
        };
        match self.client.ask(ControlOp::Open(Box::new(open))).unwrap() {
            ControlResult::Opened(store, table) => {
                self.client.turn_to((store, States::of(store, &table).unwrap()));
                store
            }
            other => panic!("{other:?}"),
        }
    }

    fn restore(&mut self, handle: &[u8]) {
        self.client.crash();
        self.open((0, (KEY_GROUPS - 1) as u16), handle);
    }

    fn claim(&mut self, handles: &[&[u8]]) -> Result<ControlResult> {
        let handles = handles.iter().map(|handle| handle.to_vec()).collect();
        self.client.ask(ControlOp::Claim(self.client.store(), handles))
    }

    fn release(&mut self, handle: &[u8]) {
        self.client.ask(ControlOp::Release(self.client.store(), handle.to_vec())).unwrap();
        self.client.turns(200);
    }

    fn objects(&self) -> BTreeSet<ObjectName> {
        self.client.sim.dfs.names().copied().collect()
    }

    fn needed(&mut self, handle: &[u8]) -> BTreeSet<ObjectName> {
        self.client.sim.dfs.reachable(handle).unwrap()
    }
}

fn puts(round: u8) -> Vec<Op> {
    (0..KEYS).map(|key| Op::Put(row(key), vec![round; 1000])).collect()
}

fn row(key: u8) -> RowKey {
    RowKey { state: State::Value, key, namespace: 0, map_key: Vec::new() }
}

#[test]
fn what_was_claimed_goes_with_the_checkpoints_that_keep_it() {
    let mut host = Host::new();
    host.write(1);
    let first = host.checkpoint();
    host.write(2);
    let second = host.checkpoint();
    host.restore(&second);
    assert_eq!(host.claim(&[&first, &second]).unwrap(), ControlResult::Done);
    host.read(2);
    host.write(3);
    let third = host.checkpoint();
    let before = host.objects();
    assert!(host.needed(&first).union(&host.needed(&second)).all(|name| before.contains(name)));
    host.release(&first);
    let (left, needed) = (host.objects(), host.needed(&second));
    assert!(left.is_superset(&needed) && left.len() < before.len());
    host.release(&second);
    assert_eq!(host.objects(), host.needed(&third));
    host.read(3);
    host.restore(&third);
    host.read(3);
}

#[test]
fn a_checkpoint_that_is_given_up_takes_nothing_from_one_beside_it() {
    for given_up in [0, 1] {
        let mut host = Host::new();
        host.write(1);
        // Both are under way at once, and share what was flushed before.
        for round in [2, 3] {
            host.client.submit(u64::from(round) * 100, &puts(round));
            let cut = ControlOp::Checkpoint(host.client.store());
            host.client.sim.control(0, 1000 + u64::from(round), cut);
            assert!(host.client.turns(1).controls.is_empty());
        }
        let mut ended = host.client.turns(200).controls;
        let handles = [2, 3].map(|round| match ended.remove(&(1000 + round)) {
            Some(Ok(ControlResult::Handle(handle))) => handle,
            other => panic!("{other:?}"),
        });
        let before = host.objects();
        host.release(&handles[given_up]);
        assert!(host.objects().len() < before.len(), "its manifest goes");
        let kept = 1 - given_up;
        host.restore(&handles[kept]);
        host.read(2 + kept as u8);
    }
}

#[test]
fn what_left_the_store_before_it_was_claimed_goes_too() {
    let mut host = Host::new();
    host.write(1);
    let first = host.checkpoint();
    host.restore(&first);
    host.write(2);
    let second = host.checkpoint();
    host.claim(&[&first]).unwrap();
    host.release(&first);
    assert_eq!(host.objects(), host.needed(&second));
}

#[test]
fn without_a_claim_nothing_of_others_goes() {
    let mut host = Host::new();
    host.write(1);
    let first = host.checkpoint();
    host.restore(&first);
    host.write(2);
    host.checkpoint();
    let before = host.objects();
    host.release(&first);
    assert_eq!(host.objects(), before);
}

#[test]
fn a_claim_takes_everything_or_nothing() {
    let mut host = Host::new();
    host.write(1);
    let first = host.checkpoint();
    host.write(2);
    let second = host.checkpoint();
    host.restore(&second);
    let mut damaged = first.clone();
    damaged[20] ^= 1;
    assert_eq!(host.claim(&[&second, &damaged]).unwrap_err().kind, ErrorKind::Corrupt);
    host.write(3);
    host.checkpoint();
    let before = host.objects();
    host.release(&second);
    assert_eq!(host.objects(), before);
    assert_eq!(host.claim(&[]).unwrap(), ControlResult::Done);
}

#[test]
fn a_part_of_a_checkpoint_cannot_be_claimed() {
    let mut host = Host::new();
    host.write(1);
    let first = host.checkpoint();
    host.open((0, 1), &first);
    let error = host.claim(&[&first]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.text.contains("claim only what was written"), "{}", error.text);
}
