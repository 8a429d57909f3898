//! The states of a store: name, kind and id. Ids count from 1 in the order of declaration and
//! stand in every stored key, so the table only grows and travels in the manifest.

use std::fmt;

use crate::codec::reader::Reader;
use crate::codec::varint;
use crate::limits::{STATE_NAME_BYTES_MAX, STATES_MAX};
use crate::lsm::fold::MergeOps;
use crate::state::handle::{ListState, MapState, ReducingState, ValueState};
use crate::state::request::StoreId;
use crate::types::nearest::nearest;
use crate::types::{Error, Locality, MergeOp, Result, StateId};

/// What a state holds for each key and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// One value.
    Value,
    /// A sequence of elements; adding one needs no read.
    List,
    /// Entries in the order of their map keys.
    Map,
    /// A number folded by the operator: `Sum`, `Min` or `Max`.
    Reducing(MergeOp),
}

impl StateKind {
    /// Which states share units with this one.
    #[must_use]
    pub fn locality(self) -> Locality {
        match self {
            Self::Map => Locality::Collection,
            Self::Value | Self::List | Self::Reducing(_) => Locality::Small,
        }
    }

    // Numbers stand in manifests; zero is reserved. The operator of the other kinds is zero.
    fn numbers(self) -> [u8; 2] {
        match self {
            Self::Value => [1, 0],
            Self::List => [2, 0],
            Self::Map => [3, 0],
            Self::Reducing(op) => [4, op as u8],
        }
    }

    fn from_numbers(numbers: [u8; 2]) -> Option<Self> {
        match numbers {
            [1, 0] => Some(Self::Value),
            [2, 0] => Some(Self::List),
            [3, 0] => Some(Self::Map),
            [4, op] => MergeOp::from_u8(op).filter(|&op| reduces(op)).map(Self::Reducing),
            _ => None,
        }
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Reducing(MergeOp::Sum) => "reducing (sum)",
            Self::Reducing(MergeOp::Min) => "reducing (min)",
            Self::Reducing(MergeOp::Max) => "reducing (max)",
            Self::Reducing(MergeOp::Append) => "reducing (append)",
        })
    }
}

/// A state as its user declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDescriptor {
    /// Names the state in its store, for ever.
    pub name: String,
    /// What it holds.
    pub kind: StateKind,
}

/// The states of one store. The state at index `i` has the id `i + 1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateTable {
    states: Vec<StateDescriptor>,
}

impl StateTable {
    /// Adds a state, or finds it where a state of this name and kind exists, as after a restore.
    ///
    /// # Errors
    /// `Invalid` if the name is taken by another kind, empty or too long, if the operator of a
    /// reducing state does not fold numbers, and if the store has no id left.
    pub fn declare(&mut self, name: &str, kind: StateKind) -> Result<StateId> {
        if let Some(id) = self.position(name) {
            check_kind(&self.states[usize::from(id.0) - 1], kind)?;
            return Ok(id);
        }
        if name.is_empty() || name.len() > STATE_NAME_BYTES_MAX {
            return Err(Error::invalid(format!(
                "a state name has 1 to {STATE_NAME_BYTES_MAX} bytes, this one {}; shorten it",
                name.len()
            )));
        }
        if matches!(kind, StateKind::Reducing(op) if !reduces(op)) {
            return Err(Error::invalid(format!(
                "state `{name}`: append does not fold numbers; declare a list state"
            )));
        }
        if self.states.len() == STATES_MAX {
            return Err(Error::invalid(format!(
                "a store holds at most {STATES_MAX} states; keep related values in one map state"
            )));
        }
        self.states.push(StateDescriptor { name: name.to_owned(), kind });
        Ok(StateId(self.states.len() as u8))
    }

    /// Takes over the states of another table. Ids stand in stored keys, so states that both have
    /// must have the same ids: one table begins as the other does.
    ///
    /// # Errors
    /// `Invalid` if an id is another state's.
    pub fn join(&mut self, other: &Self) -> Result<()> {
        let both = (1..=u8::MAX).zip(self.states.iter().zip(&other.states));
        if let Some((id, (mine, others))) = both.into_iter().find(|(_, (a, b))| a != b) {
            return Err(Error::invalid(format!(
                "state {id} is `{}` ({}) in one checkpoint and `{}` ({}) in another; stores whose \
                 checkpoints shall open as one declare the same states in the same order",
                mine.name, mine.kind, others.name, others.kind
            )));
        }
        let new = other.states.get(self.states.len()..).unwrap_or_default();
        self.states.extend_from_slice(new);
        Ok(())
    }

