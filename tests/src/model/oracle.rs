//! What a store must answer: one ordered map, and the requests that operations become.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use aquifer::codec::varint;
use aquifer::state::decode::Entries;
use aquifer::state::request::{Batch, StoreId};
use aquifer::state::{
    Key, ListState, MapState, ReducingState, StateKind, StateTable, Target, ValueState,
};
use aquifer::types::{MergeOp, Result};

use crate::sim::driver::Answer;

/// Maximal parallelism of the stores.
pub const KEY_GROUPS: u32 = 16;

/// The states of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A value.
    Value,
    /// Another value, which shares units with the first.
    Other,
    /// A list.
    List,
    /// A map.
    Map,
    /// A sum.
    Sum,
    /// A minimum.
    Min,
    /// A maximum.
    Max,
}

/// All states that hold one row a key.
pub const SMALL_STATES: [State; 6] =
    [State::Value, State::Other, State::List, State::Sum, State::Min, State::Max];

/// A row by small numbers; `map_key` is empty except for entries of maps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// The state.
    pub state: State,
    /// Number of the key.
    pub key: u8,
    /// Number of the namespace.
    pub namespace: u8,
    /// The map key.
    pub map_key: Vec<u8>,
}

/// The bytes of a key: some are prefixes of others, some are long.
#[must_use]
pub fn key_bytes(key: u8) -> Vec<u8> {
    match key % 4 {
        0 => vec![b'k'; 1 + usize::from(key / 4)],
        1 => vec![key],
        2 => [&[0xff; 7][..], &[key]].concat(),
        _ => [&[b'x'; 200][..], &[key]].concat(),
    }
}

/// The bytes of a namespace.
#[must_use]
pub fn namespace_bytes(namespace: u8) -> &'static [u8] {
    [&b""[..], b"w", b"window-2026-11-22T00:00:00/window-2026-11-22T00:05:00"]
        [usize::from(namespace)]
}

/// An operation of a program.
#[derive(Clone, Debug)]
pub enum Op {
    /// Put a value or an entry.
    Put(RowKey, Vec<u8>),
    /// Delete a value, list, number or entry.
    Delete(RowKey),
    /// Append elements to a list.
    Append(RowKey, Vec<Vec<u8>>),
    /// Replace a list.
    Update(RowKey, Vec<Vec<u8>>),
    /// Fold a number.
    Add(RowKey, i64),
    /// Clear a map.
    Clear(RowKey),
    /// Read a row.
    Get(RowKey),
    /// Read entries behind the map key.
    Scan(RowKey, u32),
}

impl Op {
    /// The row it is about.
    #[must_use]
    pub fn row(&self) -> &RowKey {
        let (Self::Put(row, _)
        | Self::Delete(row)
        | Self::Append(row, _)
        | Self::Update(row, _)
        | Self::Add(row, _)
        | Self::Clear(row)
        | Self::Get(row)
        | Self::Scan(row, _)) = self;
        row
    }

    /// True for a read.
    #[must_use]
    pub fn reads(&self) -> bool {
        matches!(self, Self::Get(_) | Self::Scan(..))
    }
}

/// The handles of a store's states.
#[derive(Clone, Copy, Debug)]
pub struct States {
    value: ValueState,
    other: ValueState,
    list: ListState,
    map: MapState,
    sum: ReducingState,
    min: ReducingState,
    max: ReducingState,
}

/// The states of every store: name and kind.
pub const STATES: [(State, &str, StateKind); 7] = [
    (State::Value, "value", StateKind::Value),
    (State::Other, "other", StateKind::Value),
    (State::List, "list", StateKind::List),
    (State::Map, "map", StateKind::Map),
    (State::Sum, "sum", StateKind::Reducing(MergeOp::Sum)),
    (State::Min, "min", StateKind::Reducing(MergeOp::Min)),
    (State::Max, "max", StateKind::Reducing(MergeOp::Max)),
];

/// The states that every store declares.
#[must_use]
pub fn declared() -> StateTable {
    let mut table = StateTable::default();
    for (_, name, kind) in STATES {
        table.declare(name, kind).expect("these names are free");
    }
    table
}

