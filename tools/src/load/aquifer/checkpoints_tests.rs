use aquifer::lsm::manifest::{Manifest, TabletRef};
use aquifer::sst::meta::TableRef;
use aquifer::types::{Incarnation, ObjectKind, ObjectName};

use super::Last;

const MANIFEST_BYTES: u64 = 7;

/// A checkpoint of tables by their sequence numbers (which are their sizes too), and the runs of
/// its tablets, newest first.
fn checkpoint(tablets: &[&[u64]]) -> Last {
    let mut seqs: Vec<u64> = tablets.concat();
    seqs.sort_unstable();
    seqs.dedup();
    let incarnation = Incarnation { host_epoch: 0, nonce: 0 };
    let table = |&seq: &u64| TableRef {
        name: ObjectName { store: 1, incarnation, kind: ObjectKind::Sst, seq, rand: 0 },
        file_bytes: seq,
        meta_offset: 0,
        meta_len: 0,
        meta_crc: 0,
    };
    let number = |seq: &u64| seqs.binary_search(seq).unwrap() as u32;
    let tablets = tablets
        .iter()
        .map(|runs| TabletRef { low: Box::default(), runs: runs.iter().map(number).collect() });
    let manifest = Manifest {
        store: 1,
        key_groups: 1,
        range: (0, 0),
        states: Vec::new(),
        tables: seqs.iter().map(table).collect(),
        tablets: tablets.collect(),
        hot: Vec::new(),
    };
    Last { handle: Vec::new(), manifest, manifest_bytes: MANIFEST_BYTES }
}

#[test]
fn a_checkpoint_moves_its_flush_and_its_manifest() {
    let before = checkpoint(&[&[30, 10], &[30, 20]]);
    let cases: [(&str, &[&[u64]], u64); 5] = [
        ("a flush on top of all", &[&[40, 30, 10], &[40, 30, 20]], 40),
        ("a merge below the flush", &[&[40, 35], &[40, 30, 20]], 40),
        ("a merge on top where the flush has no keys", &[&[40, 30, 10], &[50]], 40),
        ("nothing new in memory", &[&[30, 10], &[30, 20]], 0),
        ("an earlier flush below its own", &[&[40, 35, 30], &[40, 35, 30]], 40),
    ];
    for (what, tablets, want) in cases {
        let moved = checkpoint(tablets).bytes_moved(Some(&before));
        assert_eq!(moved, MANIFEST_BYTES + want, "{what}");
    }
    assert_eq!(before.bytes_moved(None), MANIFEST_BYTES + 30);
    assert_eq!(checkpoint(&[&[]]).bytes_moved(None), MANIFEST_BYTES);
}
