//! Every operator across memory, flush, merge and restore: after each write of a script the store
//! goes through one of them, in every combination, and then answers as if nothing had happened.

use aquifer::codec::varint;
use aquifer::limits::RUNS_MAX;
use aquifer::shard::ShardLimits;
use aquifer_tests::client::{Client, small_limits};
use aquifer_tests::model::oracle::{Op, RowKey, State};
use aquifer_tests::sim::driver::Answer;
use aquifer_tests::sim::rng::Rng;

/// What the store goes through after a write.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Memory,
    Flush,
    Merge,
    Restore,
}

const STAGES: [Stage; 4] = [Stage::Memory, Stage::Flush, Stage::Merge, Stage::Restore];

fn limits() -> ShardLimits {
    ShardLimits {
        rows_bytes_min: 8 << 20,
        flush_bytes: 1 << 20,
        job_bytes_max: 16 << 20,
        table_bytes_target: 1 << 20,
        ..small_limits()
    }
}

fn row(state: State) -> RowKey {
    RowKey { state, key: 1, namespace: 0, map_key: Vec::new() }
}

fn entry(map_key: u8) -> RowKey {
    RowKey { map_key: vec![map_key], ..row(State::Map) }
}

fn put(row: RowKey, value: &str) -> Op {
    Op::Put(row, value.as_bytes().to_vec())
}

fn items(items: &[&str]) -> Vec<Vec<u8>> {
    items.iter().map(|item| item.as_bytes().to_vec()).collect()
}

fn spans(spans: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for span in spans {
        varint::put(&mut out, span.len() as u64);
        out.extend_from_slice(span);
    }
    out
}

fn list(items: &[&str]) -> Answer {
    Answer::Value(spans(&items.iter().map(|item| item.as_bytes()).collect::<Vec<_>>()))
}

fn number(number: i64) -> Answer {
    Answer::Value(number.to_le_bytes().to_vec())
}

fn bytes(value: &str) -> Answer {
    Answer::Value(value.as_bytes().to_vec())
}

