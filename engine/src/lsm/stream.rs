//! Reads one table front to back inside a key range, for a merge: pieces of many units, one piece
//! ahead of the one in use.

use std::sync::Arc;

use crate::io::values::{JobIo, JobRequest};
use crate::mem::pool::Buf;
use crate::sst::extent::{self, ValueExtent};
use crate::sst::layout::Extent;
use crate::sst::table::Table;
use crate::sst::unit::{EntryValue, Unit};
use crate::types::{Error, Result, RowKind, RowRef};

#[derive(Clone, Copy, Debug)]
enum Value {
    Inline { at: u32, len: u32 },
    Extent(ValueExtent),
}

#[derive(Clone, Copy, Debug)]
struct RowAt {
    kind: RowKind,
    key_at: u32,
    key_len: u32,
    value: Value,
}

impl RowAt {
    #[inline]
    fn key<'a>(&self, image: &'a [u8]) -> &'a [u8] {
        &image[self.key_at as usize..(self.key_at + self.key_len) as usize]
    }
}

#[derive(Debug, Default)]
struct Piece {
    // First unit and the one behind the last.
    units: std::ops::Range<u32>,
    offset: u64,
    tag: u32,
    bytes: Option<Buf>,
}

/// What a stream can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A row is there.
    Row,
    /// Wait for an answer.
    Waiting,
    /// Past its last row.
    Ended,
}

/// A table's rows in order, within `[low, high)`.
#[derive(Debug)]
pub struct Stream {
    table: Arc<Table>,
    tag: u32,
    low: Box<[u8]>,
    high: Option<Box<[u8]>>,
    read_bytes: usize,
    next_unit: u32,
    end_unit: u32,
    current: Piece,
    ahead: Option<Piece>,
    odd: bool,
    unit: u32,
    image: Vec<u8>,
    scratch: Vec<u8>,
    rows: Vec<RowAt>,
    row: usize,
    // The key of the last row in range of the units before.
    last: Vec<u8>,
    // Buffers of pieces that were used up.
    spare: Vec<Buf>,
    large: Option<Buf>,
    large_asked: bool,
    ended: bool,
}

/// Tag of the request for a large value, beside the stream's own number.
const LARGE: u32 = 1 << 31;
/// Tag of every second piece: of two that are on their way, either may arrive first.
const ODD: u32 = 1 << 30;

