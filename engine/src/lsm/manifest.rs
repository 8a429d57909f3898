//! The manifest of a checkpoint: everything a store is, by name (FORMAT.md, "Manifest").

use std::fmt;

use crate::codec::crc::{keyed_crc, object_key};
use crate::codec::reader::Reader;
use crate::codec::unverified::Unverified;
use crate::codec::varint;
use crate::limits::{
    KEY_GROUPS_MAX, MANIFEST_BYTES_MAX, MANIFEST_HOT_PAGE_MEMORY_BYTES, MANIFEST_HOT_PAGES_MAX,
    MANIFEST_HOT_TABLE_MEMORY_BYTES, MANIFEST_MEMORY_BYTES_MAX, MANIFEST_RUN_MEMORY_BYTES,
    MANIFEST_TABLE_MEMORY_BYTES, MANIFEST_TABLET_MEMORY_BYTES, PAGE_BYTES, STORED_KEY_BYTES_MAX,
};
use crate::lsm::version::Version;
use crate::sst::meta::{TABLE_REF_BYTES, TableRef};
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

const MAGIC: &[u8; 8] = b"AQUIMAN1";
const FORMAT_VERSION: u32 = 2;
/// Those before had no hot pages.
const FORMAT_VERSION_OF_HOT: u32 = 2;

/// A tablet by the numbers of its tables, newest run first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TabletRef {
    /// First key of its range.
    pub low: Box<[u8]>,
    /// Into `Manifest::tables`.
    pub runs: Vec<u32>,
}

/// What was asked for much of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotPages {
    /// Into `Manifest::tables`.
    pub table: u32,
    /// Pages of its object at which units begin, ascending; units of other stores may be among
    /// them.
    pub pages: Vec<u32>,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The host's number of the store.
    pub store: u64,
    /// Maximal parallelism: key groups the keys were hashed into.
    pub key_groups: u32,
    /// First and last key group the store holds.
    pub range: (u16, u16),
    /// The encoded state table.
    pub states: Vec<u8>,
    /// Every table some tablet names, once.
    pub tables: Vec<TableRef>,
    /// In key order, without gaps.
    pub tablets: Vec<TabletRef>,
    /// What a cache should have first, by table, ascending. Nothing depends on it.
    pub hot: Vec<HotPages>,
}

/// Where bytes stop being a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Everything before this byte was read.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (it was read up to byte {})", self.what, self.at)
    }
}

const ENDS_EARLY: &str = "it ends early";
const TAKES_TOO_MUCH: &str = "to open it takes more memory than there is for manifests";

/// What was read, or what is wrong.
type Read<T> = std::result::Result<T, &'static str>;

impl Manifest {
    /// Tables and tablets of a version.
    #[must_use]
    pub fn of_version(
        version: &Version,
        store: u64,
        key_groups: u32,
        range: (u16, u16),
        states: Vec<u8>,
    ) -> Self {
        let mut numbers = std::collections::HashMap::new();
        let mut tables = Vec::new();
        let tablets = version
            .tablets()
            .iter()
            .map(|tablet| TabletRef {
                low: tablet.low.clone(),
                runs: tablet
                    .table_refs()
                    .map(|table_ref| {
                        *numbers.entry(table_ref.name).or_insert_with(|| {
                            tables.push(*table_ref);
                            (tables.len() - 1) as u32
                        })
                    })
                    .collect(),
            })
            .collect();
        Self { store, key_groups, range, states, tables, tablets, hot: Vec::new() }
    }