    /// The states with their ids, in the order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = (StateId, &StateDescriptor)> {
        (1..=u8::MAX).map(StateId).zip(&self.states)
    }

    /// States declared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// True if no state is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The state with this id.
    #[must_use]
    pub fn get(&self, id: StateId) -> Option<&StateDescriptor> {
        self.states.get(usize::from(id.0).checked_sub(1)?)
    }

    /// The state with this name.
    ///
    /// # Errors
    /// `Invalid` for an unknown name, with the closest known one.
    pub fn find(&self, name: &str) -> Result<(StateId, StateKind)> {
        match self.position(name) {
            Some(id) => Ok((id, self.states[usize::from(id.0) - 1].kind)),
            None => Err(self.unknown(name)),
        }
    }

    /// The handle of the value state `name` of `store`.
    ///
    /// # Errors
    /// `Invalid` for an unknown name or a state of another kind.
    pub fn value(&self, store: StoreId, name: &str) -> Result<ValueState> {
        let id = self.find_kind(name, StateKind::Value)?;
        Ok(ValueState { store, id })
    }

    /// The handle of the list state `name` of `store`.
    ///
    /// # Errors
    /// `Invalid` for an unknown name or a state of another kind.
    pub fn list(&self, store: StoreId, name: &str) -> Result<ListState> {
        let id = self.find_kind(name, StateKind::List)?;
        Ok(ListState { store, id })
    }

    /// The handle of the map state `name` of `store`.
    ///
    /// # Errors
    /// `Invalid` for an unknown name or a state of another kind.
    pub fn map(&self, store: StoreId, name: &str) -> Result<MapState> {
        let id = self.find_kind(name, StateKind::Map)?;
        Ok(MapState { store, id })
    }

    /// The handle of the reducing state `name` of `store`, whatever its operator.
    ///
    /// # Errors
    /// `Invalid` for an unknown name or a state of another kind.
    pub fn reducing(&self, store: StoreId, name: &str) -> Result<ReducingState> {
        match self.find(name)? {
            (id, StateKind::Reducing(merge)) => Ok(ReducingState { store, id, merge }),
            (_, kind) => Err(Error::invalid(format!(
                "state `{name}` is {kind}, not reducing; open it as {kind} or take another name"
            ))),
        }
    }

    /// How operands of each state fold.
    #[must_use]
    pub fn merge_ops(&self) -> MergeOps {
        let mut ops = MergeOps::default();
        for (id, state) in self.iter() {
            ops.0[usize::from(id.0)] = match state.kind {
                StateKind::Value | StateKind::Map => None,
                StateKind::List => Some(MergeOp::Append),
                StateKind::Reducing(op) => Some(op),
            };
        }
        ops
    }

    /// Appends the manifest's form: varint count, then per state kind, operator, varint name
    /// length and name.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.states.len() as u64);
        for state in &self.states {
            out.extend_from_slice(&state.kind.numbers());
            varint::put(out, state.name.len() as u64);
            out.extend_from_slice(state.name.as_bytes());
        }
    }

    /// Reads the manifest's form and stops behind it. Any bytes are allowed.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not a table that `encode` could have written.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let cut_short = || Error::corrupt("state table: it ends inside a state");
        let count = reader.varint().ok_or_else(cut_short)?;
        let mut table = Self::default();
        for id in 1..=count {
            let numbers = *reader.array::<2>().ok_or_else(cut_short)?;
            let kind = StateKind::from_numbers(numbers).ok_or_else(|| {
                Error::corrupt(format!("state table: state {id} has the unknown kind {numbers:?}"))
            })?;
            let name = std::str::from_utf8(reader.span().ok_or_else(cut_short)?)
                .map_err(|_| Error::corrupt(format!("state table: name {id} is not UTF-8")))?;
            // `declare` holds the limits; a name that exists would give an older id.
            match table.declare(name, kind) {
                Ok(declared) if u64::from(declared.0) == id => {}
                Ok(_) => return Err(Error::corrupt(format!("state table: `{name}` stands twice"))),
                Err(e) => return Err(Error::corrupt(format!("state table: {}", e.text))),
            }
        }
        Ok(table)
    }

    fn position(&self, name: &str) -> Option<StateId> {
        self.iter().find(|(_, state)| state.name == name).map(|(id, _)| id)
    }

    fn find_kind(&self, name: &str, kind: StateKind) -> Result<StateId> {
        let id = self.position(name).ok_or_else(|| self.unknown(name))?;
        check_kind(&self.states[usize::from(id.0) - 1], kind)?;
        Ok(id)
    }

    fn unknown(&self, name: &str) -> Error {
        let hint = match nearest(name, self.states.iter().map(|state| &state.name[..])) {
            Some(known) => format!("did you mean `{known}`?"),
            None if self.states.is_empty() => "this store has no states; declare it".to_owned(),
            None => {
                let known: Vec<_> = self.states.iter().map(|s| format!("`{}`", s.name)).collect();
                format!("declare it, or use one of {}", known.join(", "))
            }
        };
        Error::invalid(format!("no state is named `{name}`; {hint}"))
    }
}

fn reduces(op: MergeOp) -> bool {
    op != MergeOp::Append
}

fn check_kind(state: &StateDescriptor, wanted: StateKind) -> Result<()> {
    if state.kind == wanted {
        return Ok(());
    }
    let StateDescriptor { name, kind } = state;
    Err(Error::invalid(format!(
        "state `{name}` is {kind}, not {wanted}; open it as {kind} or take another name"
    )))
}
