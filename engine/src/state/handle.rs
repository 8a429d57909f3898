//! Handles of states, and the requests their operations become. A stored key is written straight
//! into the batch and hashed there once; a request that breaks a limit leaves the batch as it was.

use crate::codec::hash::{hash64, key_group};
use crate::codec::varint;
use crate::limits::{BATCH_BYTES_MAX, KEY_BYTES_MAX, STORED_KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::state::request::{Batch, Op, Request, Span, StoreId};
use crate::types::error::ErrorKind;
use crate::types::key::{encode_key, too_large};
use crate::types::{Error, KeyGroup, Locality, MergeOp, Result, StateId};

/// A host's key with its group, which is found once per record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The group: the host's own, or `codec::hash::key_group`.
    pub group: KeyGroup,
    /// The host's bytes.
    pub bytes: &'a [u8],
}

impl<'a> Key<'a> {
    /// The key of `bytes` under a maximal parallelism of `key_groups`.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8], key_groups: u32) -> Self {
        Self { group: key_group(bytes, key_groups), bytes }
    }
}

/// Where a request goes and what its completion carries back.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The record's key.
    pub key: Key<'a>,
    /// The namespace, such as a window; empty where none.
    pub namespace: &'a [u8],
    /// Comes back in the completion.
    pub user_data: u64,
}

/// A state that holds one value for each key and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueState {
    pub(super) store: StoreId,
    pub(super) id: StateId,
}

impl ValueState {
    /// Reads the value: completes with `Value` or `Absent`.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit.
    #[inline]
    pub fn request_get(&self, batch: &mut Batch, target: &Target<'_>) -> Result<()> {
        self.row().push(batch, target, Op::Get, &[])
    }

    /// Sets the value.
    ///
    /// # Errors
    /// `TooLarge` if the key, the value or the batch exceeds its limit.
    #[inline]
    pub fn request_put(&self, batch: &mut Batch, target: &Target<'_>, value: &[u8]) -> Result<()> {
        self.row().push(batch, target, Op::Put, value)
    }

    /// Removes the value.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit.
    #[inline]
    pub fn request_delete(&self, batch: &mut Batch, target: &Target<'_>) -> Result<()> {
        self.row().push(batch, target, Op::Delete, &[])
    }

    #[inline]
    fn row(&self) -> Row<'static> {
        Row::small(self.store, self.id)
    }
}

/// A state that holds a sequence of elements for each key and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListState {
    pub(super) store: StoreId,
    pub(super) id: StateId,
}

impl ListState {
    /// Reads the elements: `Items` decodes the value; `Absent` is the empty list.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit.
    #[inline]
    pub fn request_get(&self, batch: &mut Batch, target: &Target<'_>) -> Result<()> {
        self.row().push(batch, target, Op::Get, &[])
    }

    /// Appends elements, without a read. A list has 16 MiB (`VALUE_BYTES_MAX`) in all: what memory
    /// shows to exceed them completes with `TooLarge` and has no effect. A list that exceeds them
    /// unseen cannot be read any more: its gets complete with `TooLarge` until it is deleted or
    /// updated. What grows so far belongs into a map.
    ///
    /// # Errors
    /// `TooLarge` if the key, the elements or the batch exceeds its limit.
    #[inline]
    pub fn request_add(
        &self,
        batch: &mut Batch,
        target: &Target<'_>,
        elements: &[&[u8]],
    ) -> Result<()> {
        self.row().push_elements(batch, target, Op::Merge(MergeOp::Append), elements)
    }

    /// Replaces the list. Without elements the row is removed: an absent list reads the same and
    /// takes no room.
    ///
    /// # Errors
    /// `TooLarge` if the key, the elements or the batch exceeds its limit.
    #[inline]
    pub fn request_update(
        &self,
        batch: &mut Batch,
        target: &Target<'_>,
        elements: &[&[u8]],
    ) -> Result<()> {
        let op = if elements.is_empty() { Op::Delete } else { Op::Put };
        self.row().push_elements(batch, target, op, elements)
    }

    #[inline]
    fn row(&self) -> Row<'static> {
        Row::small(self.store, self.id)
    }
}

/// A state that holds entries, ordered by map key, for each key and namespace. A map key has at
/// least one byte: the stored key of the empty one would be that of the map itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapState {
    pub(super) store: StoreId,
    pub(super) id: StateId,
}

impl MapState {
    /// Reads the value of an entry: completes with `Value` or `Absent`.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit, `Invalid` for an empty map key.
    #[inline]
    pub fn request_get(
        &self,
        batch: &mut Batch,
        target: &Target<'_>,
        map_key: &[u8],
    ) -> Result<()> {
        self.entry(map_key)?.push(batch, target, Op::Get, &[])
    }

