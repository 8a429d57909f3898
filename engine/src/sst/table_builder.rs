//! Writes a table front to back from rows in key order. No I/O: full chunks are handed over.
//!
//! Invariants:
//! 1. Keys ascend strictly.
//! 2. A large value lies before the unit that names it, so what is handed over is never patched.
//! 3. Units are numbered when their first row comes and placed when they are full; while the
//!    codec is on trial, placing waits, but order and numbers stay.
//! 4. A partition of the index ends at a unit's end, before its filter could overflow.

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use crate::codec::crc::{keyed_crc, object_key};
use crate::codec::hash::hash64;
use crate::limits::{
    FILTER_KEYS_MAX, INLINE_VALUE_BYTES_MAX, LZ4_SAVING_DIVISOR, LZ4_TRIAL_UNITS, PAGE_BYTES,
    SST_GRANULE_BYTES, SST_META_BYTES_MAX, STORED_KEY_BYTES_MAX, VALUE_BYTES_MAX,
};
use crate::sst::clears::Clears;
use crate::sst::extent::{self, ValueExtent};
use crate::sst::fences_builder::FencesBuilder;
use crate::sst::filter::{Filter, UNIT_HASHES_MAX};
use crate::sst::layout::{
    self, Extent, PAYLOAD_BYTES_MAX, ROW_OFFSET_BYTES, UNIT_HEADER_BYTES, UnitCodec, UnitHeader,
    ValueForm,
};
use crate::sst::meta::TableRef;
use crate::sst::pages::Pages;
use crate::sst::table::{Properties, Table};
use crate::types::error::ErrorKind;
use crate::types::key::collection_prefix;
use crate::types::{Error, ObjectName, Result, RowKind, RowRef};

/// How a table's units are stored.
#[derive(Debug)]
enum Codec {
    /// Not known yet: the first units wait, header and payload.
    Trial(Vec<Vec<u8>>),
    Raw,
    Lz4,
}

/// The end of a table.
#[derive(Debug)]
pub struct Finished {
    /// The last bytes of the object, whole pages each, in order.
    pub chunks: Vec<Vec<u8>>,
    /// What `take_placed` has not told yet.
    pub placed: Vec<Extent>,
    /// The table, ready to be read once the object is sealed.
    pub table: Table,
}

/// Builds one table.
pub struct TableBuilder {
    name: ObjectName,
    object_key: u64,
    filter_bits: usize,
    pages: Pages,
    placed: Vec<Extent>,
    codec: Codec,
    compress_table: CompressTable,
    compressed: Vec<u8>,

    /// The open unit: room for the header, then its rows.
    unit: Vec<u8>,
    row_offsets: Vec<u16>,
    last_key: Vec<u8>,
    extent_value: Vec<u8>,
    extent_bytes: Vec<u8>,

    fences: FencesBuilder,
    partition_begins: bool,
    hashes: Vec<u64>,
    filters: Vec<Filter>,
    /// The map whose hash the open filter has.
    map_prefix: Vec<u8>,

    clears: Vec<Box<[u8]>>,
    properties: Properties,
}

impl TableBuilder {
    /// A builder of the object `name` with filters of `filter_bits` for each hash.
    #[must_use]
    pub fn new(name: ObjectName, filter_bits: usize) -> Self {
        Self {
            name,
            object_key: object_key(&name),
            filter_bits,
            pages: Pages::default(),
            placed: Vec::new(),
            codec: Codec::Trial(Vec::with_capacity(LZ4_TRIAL_UNITS)),
            compress_table: CompressTable::small(),
            compressed: vec![0; UNIT_HEADER_BYTES + get_maximum_output_size(PAYLOAD_BYTES_MAX)],
            unit: empty_unit(),
            row_offsets: Vec::new(),
            last_key: Vec::new(),
            extent_value: Vec::new(),
            extent_bytes: Vec::new(),
            fences: FencesBuilder::default(),
            partition_begins: true,
            hashes: Vec::new(),
            filters: Vec::new(),
            map_prefix: Vec::new(),
            clears: Vec::new(),
            properties: Properties::default(),
        }
    }

    /// Adds a row with the hash of its stored key. About one row in 64 Ki builds a filter, which
    /// takes about half a millisecond.
    ///
    /// # Panics
    /// If the key is not above the last one or a length exceeds its limit: the caller's bug.
    pub fn add(&mut self, hash: u64, row: RowRef<'_>) {
        assert!(self.properties.rows == 0 || row.key > &self.last_key[..], "keys ascend (1)");
        assert!(!row.key.is_empty() && row.key.len() <= STORED_KEY_BYTES_MAX, "key length");
        assert!(row.value.len() <= VALUE_BYTES_MAX, "value length");
        debug_assert!(row.kind != RowKind::Delete || row.value.is_empty(), "a delete has no value");
        if row.value.len() <= INLINE_VALUE_BYTES_MAX {
            self.make_room(row.key, row.value.len());
            layout::put_row(&mut self.unit, row.kind, row.key, ValueForm::Inline, row.value);
        } else {
            self.put_extent(row.value);
            let place = std::mem::take(&mut self.extent_value);
            self.make_room(row.key, place.len());
            layout::put_row(&mut self.unit, row.kind, row.key, ValueForm::Extent, &place);
            self.extent_value = place;
        }
        self.add_hashes(hash, row.key);
        if self.properties.rows == 0 {
            self.properties.smallest = row.key.into();
        }
        self.properties.rows += 1;
        self.properties.user_bytes += (row.key.len() + row.value.len()) as u64;
        self.last_key.clear();
        self.last_key.extend_from_slice(row.key);
    }