    /// The bytes of the object `name`.
    #[must_use]
    pub fn encode(&self, name: &ObjectName) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.store.to_le_bytes());
        out.extend_from_slice(&self.key_groups.to_le_bytes());
        out.extend_from_slice(&self.range.0.to_le_bytes());
        out.extend_from_slice(&self.range.1.to_le_bytes());
        put_span(&mut out, &self.states);
        varint::put(&mut out, self.tables.len() as u64);
        for table in &self.tables {
            out.extend_from_slice(&table.encode());
        }
        varint::put(&mut out, self.tablets.len() as u64);
        for tablet in &self.tablets {
            put_span(&mut out, &tablet.low);
            varint::put(&mut out, tablet.runs.len() as u64);
            for &run in &tablet.runs {
                varint::put(&mut out, u64::from(run));
            }
        }
        varint::put(&mut out, self.hot.len() as u64);
        for hot in &self.hot {
            varint::put(&mut out, u64::from(hot.table));
            varint::put(&mut out, hot.pages.len() as u64);
            let mut last = 0;
            for &page in &hot.pages {
                varint::put(&mut out, u64::from(page - last));
                last = page;
            }
        }
        let crc = keyed_crc(object_key(name), 0, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The bytes of the object `name`, if readers take them.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn to_object(&self, name: &ObjectName) -> Result<Vec<u8>> {
        if self.memory_bytes() > MANIFEST_MEMORY_BYTES_MAX {
            return Err(too_large(name, TAKES_TOO_MUCH));
        }
        let bytes = self.encode(name);
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            let what = format!("{} bytes, and a reader takes {MANIFEST_BYTES_MAX}", bytes.len());
            return Err(too_large(name, what));
        }
        Ok(bytes)
    }

    /// Memory that an opening takes for it, of `MANIFEST_MEMORY_BYTES_MAX`.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let tablet = |tablet: &TabletRef| tablet_bytes(tablet.low.len(), tablet.runs.len());
        let hot = |hot: &HotPages| hot_bytes(hot.pages.len());
        self.states.len()
            + self.tables.len() * MANIFEST_TABLE_MEMORY_BYTES
            + self.tablets.iter().map(tablet).sum::<usize>()
            + self.hot.iter().map(hot).sum::<usize>()
    }

    /// Reads the bytes of the object `name`: total over arbitrary bytes, and in bounded memory.
    ///
    /// # Errors
    /// `Corrupt`, `TooLarge`, or `Unsupported` for a newer format.
    pub fn decode<'a>(name: &ObjectName, bytes: impl Into<Unverified<'a>>) -> Result<Self> {
        Self::decode_within(name, bytes, MANIFEST_MEMORY_BYTES_MAX)
    }

    /// As `decode`, in what is left of the memory for manifests, bytes.
    ///
    /// # Errors
    /// As of `decode`.
    pub fn decode_within<'a>(
        name: &ObjectName,
        bytes: impl Into<Unverified<'a>>,
        memory_bytes: usize,
    ) -> Result<Self> {
        let bytes = bytes.into().to_check();
        let fail = |what: &str| Error::damaged(name, what);
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| fail("too short"))?;
        if !body.starts_with(MAGIC) {
            return Err(fail("does not start as a manifest"));
        }
        if keyed_crc(object_key(name), 0, body) != u32::from_le_bytes(*crc) {
            return Err(fail("checksum differs"));
        }
        let version = body[MAGIC.len()..].first_chunk().copied().map(u32::from_le_bytes);
        let version = version.ok_or_else(|| fail(ENDS_EARLY))?;
        if !(1..=FORMAT_VERSION).contains(&version) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "manifest {name} is of format {version}; this build reads up to \
                     {FORMAT_VERSION}; open it with the version that wrote it or a newer one"
                ),
            ));
        }
        match Self::examine_within(bytes, memory_bytes) {
            (manifest, None) => Ok(manifest),
            (_, Some(flaw)) if flaw.what == TAKES_TOO_MUCH => Err(too_large(name, flaw)),
            (_, Some(flaw)) => Err(fail(&flaw.to_string())),
        }
    }

    /// What bytes of this format say up to the first flaw, whether or not their checksum holds: for
    /// tools that look at damage. Total over arbitrary bytes.
    #[must_use]
    pub fn examine(bytes: &[u8]) -> (Self, Option<Flaw>) {
        Self::examine_within(bytes, MANIFEST_MEMORY_BYTES_MAX)
    }

    fn examine_within(bytes: &[u8], memory_bytes: usize) -> (Self, Option<Flaw>) {
        let end = bytes.len().saturating_sub(4);
        let version = bytes.get(MAGIC.len()..).and_then(<[u8]>::first_chunk).copied();
        let has_hot = version.is_none_or(|v| u32::from_le_bytes(v) >= FORMAT_VERSION_OF_HOT);
        let mut reader = Reader::new(bytes.get(MAGIC.len() + 4..end).unwrap_or_default());
        let mut out = Self {
            store: 0,
            key_groups: 0,
            range: (0, 0),
            states: Vec::new(),
            tables: Vec::new(),
            tablets: Vec::new(),
            hot: Vec::new(),
        };
        let mut memory = MemoryLeft(memory_bytes);
        let read = out.decode_body(&mut reader, &mut memory).and_then(|()| {
            if has_hot {
                out.decode_hot(&mut reader, &mut memory)?;
            }
            if reader.remaining() > 0 { Err("bytes follow the last field") } else { Ok(()) }
        });
        let flaw = read.err().map(|what| Flaw { at: end - reader.remaining(), what });
        (out, flaw)
    }

    fn decode_body(&mut self, reader: &mut Reader<'_>, memory: &mut MemoryLeft) -> Read<()> {
        self.store = reader.u64().ok_or(ENDS_EARLY)?;
        self.key_groups = reader.u32().ok_or(ENDS_EARLY)?;
        self.range.0 = reader.array().copied().map(u16::from_le_bytes).ok_or(ENDS_EARLY)?;
        self.range.1 = reader.array().copied().map(u16::from_le_bytes).ok_or(ENDS_EARLY)?;
        let groups_fit = (1..=KEY_GROUPS_MAX).contains(&self.key_groups)
            && self.range.0 <= self.range.1
            && u32::from(self.range.1) < self.key_groups;
        if !groups_fit {
            return Err("its key groups are not below the maximal parallelism");
        }
        let states = reader.span().ok_or(ENDS_EARLY)?;
        memory.take(states.len(), 1)?;
        self.states = copy(states)?;
        let count = count_of(reader, TABLE_REF_BYTES)?;
        memory.take(count, MANIFEST_TABLE_MEMORY_BYTES)?;
        self.tables = room(count)?;
        for _ in 0..count {
            let table = reader.array().and_then(|bytes| TableRef::decode(bytes).ok());
            self.tables.push(table.ok_or("a table reference is not of the format")?);
        }
        if !each_once(self.tables.iter().map(|table| table.name))? {
            return Err("a table stands twice");
        }
        // A length and a count take a byte each.
        let count = count_of(reader, 2)?;
        if count == 0 {
            return Err("it has no tablets");
        }
        // Each takes more, as its key and runs are read.
        memory.has(count, MANIFEST_TABLET_MEMORY_BYTES)?;
        self.tablets = room(count)?;
        for _ in 0..count {
            let tablet = decode_tablet(reader, self.tables.len(), memory)?;
            let in_order = match self.tablets.last() {
                None => tablet.low.is_empty(),
                Some(last) => last.low < tablet.low,
            };
            if !in_order {
                return Err("the low keys of tablets do not ascend from the empty one");
            }
            self.tablets.push(tablet);
        }
        Ok(())
    }

    fn decode_hot(&mut self, reader: &mut Reader<'_>, memory: &mut MemoryLeft) -> Read<()> {
        // A table, a count and a page take a byte each.
        let count = count_of(reader, 3)?;
        memory.has(count, MANIFEST_HOT_TABLE_MEMORY_BYTES)?;
        self.hot = room(count)?;
        let mut pages_left = MANIFEST_HOT_PAGES_MAX;
        for _ in 0..count {
            let hot = decode_hot_pages(reader, &self.tables, pages_left, memory)?;
            pages_left -= hot.pages.len();
            if self.hot.last().is_some_and(|last| last.table >= hot.table) {
                return Err("the tables of hot pages do not ascend");
            }
            self.hot.push(hot);
        }
        Ok(())
    }
}

