//! What a table keeps in memory: its index, filters and clears. Immutable, shared by every shard
//! that opened the object.

use crate::codec::crc::{keyed_crc, object_key};
use crate::codec::reader::Reader;
use crate::codec::unverified::Unverified;
use crate::codec::varint;
use crate::limits::{SST_META_BYTES_MAX, STORED_KEY_BYTES_MAX};
use crate::sst::clears::Clears;
use crate::sst::fences::Fences;
use crate::sst::fences_codec;
use crate::sst::filter::Filter;
use crate::sst::layout::Extent;
use crate::sst::meta::{
    FORMAT_VERSION, Section, TableRef, check_version, put_section, take_section,
};
use crate::types::key::prefix_end;
use crate::types::{Error, ObjectName, Result};

/// Counts and bounds of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub user_bytes: u64,
    /// Stored key of the first row; empty without rows.
    pub smallest: Box<[u8]>,
    /// Stored key of the last row; empty without rows.
    pub largest: Box<[u8]>,
}

/// The resident part of a table.
#[derive(Debug)]
pub struct Table {
    table_ref: TableRef,
    object_key: u64,
    properties: Properties,
    fences: Fences,
    filters: Vec<Filter>,
    clears: Clears,
}

impl Table {
    pub(super) fn new(
        table_ref: TableRef,
        properties: Properties,
        fences: Fences,
        filters: Vec<Filter>,
        clears: Clears,
    ) -> Self {
        assert_eq!(filters.len(), fences.partitions(), "each partition has its filter");
        let object_key = object_key(&table_ref.name);
        Self { table_ref, object_key, properties, fences, filters, clears }
    }

    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &ObjectName {
        &self.table_ref.name
    }

    /// What a manifest keeps of this table.
    #[must_use]
    pub fn table_ref(&self) -> &TableRef {
        &self.table_ref
    }

    /// The key of the object's checksums, for `Unit::check` and `extent::check`.
    #[inline]
    #[must_use]
    pub fn object_key(&self) -> u64 {
        self.object_key
    }

    /// Bytes of the object.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.table_ref.file_bytes
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.properties.rows
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn user_bytes(&self) -> u64 {
        self.properties.user_bytes
    }

    /// Stored key of the first row; empty without rows.
    #[inline]
    #[must_use]
    pub fn smallest(&self) -> &[u8] {
        &self.properties.smallest
    }

    /// Stored key of the last row; empty without rows.
    #[inline]
    #[must_use]
    pub fn largest(&self) -> &[u8] {
        &self.properties.largest
    }

    /// The index: counts for tools.
    #[must_use]
    pub fn fences(&self) -> &Fences {
        &self.fences
    }