    /// Masks all keys that start with `prefix` in strictly older tables.
    ///
    /// # Panics
    /// If the prefix is longer than a stored key: the caller's bug.
    pub fn add_clear(&mut self, prefix: &[u8]) {
        assert!(prefix.len() <= STORED_KEY_BYTES_MAX, "prefix length");
        self.clears.push(prefix.into());
    }

    /// The next bytes of the object, if a chunk is full.
    pub fn take_chunk(&mut self) -> Option<Vec<u8>> {
        self.pages.take_full()
    }

    /// Where units and large values lie that were placed since the last call, in order. Readers ask
    /// for the same pages, but for those of a packed unit in front of a large value.
    pub fn take_placed(&mut self) -> std::vec::Drain<'_, Extent> {
        self.placed.drain(..)
    }

    /// A chunk that was written, to be filled again.
    pub fn give_back(&mut self, chunk: Vec<u8>) {
        self.pages.give_back(chunk);
    }

    /// Bytes of units and large values so far: what a job cuts its tables by.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        let waiting = match &self.codec {
            Codec::Trial(units) => units.len() * PAGE_BYTES,
            Codec::Raw | Codec::Lz4 => 0,
        };
        self.pages.end() + (waiting + self.unit.len()) as u64
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.properties.rows
    }

    /// Bytes this builder holds for the resident part so far: what its job charges.
    #[must_use]
    pub fn meta_bytes(&self) -> usize {
        self.fences.bytes() + self.filters.iter().map(Filter::memory_bytes).sum::<usize>()
    }

    /// Ends the table.
    ///
    /// # Errors
    /// `TooLarge` if the resident part exceeds its limit: the job must cut tables earlier.
    pub fn finish(mut self) -> Result<Finished> {
        if !self.row_offsets.is_empty() {
            self.seal_unit();
        }
        self.end_trial();
        self.end_partition();
        self.pages.align(PAGE_BYTES);
        self.properties.largest = self.last_key.as_slice().into();

        let meta_offset = self.pages.end();
        let fences = self.fences.finish(&self.last_key, meta_offset);
        let clears = Clears::new(self.clears);
        let mut meta = Vec::new();
        Table::put_meta(&mut meta, &self.properties, &fences, &self.filters, &clears);
        meta.resize(meta.len().next_multiple_of(PAGE_BYTES), 0);
        if meta.len() > SST_META_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "object {}: resident part of {} bytes over the limit of {SST_META_BYTES_MAX}; \
                     cut tables at fewer rows",
                    self.name,
                    meta.len()
                ),
            ));
        }
        let table_ref = TableRef {
            name: self.name,
            file_bytes: meta_offset + (meta.len() + PAGE_BYTES) as u64,
            meta_offset,
            meta_len: u32::try_from(meta.len()).expect("the limit is below 4 GiB"),
            meta_crc: keyed_crc(self.object_key, meta_offset, &meta),
        };
        self.pages.append(&meta);
        self.pages.append(&table_ref.footer());
        let table = Table::new(table_ref, self.properties, fences, self.filters, clears);
        Ok(Finished { chunks: self.pages.finish(), placed: self.placed, table })
    }

    // Ends the open unit if the row does not fit, and begins one if none is open.
    #[inline]
    fn make_room(&mut self, key: &[u8], value_bytes: usize) {
        let offsets = (self.row_offsets.len() + 1) * ROW_OFFSET_BYTES;
        let row = layout::row_bytes(key.len(), value_bytes);
        if self.unit.len() + row + offsets > PAGE_BYTES {
            self.seal_unit();
        }
        if self.row_offsets.is_empty() {
            self.fences.unit(&self.last_key, key, self.partition_begins);
            self.partition_begins = false;
        }
        let at = self.unit.len() - UNIT_HEADER_BYTES;
        self.row_offsets.push(u16::try_from(at).expect("a unit is below 64 KiB"));
    }

    #[inline]
    fn add_hashes(&mut self, hash: u64, key: &[u8]) {
        self.hashes.push(hash);
        // Once per map and filter: the rows of a map are neighbours.
        if let Some(prefix) = collection_prefix(key)
            && prefix != self.map_prefix
        {
            self.map_prefix.clear();
            self.map_prefix.extend_from_slice(prefix);
            self.hashes.push(hash64(prefix));
        }
    }

    fn put_extent(&mut self, value: &[u8]) {
        self.pages.align(PAGE_BYTES);
        let offset = self.pages.end();
        let len = u32::try_from(value.len()).expect("a value is below 4 GiB");
        self.placed.push(ValueExtent { offset, len }.stored());
        layout::put_extent_value(&mut self.extent_value, offset, len);
        self.extent_bytes.clear();
        extent::put_crcs(&mut self.extent_bytes, self.object_key, offset, value);
        self.pages.append(&self.extent_bytes);
        self.pages.append(value);
        self.pages.align(PAGE_BYTES);
    }

    fn seal_unit(&mut self) {
        self.row_offsets.iter().for_each(|o| self.unit.extend_from_slice(&o.to_le_bytes()));
        let payload_bytes = u32::try_from(self.unit.len() - UNIT_HEADER_BYTES).expect("one page");
        let header = UnitHeader {
            codec: UnitCodec::Raw,
            rows: u16::try_from(self.row_offsets.len()).expect("one page of rows"),
            decoded_bytes: payload_bytes,
            stored_bytes: payload_bytes,
        };
        header.put(&mut self.unit);
        self.row_offsets.clear();
        if let Codec::Trial(units) = &mut self.codec {
            units.push(std::mem::replace(&mut self.unit, empty_unit()));
            if units.len() == LZ4_TRIAL_UNITS {
                self.end_trial();
            }
        } else {
            let mut unit = std::mem::take(&mut self.unit);
            self.place_unit(&mut unit);
            unit.truncate(UNIT_HEADER_BYTES);
            self.unit = unit;
        }
        if self.hashes.len() + UNIT_HASHES_MAX > FILTER_KEYS_MAX {
            self.end_partition();
        }
    }

    // Chooses the codec by the pages it would save, and places the units that waited.
    fn end_trial(&mut self) {
        let Codec::Trial(mut units) = std::mem::replace(&mut self.codec, Codec::Raw) else {
            return;
        };
        let raw = (units.len() * PAGE_BYTES) as u64;
        let packed: usize = units.iter().map(|u| self.compress(u).unwrap_or(PAGE_BYTES)).sum();
        let packed = packed.next_multiple_of(PAGE_BYTES) as u64;
        if packed + raw / LZ4_SAVING_DIVISOR <= raw && !units.is_empty() {
            self.codec = Codec::Lz4;
        }
        units.iter_mut().for_each(|unit| self.place_unit(unit));
    }

    fn place_unit(&mut self, unit: &mut Vec<u8>) {
        if matches!(self.codec, Codec::Lz4)
            && let Some(bytes) = self.compress(unit)
        {
            self.pages.align(SST_GRANULE_BYTES);
            let offset = self.pages.end();
            self.place(offset, bytes);
            let packed = &mut self.compressed[..bytes];
            layout::seal_unit(self.object_key, offset, packed);
            self.pages.append(packed);
            return;
        }
        self.pages.align(PAGE_BYTES);
        let offset = self.pages.end();
        self.place(offset, PAGE_BYTES);
        unit.resize(PAGE_BYTES, 0);
        layout::seal_unit(self.object_key, offset, unit);
        self.pages.append(unit);
    }

    fn place(&mut self, offset: u64, bytes: usize) {
        self.fences.place(offset);
        self.placed.push(Extent { offset, len: u32::try_from(bytes).expect("at most a page") });
    }

    // Packs a raw unit into `compressed`, all but the checksum; returns its bytes with padding, or
    // `None` if a page would be no larger.
    fn compress(&mut self, unit: &[u8]) -> Option<usize> {
        let plain = UnitHeader::check(unit).expect("the builder wrote it");
        let payload = &unit[UNIT_HEADER_BYTES..];
        let out = &mut self.compressed[UNIT_HEADER_BYTES..];
        let stored = compress_into_with_table(payload, out, &mut self.compress_table)
            .expect("the buffer has the maximal output size");
        let stored_bytes = u32::try_from(stored).expect("one page");
        let header = UnitHeader { codec: UnitCodec::Lz4, stored_bytes, ..plain };
        let bytes = header.unit_bytes();
        if bytes >= PAGE_BYTES {
            return None;
        }
        header.put(&mut self.compressed);
        self.compressed[UNIT_HEADER_BYTES + stored..bytes].fill(0);
        Some(bytes)
    }

    fn end_partition(&mut self) {
        if self.hashes.is_empty() {
            return;
        }
        self.filters.push(Filter::build(self.filter_bits, &self.hashes));
        self.hashes.clear();
        self.map_prefix.clear();
        self.partition_begins = true;
    }
}

// A fresh unit: the header's room is filled when the unit is sealed.
fn empty_unit() -> Vec<u8> {
    let mut unit = Vec::with_capacity(PAGE_BYTES);
    unit.resize(UNIT_HEADER_BYTES, 0);
    unit
}

#[cfg(test)]
#[path = "table_builder_tests.rs"]
mod tests;

impl std::fmt::Debug for TableBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TableBuilder({}, {} rows)", self.name, self.properties.rows)
    }
}