/// What is left of the memory for manifests, bytes.
struct MemoryLeft(usize);

impl MemoryLeft {
    // Refuses so many items of so many bytes each that do not fit.
    fn has(&self, count: usize, bytes: usize) -> Read<usize> {
        let after = count.checked_mul(bytes).and_then(|bytes| self.0.checked_sub(bytes));
        after.ok_or(TAKES_TOO_MUCH)
    }

    fn take(&mut self, count: usize, bytes: usize) -> Read<()> {
        self.0 = self.has(count, bytes)?;
        Ok(())
    }
}

fn tablet_bytes(low_bytes: usize, runs: usize) -> usize {
    MANIFEST_TABLET_MEMORY_BYTES + 3 * low_bytes + runs * MANIFEST_RUN_MEMORY_BYTES
}

fn hot_bytes(pages: usize) -> usize {
    MANIFEST_HOT_TABLE_MEMORY_BYTES + pages * MANIFEST_HOT_PAGE_MEMORY_BYTES
}

fn decode_tablet(
    reader: &mut Reader<'_>,
    tables: usize,
    memory: &mut MemoryLeft,
) -> Read<TabletRef> {
    let low = reader.span().ok_or(ENDS_EARLY)?;
    if low.len() > STORED_KEY_BYTES_MAX {
        return Err("a low key is longer than a key may be");
    }
    let count = count_of(reader, 1)?;
    memory.take(1, tablet_bytes(low.len(), count))?;
    let mut runs = room(count)?;
    for _ in 0..count {
        let run = u32::try_from(reader.varint().ok_or(ENDS_EARLY)?).ok();
        let run = run.filter(|&run| (run as usize) < tables);
        runs.push(run.ok_or("a run without a table")?);
    }
    // The rows of a table that stood twice would be folded twice.
    if !each_once(runs.iter())? {
        return Err("a tablet names a table twice");
    }
    Ok(TabletRef { low: copy(low)?.into_boxed_slice(), runs })
}