    /// Sets the value of an entry.
    ///
    /// # Errors
    /// `TooLarge` if the key, the value or the batch exceeds its limit, `Invalid` for an empty
    /// map key.
    #[inline]
    pub fn request_put(
        &self,
        batch: &mut Batch,
        target: &Target<'_>,
        map_key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        self.entry(map_key)?.push(batch, target, Op::Put, value)
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit, `Invalid` for an empty map key.
    #[inline]
    pub fn request_remove(
        &self,
        batch: &mut Batch,
        target: &Target<'_>,
        map_key: &[u8],
    ) -> Result<()> {
        self.entry(map_key)?.push(batch, target, Op::Delete, &[])
    }

    /// Removes every entry, whatever their number.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit.
    #[inline]
    pub fn request_clear(&self, batch: &mut Batch, target: &Target<'_>) -> Result<()> {
        self.prefix().push(batch, target, Op::Clear, &[])
    }

    /// Reads at most `limit` entries above the map key `after`; the empty one starts. Completes
    /// with `Entries`.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit, `Invalid` for a limit of zero.
    #[inline]
    pub fn request_scan(
        &self,
        batch: &mut Batch,
        target: &Target<'_>,
        after: &[u8],
        limit: u32,
    ) -> Result<()> {
        if limit == 0 {
            return Err(Error::invalid("a scan of at most 0 entries; ask for at least one"));
        }
        // The shard continues at the stored key of `after`, which must be one.
        let key_len = target.key.bytes.len() + target.namespace.len() + after.len();
        if key_len > KEY_BYTES_MAX {
            return Err(too_large(key_len));
        }
        self.prefix().push(batch, target, Op::Scan, after)?;
        if let Some(request) = batch.requests.last_mut() {
            request.limit = limit;
        }
        Ok(())
    }

    #[inline]
    fn prefix(&self) -> Row<'static> {
        Row { store: self.store, id: self.id, locality: Locality::Collection, map_key: &[] }
    }

    #[inline]
    fn entry<'a>(&self, map_key: &'a [u8]) -> Result<Row<'a>> {
        if map_key.is_empty() {
            return Err(Error::invalid("a map key is empty; put a byte, such as a tag, before it"));
        }
        Ok(Row { map_key, ..self.prefix() })
    }
}

/// A state that folds numbers into one for each key and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReducingState {
    pub(super) store: StoreId,
    pub(super) id: StateId,
    pub(super) merge: MergeOp,
}

impl ReducingState {
    /// Reads the number: `decode::number` reads the value; `Absent` before the first `add`.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit.
    #[inline]
    pub fn request_get(&self, batch: &mut Batch, target: &Target<'_>) -> Result<()> {
        self.row().push(batch, target, Op::Get, &[])
    }

    /// Folds a number onto the state, without a read.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit.
    #[inline]
    pub fn request_add(&self, batch: &mut Batch, target: &Target<'_>, number: i64) -> Result<()> {
        self.row().push(batch, target, Op::Merge(self.merge), &number.to_le_bytes())
    }

    /// Forgets the number.
    ///
    /// # Errors
    /// `TooLarge` if the key or the batch exceeds its limit.
    #[inline]
    pub fn request_clear(&self, batch: &mut Batch, target: &Target<'_>) -> Result<()> {
        self.row().push(batch, target, Op::Delete, &[])
    }

    #[inline]
    fn row(&self) -> Row<'static> {
        Row::small(self.store, self.id)
    }
}

// What a request names beside its target.
struct Row<'a> {
    store: StoreId,
    id: StateId,
    locality: Locality,
    map_key: &'a [u8],
}

impl Row<'_> {
    #[inline]
    fn small(store: StoreId, id: StateId) -> Row<'static> {
        Row { store, id, locality: Locality::Small, map_key: &[] }
    }

    // Inlined into each operation, where most of what it is given is constant.
    #[inline(always)]
    fn push(&self, batch: &mut Batch, target: &Target<'_>, op: Op, value: &[u8]) -> Result<()> {
        let (key, hash) = self.push_key(batch, target, value.len())?;
        if !value.is_empty() {
            batch.bytes.extend_from_slice(value);
        }
        self.push_request(batch, target, op, key, hash);
        Ok(())
    }

    fn push_elements(
        &self,
        batch: &mut Batch,
        target: &Target<'_>,
        op: Op,
        elements: &[&[u8]],
    ) -> Result<()> {
        let bytes = elements.iter().map(|e| varint::len(e.len() as u64) + e.len()).sum();
        let (key, hash) = self.push_key(batch, target, bytes)?;
        for element in elements {
            varint::put(&mut batch.bytes, element.len() as u64);
            batch.bytes.extend_from_slice(element);
        }
        self.push_request(batch, target, op, key, hash);
        Ok(())
    }

    // Every limit is checked before the first byte is written.
    #[inline(always)]
    fn push_key(
        &self,
        batch: &mut Batch,
        target: &Target<'_>,
        value_len: usize,
    ) -> Result<(Span, u64)> {
        let Target { key, namespace, .. } = target;
        let key_len = key.bytes.len() + namespace.len() + self.map_key.len();
        if key_len > KEY_BYTES_MAX {
            return Err(too_large(key_len));
        }
        if value_len > VALUE_BYTES_MAX {
            return Err(value_too_large(value_len));
        }
        let at = batch.bytes.len();
        if at + STORED_KEY_BYTES_MAX + value_len > BATCH_BYTES_MAX {
            return Err(batch_full(at));
        }
        encode_key(&mut batch.bytes, key.group, self.locality, key.bytes, self.id, namespace)?;
        if !self.map_key.is_empty() {
            batch.bytes.extend_from_slice(self.map_key);
        }
        let hash = hash64(&batch.bytes[at..]);
        Ok((Span { at: at as u32, len: (batch.bytes.len() - at) as u32 }, hash))
    }

    // The value is what was appended behind the key.
    #[inline(always)]
    fn push_request(&self, batch: &mut Batch, target: &Target<'_>, op: Op, key: Span, hash: u64) {
        let at = key.at + key.len;
        let value = Span { at, len: batch.bytes.len() as u32 - at };
        let Target { user_data, .. } = *target;
        let (state, store) = (self.id, self.store);
        batch.requests.push(Request { user_data, hash, op, state, store, limit: 0, key, value });
    }
}

#[cold]
fn value_too_large(bytes: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "a value of {bytes} bytes exceeds the limit of {VALUE_BYTES_MAX}; split it over the \
             entries of a map state"
        ),
    )
}

#[cold]
fn batch_full(bytes: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("the batch holds {bytes} bytes already; submit it and use another"),
    )
}