fn noise(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(3);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

fn pass(client: &mut Client, stage: Stage) {
    // Rows that keep the runs from being empty, and older than nothing that is tested.
    let filler = |key, len| Op::Put(RowKey { key, ..row(State::Other) }, vec![key; len]);
    match stage {
        Stage::Memory => {}
        Stage::Flush => client.drain(),
        Stage::Merge => {
            let before = client.counters().merges;
            for key in 10..11 + RUNS_MAX as u8 {
                client.run(&[filler(key, 10)]);
                client.drain();
            }
            assert!(client.counters().merges > before, "nothing was merged");
        }
        Stage::Restore => client.restore(),
    }
}

/// Runs `writes`, each followed by a stage, in every combination of stages, and asks `reads`.
/// Once on an empty store, where merges reach the oldest run, and once over a large old run that
/// merges leave alone.
fn across(writes: &[Op], reads: &[(Op, Answer)]) {
    for combination in 0..STAGES.len().pow(writes.len() as u32) * 2 {
        let over_old_run = combination % 2 == 1;
        let mut client = Client::new(limits());
        if over_old_run {
            let old = RowKey { key: 9, ..row(State::Value) };
            client.run(&[Op::Put(old, noise(200_000))]);
            client.drain();
        }
        let (mut digits, mut stages) = (combination / 2, Vec::new());
        for write in writes {
            assert_eq!(client.run(std::slice::from_ref(write)), [Answer::Done]);
            stages.push(STAGES[digits % STAGES.len()]);
            pass(&mut client, stages[stages.len() - 1]);
            digits /= STAGES.len();
        }
        let (ops, expected): (Vec<Op>, Vec<Answer>) = reads.iter().cloned().unzip();
        let answers = client.run(&ops);
        assert_eq!(answers, expected, "after {stages:?}, over an old run: {over_old_run}");
    }
}

#[test]
fn the_last_put_wins() {
    let value = row(State::Value);
    across(
        &[put(value.clone(), "one"), put(value.clone(), "two"), put(value.clone(), "")],
        &[(Op::Get(value), bytes(""))],
    );
}

#[test]
fn a_deleted_value_stays_deleted() {
    let value = row(State::Value);
    across(
        &[put(value.clone(), "one"), Op::Delete(value.clone())],
        &[(Op::Get(value), Answer::Absent)],
    );
}

#[test]
fn a_value_can_be_put_again_after_a_delete() {
    let value = row(State::Value);
    across(
        &[put(value.clone(), "one"), Op::Delete(value.clone()), put(value.clone(), "two")],
        &[(Op::Get(value), bytes("two"))],
    );
}

#[test]
fn appends_concatenate() {
    let row = row(State::List);
    across(
        &[
            Op::Append(row.clone(), items(&["a"])),
            Op::Append(row.clone(), items(&["", "bc"])),
            Op::Append(row.clone(), items(&["d"])),
        ],
        &[(Op::Get(row), list(&["a", "", "bc", "d"]))],
    );
}

#[test]
fn an_append_goes_onto_an_update() {
    let row = row(State::List);
    across(
        &[
            Op::Append(row.clone(), items(&["old"])),
            Op::Update(row.clone(), items(&["a"])),
            Op::Append(row.clone(), items(&["b"])),
        ],
        &[(Op::Get(row), list(&["a", "b"]))],
    );
}

#[test]
fn an_append_after_a_delete_starts_anew() {
    let row = row(State::List);
    across(
        &[
            Op::Append(row.clone(), items(&["old"])),
            Op::Delete(row.clone()),
            Op::Append(row.clone(), items(&["a"])),
        ],
        &[(Op::Get(row), list(&["a"]))],
    );
}

#[test]
fn large_appends_concatenate() {
    // One needs a segment of its own while it grows and none when written.
    let (large, small) = ("x".repeat(20_000), "y".repeat(3_000));
    let row = row(State::List);
    across(
        &[
            Op::Append(row.clone(), items(&[&large])),
            Op::Append(row.clone(), items(&[&small])),
            Op::Append(row.clone(), items(&[&large])),
        ],
        &[(Op::Get(row), list(&[&large, &small, &large]))],
    );
}

fn folds(state: State, expected: i64) {
    let row = row(state);
    let add = |number| Op::Add(row.clone(), number);
    across(&[add(5), add(-3), add(40)], &[(Op::Get(row.clone()), number(expected))]);
}

#[test]
fn sums_fold() {
    folds(State::Sum, 42);
}

#[test]
fn minima_fold() {
    folds(State::Min, -3);
}

#[test]
fn maxima_fold() {
    folds(State::Max, 40);
}

#[test]
fn a_cleared_number_starts_anew() {
    for state in [State::Sum, State::Min, State::Max] {
        let row = row(state);
        across(
            &[Op::Add(row.clone(), 9), Op::Delete(row.clone()), Op::Add(row.clone(), 7)],
            &[(Op::Get(row), number(7))],
        );
    }
}

#[test]
fn a_clear_removes_what_was_before_it() {
    let map = row(State::Map);
    let entries = |spans_of: &[&[u8]]| Answer::Entries(spans(spans_of), false);
    // A first write makes both entries, for the clear and what follows to meet them together.
    across(
        &[put(entry(1), "one"), Op::Clear(map.clone()), put(entry(2), "two")],
        &[
            (Op::Get(entry(1)), Answer::Absent),
            (Op::Get(entry(2)), bytes("two")),
            (Op::Scan(map.clone(), 10), entries(&[&[2], b"two"])),
        ],
    );
    across(
        &[put(entry(2), "old"), Op::Clear(map.clone()), put(entry(2), "new")],
        &[(Op::Get(entry(2)), bytes("new")), (Op::Scan(map.clone(), 10), entries(&[&[2], b"new"]))],
    );
    across(
        &[put(entry(1), "one"), Op::Clear(map.clone()), Op::Clear(map.clone())],
        &[(Op::Get(entry(1)), Answer::Absent), (Op::Scan(map, 10), entries(&[]))],
    );
}

#[test]
fn a_clear_leaves_other_maps_alone() {
    let map = row(State::Map);
    let other = RowKey { namespace: 1, ..entry(1) };
    across(
        &[put(entry(1), "one"), put(other.clone(), "other"), Op::Clear(map)],
        &[(Op::Get(entry(1)), Answer::Absent), (Op::Get(other), bytes("other"))],
    );
}

#[test]
fn a_scan_sees_puts_and_removes_in_order() {
    let map = row(State::Map);
    across(
        &[put(entry(2), "two"), put(entry(1), "one"), Op::Delete(entry(2))],
        &[
            (Op::Scan(map.clone(), 10), Answer::Entries(spans(&[&[1], b"one"]), false)),
            (Op::Scan(entry(1), 10), Answer::Entries(Vec::new(), false)),
        ],
    );
}