impl States {
    /// The handles of an open store.
    ///
    /// # Errors
    /// A state that a restored table does not have.
    pub fn of(store: StoreId, table: &StateTable) -> Result<Self> {
        Ok(Self {
            value: table.value(store, "value")?,
            other: table.value(store, "other")?,
            list: table.list(store, "list")?,
            map: table.map(store, "map")?,
            sum: table.reducing(store, "sum")?,
            min: table.reducing(store, "min")?,
            max: table.reducing(store, "max")?,
        })
    }

    fn reducing(&self, state: State) -> ReducingState {
        match state {
            State::Sum => self.sum,
            State::Min => self.min,
            _ => self.max,
        }
    }

    fn one(&self, state: State) -> ValueState {
        if state == State::Other { self.other } else { self.value }
    }

    /// Adds an operation to a batch.
    ///
    /// # Errors
    /// What the engine's limits refuse.
    pub fn request(&self, batch: &mut Batch, op: &Op, user_data: u64) -> Result<()> {
        let row = op.row();
        let key = key_bytes(row.key);
        let namespace = namespace_bytes(row.namespace);
        let target = Target { key: Key::new(&key, KEY_GROUPS), namespace, user_data };
        match (op, row.state) {
            (Op::Put(_, value), State::Map) => {
                self.map.request_put(batch, &target, &row.map_key, value)
            }
            (Op::Put(_, value), state) => self.one(state).request_put(batch, &target, value),
            (Op::Delete(_), State::Map) => self.map.request_remove(batch, &target, &row.map_key),
            (Op::Delete(_), State::List) => self.list.request_update(batch, &target, &[]),
            (Op::Delete(_), State::Value | State::Other) => {
                self.one(row.state).request_delete(batch, &target)
            }
            (Op::Delete(_), state) => self.reducing(state).request_clear(batch, &target),
            (Op::Append(_, items), _) => {
                let items: Vec<&[u8]> = items.iter().map(|item| &item[..]).collect();
                self.list.request_add(batch, &target, &items)
            }
            (Op::Update(_, items), _) => {
                let items: Vec<&[u8]> = items.iter().map(|item| &item[..]).collect();
                self.list.request_update(batch, &target, &items)
            }
            (Op::Add(_, number), state) => {
                self.reducing(state).request_add(batch, &target, *number)
            }
            (Op::Clear(_), _) => self.map.request_clear(batch, &target),
            (Op::Get(_), State::Map) => self.map.request_get(batch, &target, &row.map_key),
            (Op::Get(_), State::List) => self.list.request_get(batch, &target),
            (Op::Get(_), State::Value | State::Other) => {
                self.one(row.state).request_get(batch, &target)
            }
            (Op::Get(_), state) => self.reducing(state).request_get(batch, &target),
            (Op::Scan(_, limit), _) => self.map.request_scan(batch, &target, &row.map_key, *limit),
        }
    }
}

/// What a request must answer.
#[derive(Clone, Debug)]
pub enum Expected {
    /// A write takes effect.
    Done,
    /// A get finds this.
    Row(Option<Arc<Vec<u8>>>),
    /// A scan brings a first part of these, at most so many.
    Entries(Vec<(Vec<u8>, Arc<Vec<u8>>)>, u32),
}

/// The model of a store.
#[derive(Clone, Debug, Default)]
pub struct Model {
    rows: BTreeMap<RowKey, Arc<Vec<u8>>>,
}

impl Model {
    /// Applies an operation and says what the engine must answer.
    pub fn apply(&mut self, op: &Op) -> Expected {
        match op {
            Op::Put(row, value) => {
                self.rows.insert(row.clone(), Arc::new(value.clone()));
            }
            Op::Delete(row) => {
                self.rows.remove(row);
            }
            Op::Append(row, items) => {
                let list = Arc::make_mut(self.rows.entry(row.clone()).or_default());
                put_items(list, items);
            }
            Op::Update(row, items) if items.is_empty() => {
                self.rows.remove(row);
            }
            Op::Update(row, items) => {
                let mut list = Vec::new();
                put_items(&mut list, items);
                self.rows.insert(row.clone(), Arc::new(list));
            }
            Op::Add(row, number) => self.add(row, *number),
            Op::Clear(map) => {
                let first = RowKey { map_key: Vec::new(), ..map.clone() };
                let rows = self.rows.range(first..).map(|(row, _)| row);
                let gone: Vec<RowKey> =
                    rows.take_while(|row| same_map(row, map)).cloned().collect();
                for row in gone {
                    self.rows.remove(&row);
                }
            }
            Op::Get(row) => return Expected::Row(self.rows.get(row).cloned()),
            Op::Scan(after, limit) => return Expected::Entries(self.entries(after), *limit),
        }
        Expected::Done
    }