impl Stream {
    /// The rows of `table` in `[low, high)`; `tag` (below 2^30) names the stream in answers.
    #[must_use]
    pub fn new(
        table: Arc<Table>,
        tag: u32,
        low: Box<[u8]>,
        high: Option<Box<[u8]>>,
        read_bytes: usize,
    ) -> Self {
        let next_unit = table.unit_at(&low);
        let end_unit = match &high {
            Some(high) => (table.unit_at(high) + 1).min(table.units()),
            None => table.units(),
        };
        Self {
            table,
            tag,
            low,
            high,
            read_bytes,
            next_unit,
            end_unit,
            current: Piece::default(),
            ahead: None,
            odd: false,
            unit: 0,
            image: Vec::new(),
            scratch: Vec::new(),
            rows: Vec::new(),
            row: 0,
            last: Vec::new(),
            spare: Vec::new(),
            large: None,
            large_asked: false,
            ended: false,
        }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The stream that an answer with `tag` belongs to.
    #[must_use]
    pub fn source_of(tag: u32) -> usize {
        (tag & !(LARGE | ODD)) as usize
    }

    /// Takes the answer to a read.
    ///
    /// # Errors
    /// The read's failure.
    pub fn answer(&mut self, tag: u32, result: Result<Buf>) -> Result<()> {
        let bytes = result?;
        if tag & LARGE != 0 {
            self.large = Some(bytes);
        } else if self.current.tag == tag && !self.current.units.is_empty() {
            self.current.bytes = Some(bytes);
        } else if let Some(ahead) = self.ahead.as_mut().filter(|ahead| ahead.tag == tag) {
            ahead.bytes = Some(bytes);
        }
        Ok(())
    }

    // Asks for the next run of units that lie close together.
    fn fetch(&mut self, io: &mut JobIo) -> Result<Option<Piece>> {
        if self.next_unit >= self.end_unit {
            return Ok(None);
        }
        let at = |unit| self.table.unit(unit).ok_or_else(|| no_unit(&self.table));
        let first = at(self.next_unit)?.pages();
        let mut units = self.next_unit..self.next_unit + 1;
        let mut end = first.offset + u64::from(first.len);
        while units.end < self.end_unit {
            let next = at(units.end)?.pages();
            let next_end = next.offset + u64::from(next.len);
            // Large values lie between units; they are read on their own.
            if next_end - first.offset > self.read_bytes as u64 || next.offset > end {
                break;
            }
            end = next_end;
            units.end += 1;
        }
        self.next_unit = units.end;
        let tag = self.tag | if self.odd { ODD } else { 0 };
        self.odd = !self.odd;
        let len = (end - first.offset) as usize;
        let buf = match self.spare.pop().filter(|buf| buf.bytes().len() >= len) {
            Some(buf) => buf,
            None => Buf::map(len.max(self.read_bytes))?,
        };
        let (object, offset) = (*self.table.name(), first.offset);
        io.requests.push(JobRequest::Read { tag, object, offset, len, buf });
        Ok(Some(Piece { units, offset, tag, bytes: None }))
    }

    /// Moves to a row with its value. Call until `Row` or `Ended`.
    ///
    /// # Errors
    /// Damage.
    #[inline]
    pub fn ready(&mut self, io: &mut JobIo) -> Result<Ready> {
        match self.ready_key(io)? {
            Ready::Row => self.ready_value(io),
            other => Ok(other),
        }
    }

    /// Moves to a row if none is current; its value may still have to be fetched.
    ///
    /// # Errors
    /// Damage.
    #[inline]
    pub fn ready_key(&mut self, io: &mut JobIo) -> Result<Ready> {
        loop {
            if self.row < self.rows.len() {
                return Ok(Ready::Row);
            }
            if self.ended {
                return Ok(Ready::Ended);
            }
            if self.current.units.is_empty() {
                let piece = match self.ahead.take() {
                    None => self.fetch(io)?,
                    ahead => ahead,
                };
                let Some(piece) = piece else {
                    self.ended = true;
                    return Ok(Ready::Ended);
                };
                self.current = piece;
            }
            if self.ahead.is_none() {
                self.ahead = self.fetch(io)?;
            }
            if self.current.bytes.is_none() {
                return Ok(Ready::Waiting);
            }
            self.open_unit()?;
        }
    }

    fn ready_value(&mut self, io: &mut JobIo) -> Result<Ready> {
        let Value::Extent(value) = self.rows[self.row].value else { return Ok(Ready::Row) };
        if let Some(buf) = &self.large {
            extent::check(self.table.object_key(), value.offset, value.len, buf.unverified())
                .map_err(|error| error.in_object(self.table.name()))?;
            return Ok(Ready::Row);
        }
        if !self.large_asked {
            self.large_asked = true;
            let Extent { offset, len } = value.stored();
            let (tag, object) = (self.tag | LARGE, *self.table.name());
            let buf = Buf::map(len as usize)?;
            io.requests.push(JobRequest::Read { tag, object, offset, len: len as usize, buf });
        }
        Ok(Ready::Waiting)
    }

    // Verifies the next unit of the current piece and lists its rows in range.
    fn open_unit(&mut self) -> Result<()> {
        self.unit = self.current.units.start;
        self.current.units.start += 1;
        let at = self.table.unit(self.unit).ok_or_else(|| no_unit(&self.table))?;
        let bytes = self.current.bytes.as_ref().expect("checked by the caller");
        let from = (at.offset - self.current.offset) as usize;
        let damaged = |error: Error| error.in_object(self.table.name());
        let key = self.table.object_key();
        let bytes = bytes.unverified().part(from..);
        let unit = Unit::check(key, at.offset, bytes, &mut self.scratch);
        let unit = unit.map_err(damaged)?;
        if let Some(row) = self.rows.last() {
            self.last.clear();
            self.last.extend_from_slice(row.key(&self.image));
        }
        self.image.clear();
        self.image.extend_from_slice(unit.image());
        self.rows.clear();
        self.row = 0;
        let base = unit.image().as_ptr() as usize;
        for index in 0..unit.len() {
            let entry = unit.entry(index).map_err(damaged)?;
            let last = self.rows.last().map_or(&self.last[..], |row| row.key(unit.image()));
            // Else the merge would write a table that cannot be searched.
            if entry.key <= last {
                return Err(damaged(Error::corrupt(format!(
                    "row {index} of the unit at byte {} is out of order",
                    at.offset
                ))));
            }
            if *entry.key < *self.low || self.high.as_deref().is_some_and(|h| entry.key >= h) {
                continue;
            }
            let value = match entry.value {
                EntryValue::Inline(value) => {
                    Value::Inline { at: offset_in(base, value), len: value.len() as u32 }
                }
                EntryValue::Extent(extent) => Value::Extent(extent),
            };
            let key_at = offset_in(base, entry.key);
            let key_len = entry.key.len() as u32;
            self.rows.push(RowAt { kind: entry.kind, key_at, key_len, value });
        }
        if self.current.units.is_empty() {
            self.spare.extend(self.current.bytes.take());
        }
        Ok(())
    }

    /// The current row's key; a row is current.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.rows[self.row].key(&self.image)
    }

    /// The current row; `ready` answered `Row`.
    #[inline]
    #[must_use]
    pub fn row(&self) -> RowRef<'_> {
        let row = &self.rows[self.row];
        let value = match row.value {
            Value::Inline { at, len } => &self.image[at as usize..(at + len) as usize],
            Value::Extent(value) => {
                let buf = self.large.as_ref().expect("ready answered Row");
                extent::value_in(value.len, buf.bytes())
            }
        };
        RowRef { key: self.key(), kind: row.kind, value }
    }

    /// Leaves the current row.
    #[inline]
    pub fn next(&mut self) {
        self.row += 1;
        if self.large_asked {
            self.large = None;
            self.large_asked = false;
        }
    }
}

// Where a slice of the image starts in it.
fn offset_in(base: usize, slice: &[u8]) -> u32 {
    (slice.as_ptr() as usize - base) as u32
}

fn no_unit(table: &Table) -> Error {
    Error::damaged(table.name(), "the index names a unit past the end")
}