fn decode_hot_pages(
    reader: &mut Reader<'_>,
    tables: &[TableRef],
    pages_max: usize,
    memory: &mut MemoryLeft,
) -> Read<HotPages> {
    let table = u32::try_from(reader.varint().ok_or(ENDS_EARLY)?).ok();
    let named = table.and_then(|table| Some((table, tables.get(table as usize)?)));
    let (table, table_ref) = named.ok_or("hot pages without a table")?;
    let end = table_ref.file_bytes / PAGE_BYTES as u64;
    let count = count_of(reader, 1)?;
    if count == 0 || count > pages_max {
        return Err("no hot pages of a table, or more than a manifest may name");
    }
    memory.take(1, hot_bytes(count))?;
    let mut pages: Vec<u32> = room(count)?;
    for _ in 0..count {
        let step = reader.varint().ok_or(ENDS_EARLY)?;
        let last = pages.last().copied();
        let page = u64::from(last.unwrap_or(0)).checked_add(step).filter(|&page| page < end);
        let page = page.filter(|_| last.is_none() || step > 0).and_then(|p| u32::try_from(p).ok());
        pages.push(page.ok_or("hot pages do not ascend inside their table")?);
    }
    Ok(HotPages { table, pages })
}

// A count of items that take at least `bytes_min` bytes each of what is left.
fn count_of(reader: &mut Reader<'_>, bytes_min: usize) -> Read<usize> {
    let count = usize::try_from(reader.varint().ok_or(ENDS_EARLY)?).ok();
    let count = count.filter(|&count| count <= reader.remaining() / bytes_min);
    count.ok_or("a count is larger than the bytes that follow")
}

fn room<T>(count: usize) -> Read<Vec<T>> {
    let mut out = Vec::new();
    out.try_reserve_exact(count).map_err(|_| "memory is too short for it")?;
    Ok(out)
}

fn copy(bytes: &[u8]) -> Read<Vec<u8>> {
    let mut out = room(bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(out)
}

fn each_once<T: Ord>(items: impl ExactSizeIterator<Item = T>) -> Read<bool> {
    let mut sorted = room(items.len())?;
    sorted.extend(items);
    sorted.sort_unstable();
    Ok(sorted.windows(2).all(|pair| pair[0] < pair[1]))
}

#[cold]
fn too_large(name: &ObjectName, what: impl fmt::Display) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "manifest {name}: {what}; use more stores of fewer key groups each, opened from the \
             handles that hold these"
        ),
    )
}

fn put_span(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