    fn add(&mut self, row: &RowKey, number: i64) {
        let old = self.rows.get(row).map(|bytes| {
            i64::from_le_bytes(bytes[..].try_into().expect("the model stores eight bytes"))
        });
        let new = match (old, row.state) {
            (None, _) => number,
            (Some(old), State::Sum) => old.wrapping_add(number),
            (Some(old), State::Min) => old.min(number),
            (Some(old), _) => old.max(number),
        };
        self.rows.insert(row.clone(), Arc::new(new.to_le_bytes().to_vec()));
    }

    fn entries(&self, after: &RowKey) -> Vec<(Vec<u8>, Arc<Vec<u8>>)> {
        self.rows
            .range((Excluded(after), Unbounded))
            .take_while(|(row, _)| same_map(row, after))
            .map(|(row, value)| (row.map_key.clone(), Arc::clone(value)))
            .collect()
    }

    /// Bytes of a row.
    #[must_use]
    pub fn len_of(&self, row: &RowKey) -> usize {
        self.rows.get(row).map_or(0, |value| value.len())
    }

    /// Rows of the store.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }
}

fn same_map(row: &RowKey, map: &RowKey) -> bool {
    (row.state, row.key, row.namespace) == (map.state, map.key, map.namespace)
}

/// Appends elements as a list stores them.
pub(super) fn put_items(list: &mut Vec<u8>, items: &[Vec<u8>]) {
    for item in items {
        varint::put(list, item.len() as u64);
        list.extend_from_slice(item);
    }
}

/// Compares an answer; a failed request is the caller's to judge.
///
/// # Errors
/// How they differ.
pub fn compare(expected: &Expected, answer: &Answer) -> std::result::Result<(), String> {
    match (expected, answer) {
        (Expected::Done, Answer::Done) | (Expected::Row(None), Answer::Absent) => Ok(()),
        (Expected::Row(Some(value)), Answer::Value(found)) if **value == *found => Ok(()),
        (Expected::Row(Some(value)), Answer::Value(found)) => Err(format!(
            "a get found {} bytes {:?} instead of {} bytes {:?}",
            found.len(),
            head(found),
            value.len(),
            head(value)
        )),
        (Expected::Row(Some(value)), Answer::Absent) => {
            Err(format!("a get found nothing instead of {} bytes {:?}", value.len(), head(value)))
        }
        (Expected::Entries(entries, limit), Answer::Entries(rows, more)) => {
            compare_entries(entries, *limit, rows, *more)
        }
        (expected, answer) => {
            let expected = format!("{expected:?}");
            let answer = format!("{answer:?}");
            Err(format!("{:.200} instead of {:.200}", answer, expected))
        }
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(24)]
}

fn compare_entries(
    expected: &[(Vec<u8>, Arc<Vec<u8>>)],
    limit: u32,
    rows: &[u8],
    more: bool,
) -> std::result::Result<(), String> {
    let entries = Entries::check(rows, more).map_err(|error| error.to_string())?;
    let count = entries.len();
    for (at, (map_key, value)) in entries.enumerate() {
        match expected.get(at) {
            Some((key, wanted)) if key[..] == *map_key && wanted[..] == *value => {}
            other => {
                return Err(format!(
                    "entry {at} of a scan is {map_key:?} with {} bytes instead of {:?}",
                    value.len(),
                    other.map(|(key, value)| (key, value.len()))
                ));
            }
        }
    }
    if count > limit as usize {
        return Err(format!("a scan of at most {limit} brought {count} entries"));
    }
    if !more && count != expected.len() {
        return Err(format!("a scan ended after {count} entries of {}", expected.len()));
    }
    if more && count == 0 {
        return Err("a scan brought nothing and says that more follows: no way on".to_owned());
    }
    Ok(())
}
