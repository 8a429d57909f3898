//! The operations of states as futures of a record.

use std::future::Future;

use crate::aec::context::{Bytes, Scope};
use crate::aec::operation::{Read, Write};
use crate::limits::SCAN_ENTRIES_DEFAULT;
use crate::state::request::{Batch, Status};
use crate::state::{
    Entries, Items, ListState, MapState, ReducingState, Target, ValueState, decode,
};
use crate::types::{Error, Result};

// What an operation writes into the batch.
type Written = Result<()>;

impl ValueState {
    /// Reads the value, if there is one.
    pub fn get<'a>(
        self,
        scope: impl Into<Scope<'a>>,
    ) -> impl Future<Output = Result<Option<Bytes>>> {
        self.get_with(scope, |value| value.map(Bytes::from_slice))
    }

    /// Reads the value where it lies, without a copy.
    #[inline]
    pub fn get_with<'a, T>(
        self,
        scope: impl Into<Scope<'a>>,
        read: impl FnOnce(Option<&[u8]>) -> T,
    ) -> impl Future<Output = Result<T>> {
        Read::new(
            scope.into(),
            move |batch: &mut Batch, target: &Target<'_>| self.request_get(batch, target),
            |status, value: &[u8]| Ok(read(found(status, value))),
        )
    }

    /// Sets the value.
    #[inline]
    pub fn put<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        value: &'a [u8],
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| self.request_put(batch, target, value))
    }

    /// Removes the value.
    #[inline]
    pub fn delete<'a>(
        self,
        scope: impl Into<Scope<'a>>,
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| self.request_delete(batch, target))
    }
}

impl ListState {
    /// Reads the elements; none for a list that was never added to.
    pub fn get<'a>(self, scope: impl Into<Scope<'a>>) -> impl Future<Output = Result<Vec<Bytes>>> {
        self.get_with(scope, |items| items.map(Bytes::from_slice).collect())
    }

    /// Reads the elements where they lie, without a copy.
    #[inline]
    pub fn get_with<'a, T>(
        self,
        scope: impl Into<Scope<'a>>,
        read: impl FnOnce(Items<'_>) -> T,
    ) -> impl Future<Output = Result<T>> {
        Read::new(
            scope.into(),
            move |batch: &mut Batch, target: &Target<'_>| self.request_get(batch, target),
            |status, value: &[u8]| Ok(read(Items::check(found(status, value).unwrap_or(&[]))?)),
        )
    }

    /// Appends one element, without a read.
    #[inline]
    pub fn add<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        element: &'a [u8],
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| self.request_add(batch, target, &[element]))
    }

    /// Appends elements at once, without a read.
    #[inline]
    pub fn add_all<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        elements: &'a [&'a [u8]],
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| self.request_add(batch, target, elements))
    }

    /// Replaces the elements; by none, to clear the list.
    #[inline]
    pub fn update<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        elements: &'a [&'a [u8]],
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| self.request_update(batch, target, elements))
    }
}

impl MapState {
    /// Reads the value of an entry, if there is one.
    pub fn get<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        map_key: &'a [u8],
    ) -> impl Future<Output = Result<Option<Bytes>>> {
        self.get_with(scope, map_key, |value| value.map(Bytes::from_slice))
    }

    /// Reads the value of an entry where it lies, without a copy.
    #[inline]
    pub fn get_with<'a, T>(
        self,
        scope: impl Into<Scope<'a>>,
        map_key: &'a [u8],
        read: impl FnOnce(Option<&[u8]>) -> T,
    ) -> impl Future<Output = Result<T>> {
        Read::new(
            scope.into(),
            move |batch: &mut Batch, target: &Target<'_>| self.request_get(batch, target, map_key),
            |status, value: &[u8]| Ok(read(found(status, value))),
        )
    }

    /// Tells whether an entry exists.
    pub fn contains<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        map_key: &'a [u8],
    ) -> impl Future<Output = Result<bool>> {
        self.get_with(scope, map_key, |value| value.is_some())
    }

    /// Sets the value of an entry.
    #[inline]
    pub fn put<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        map_key: &'a [u8],
        value: &'a [u8],
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| {
            self.request_put(batch, target, map_key, value)
        })
    }

    /// Removes an entry.
    #[inline]
    pub fn remove<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        map_key: &'a [u8],
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| self.request_remove(batch, target, map_key))
    }

    /// Removes every entry, whatever their number.
    #[inline]
    pub fn clear<'a>(
        self,
        scope: impl Into<Scope<'a>>,
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| self.request_clear(batch, target))
    }

    /// Reads at most `limit` entries above the map key `after`; the empty one starts.
    #[inline]
    pub fn scan_with<'a, T>(
        self,
        scope: impl Into<Scope<'a>>,
        after: &'a [u8],
        limit: u32,
        read: impl FnOnce(Entries<'_>) -> T,
    ) -> impl Future<Output = Result<T>> {
        Read::new(
            scope.into(),
            move |batch: &mut Batch, target: &Target<'_>| {
                self.request_scan(batch, target, after, limit)
            },
            |status, rows: &[u8]| {
                let more = matches!(status, Status::Entries { more: true });
                Ok(read(Entries::check(rows, more)?))
            },
        )
    }

    /// Reads the map to its end in the order of map keys, a part at a time.
    pub async fn for_each<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<()> {
        let scope = scope.into();
        let mut after = Bytes::new();
        loop {
            let mut last = Bytes::new();
            let part = self.scan_with(scope, &after, SCAN_ENTRIES_DEFAULT, |entries| {
                let more = entries.more();
                for (map_key, value) in entries {
                    if more {
                        last.clear();
                        last.extend_from_slice(map_key);
                    }
                    each(map_key, value);
                }
                more
            });
            if !part.await? {
                return Ok(());
            }
            if last.is_empty() {
                return Err(Error::corrupt("map entries: more would follow upon none"));
            }
            after = last;
        }
    }
}

impl ReducingState {
    /// Reads the number, if one was added.
    #[inline]
    pub fn get<'a>(self, scope: impl Into<Scope<'a>>) -> impl Future<Output = Result<Option<i64>>> {
        Read::new(
            scope.into(),
            move |batch: &mut Batch, target: &Target<'_>| self.request_get(batch, target),
            |status, value: &[u8]| found(status, value).map(decode::number).transpose(),
        )
    }

    /// Folds a number onto the state, without a read.
    #[inline]
    pub fn add<'a>(
        self,
        scope: impl Into<Scope<'a>>,
        number: i64,
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| self.request_add(batch, target, number))
    }

    /// Forgets the number.
    #[inline]
    pub fn clear<'a>(
        self,
        scope: impl Into<Scope<'a>>,
    ) -> Write<'a, impl FnOnce(&mut Batch, &Target<'_>) -> Written> {
        Write::new(scope.into(), move |batch, target| self.request_clear(batch, target))
    }
}

#[inline]
fn found(status: Status, value: &[u8]) -> Option<&[u8]> {
    (status == Status::Value).then_some(value)
}