    /// One filter per partition.
    #[must_use]
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// Bytes of memory behind this table.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.properties.smallest.len()
            + self.properties.largest.len()
            + self.fences.memory_bytes()
            + self.filters.capacity() * size_of::<Filter>()
            + self.filters.iter().map(Filter::memory_bytes).sum::<usize>()
            + self.clears.memory_bytes()
    }

    /// The first step of `probe`: the partition that may hold `key`. Every step asks the CPU for
    /// what the next one looks at, so that the cache misses of several searches overlap when all
    /// take the same step before any takes the next.
    #[inline]
    #[must_use]
    pub fn partition(&self, hash: u64, key: &[u8]) -> Option<usize> {
        // A key out of range gets some partition, whose filter most likely denies it.
        let partition = self.fences.partition(key);
        self.filters.get(partition)?.prefetch(hash);
        Some(partition)
    }

    /// The second step: false if the partition does not hold `key`, which has this hash.
    #[inline]
    #[must_use]
    pub fn may_hold(&self, partition: usize, hash: u64, key: &[u8]) -> bool {
        let may = self.filters[partition].may_hold(hash) && self.in_range(key);
        if may {
            self.fences.prefetch_groups(partition);
        }
        may
    }

    /// The third step, where the second said yes: the group of units.
    #[inline]
    #[must_use]
    pub fn group(&self, partition: usize, key: &[u8]) -> usize {
        let group = self.fences.group_in(partition, key);
        self.fences.prefetch_units(partition, group);
        group
    }

    /// The last step: the unit to read.
    #[inline]
    #[must_use]
    pub fn unit_of(&self, partition: usize, group: usize, key: &[u8]) -> Option<Extent> {
        self.fences.extent(self.fences.unit_in(partition, group, key))
    }

    /// The unit to read for `key` with this hash; `None` if the table does not hold it.
    #[inline]
    #[must_use]
    pub fn probe(&self, hash: u64, key: &[u8]) -> Option<Extent> {
        let partition = self.partition(hash, key)?;
        if !self.may_hold(partition, hash, key) {
            return None;
        }
        self.unit_of(partition, self.group(partition, key), key)
    }

    /// The unit that holds `key` if any does; `None` if the key is out of range.
    #[must_use]
    pub fn locate(&self, key: &[u8]) -> Option<Extent> {
        if !self.in_range(key) {
            return None;
        }
        self.fences.extent(self.fences.unit_at(key))
    }

    /// False if no row belongs to the map with this prefix, whose hash this is.
    #[must_use]
    pub fn may_hold_collection(&self, prefix_hash: u64, prefix: &[u8]) -> bool {
        // A map's rows lie in one run of keys, but the run may span several filters.
        let end = prefix_end(prefix);
        let behind = end.as_deref().is_some_and(|end| self.smallest() >= end);
        if self.properties.rows == 0 || behind || self.largest() < prefix {
            return false;
        }
        let first = self.partition_clamped(prefix);
        let last = end.map_or(self.filters.len() - 1, |end| self.partition_clamped(&end));
        let spanned = self.filters.get(first..=last).unwrap_or_default();
        spanned.iter().any(|f| f.may_hold(prefix_hash))
    }

    /// True if older rows of `key` are masked: strictly older tables do not count for it.
    #[inline]
    #[must_use]
    pub fn clears(&self, key: &[u8]) -> bool {
        self.clears.cover(key)
    }

    /// The prefixes this table clears, for the compaction that carries them on.
    #[must_use]
    pub fn clear_prefixes(&self) -> &Clears {
        &self.clears
    }

    /// Units, numbered in key order.
    #[must_use]
    pub fn units(&self) -> u32 {
        self.fences.units()
    }

    /// The first unit that may hold a row at or above `key`; `units()` if there is none.
    #[must_use]
    pub fn unit_at(&self, key: &[u8]) -> u32 {
        if self.properties.rows == 0 || self.largest() < key {
            self.units()
        } else if key <= self.smallest() {
            0
        } else {
            self.fences.unit_at(key)
        }
    }

    /// Where unit `unit` lies; `None` past the last.
    #[must_use]
    pub fn unit(&self, unit: u32) -> Option<Extent> {
        self.fences.extent(unit)
    }

    /// The units that may hold rows at or above `key`, in key order.
    pub fn units_from(&self, key: &[u8]) -> impl Iterator<Item = Extent> {
        (self.unit_at(key)..self.units()).filter_map(|unit| self.unit(unit))
    }

    /// Bytes of units and large values between two keys (`None`: to the end), to the precision
    /// of a unit.
    #[must_use]
    pub fn bytes_between(&self, low: &[u8], high: Option<&[u8]>) -> u64 {
        let start = self.fences.offset(self.unit_at(low));
        let end = high.map_or(self.units(), |high| self.unit_at(high));
        self.fences.offset(end).saturating_sub(start)
    }

    #[inline]
    fn in_range(&self, key: &[u8]) -> bool {
        self.smallest() <= key && key <= self.largest() && !self.filters.is_empty()
    }

    fn partition_clamped(&self, key: &[u8]) -> usize {
        self.fences.partition(key.clamp(self.smallest(), self.largest()))
    }

    /// Appends the sections of the resident part.
    pub(super) fn put_meta(
        out: &mut Vec<u8>,
        properties: &Properties,
        fences: &Fences,
        filters: &[Filter],
        clears: &Clears,
    ) {
        put_section(out, Section::Properties, |out| {
            out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
            out.extend_from_slice(&properties.rows.to_le_bytes());
            out.extend_from_slice(&properties.user_bytes.to_le_bytes());
            for key in [&properties.smallest, &properties.largest] {
                varint::put(out, key.len() as u64);
                out.extend_from_slice(key);
            }
        });
        put_section(out, Section::Fences, |out| fences_codec::put(out, fences));
        put_section(out, Section::Filters, |out| filters.iter().for_each(|f| f.put(out)));
        put_section(out, Section::Clears, |out| clears.put(out));
    }

    /// A table from the bytes at `table_ref.meta()` of its object.
    ///
    /// # Errors
    /// `Corrupt`, naming the object and the check that failed; `Unsupported` for a newer format.
    pub fn decode<'a>(table_ref: TableRef, meta: impl Into<Unverified<'a>>) -> Result<Self> {
        let meta = meta.into().to_check();
        let name = table_ref.name;
        let fail = |what: &str| Error::damaged(&name, format!("resident part: {what}"));
        if meta.len() != table_ref.meta_len as usize || meta.len() > SST_META_BYTES_MAX {
            return Err(fail("not of the length its reference names"));
        }
        let key = object_key(&name);
        if keyed_crc(key, table_ref.meta_offset, meta) != table_ref.meta_crc {
            return Err(fail("checksum differs"));
        }
        let reader = &mut Reader::new(meta);
        let mut section = |tag| take_section(reader, tag).ok_or_else(|| fail("sections end early"));

        let mut body = section(Section::Properties)?;
        check_version(body.u32().ok_or_else(|| fail("properties end early"))?, &name)?;
        let properties = decode_properties(&mut body).map_err(fail)?;
        let mut body = section(Section::Fences)?;
        let fences = fences_codec::decode(&mut body).map_err(fail)?;
        expect_end(body).map_err(fail)?;
        let mut body = section(Section::Filters)?;
        let mut filters = Vec::new();
        filters.try_reserve_exact(fences.partitions()).map_err(|_| fail("no memory"))?;
        for _ in 0..fences.partitions() {
            filters.push(Filter::decode(&mut body).map_err(fail)?);
        }
        expect_end(body).map_err(fail)?;
        let mut body = section(Section::Clears)?;
        let clears = Clears::decode(&mut body).map_err(fail)?;
        expect_end(body).map_err(fail)?;

        let padding = reader.take(reader.remaining()).unwrap_or_default();
        if padding.iter().any(|&b| b != 0) {
            return Err(fail("padding is not zero"));
        }
        if (properties.rows == 0) != (fences.units() == 0)
            || u64::from(fences.units()) > properties.rows
            || fences.data_end != table_ref.meta_offset
        {
            return Err(fail("properties and fences differ"));
        }
        Ok(Self::new(table_ref, properties, fences, filters, clears))
    }
}

fn decode_properties(body: &mut Reader<'_>) -> std::result::Result<Properties, &'static str> {
    let (Some(rows), Some(user_bytes), Some(smallest), Some(largest)) =
        (body.u64(), body.u64(), body.span(), body.span())
    else {
        return Err("properties end early");
    };
    if smallest > largest || smallest.len().max(largest.len()) > STORED_KEY_BYTES_MAX {
        return Err("key bounds are not of the format");
    }
    expect_end(*body)?;
    Ok(Properties { rows, user_bytes, smallest: smallest.into(), largest: largest.into() })
}

fn expect_end(body: Reader<'_>) -> std::result::Result<(), &'static str> {
    if body.remaining() == 0 { Ok(()) } else { Err("a section is longer than its content") }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
