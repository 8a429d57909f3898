//! A merge by value: what a compactor is asked for, and what it reports (FORMAT.md, "Errand" and
//! "Report"). The readers take any bytes.

use std::collections::HashSet;

use crate::codec::reader::Reader;
use crate::codec::unverified::Unverified;
use crate::codec::varint;
use crate::io::sealed;
use crate::limits::{ERRAND_ERROR_CHARS_MAX, FILTER_BITS_MAX, STORED_KEY_BYTES_MAX};
use crate::lsm::fold::MergeOps;
use crate::sst::meta::{FORMAT_VERSION, TABLE_REF_BYTES, TableRef};
use crate::types::object::OBJECT_NAME_BYTES;
use crate::types::{Error, MergeOp, ObjectKind, ObjectName, Result};

const _: () = assert!(
    sealed::VERSION == 1 && FORMAT_VERSION == 1,
    "a new format of tables is a new version of errands: an older engine could not read it"
);

/// A merge that another process can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Low key of the tablet.
    pub low: Box<[u8]>,
    /// End of the tablet.
    pub high: Option<Box<[u8]>>,
    /// True if no older run is left below.
    pub bottom: bool,
    /// Bits of a filter for each hash.
    pub filter_bits: usize,
    /// Size at which another table is started.
    pub target_bytes: u64,
    /// How the operands of states fold.
    pub ops: MergeOps,
    /// The runs' tables, newest first.
    pub inputs: Vec<TableRef>,
    /// Names for what it writes, in their order.
    pub names: Vec<ObjectName>,
}

impl Errand {
    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_span(&mut out, &self.low);
        out.push(u8::from(self.high.is_some()));
        if let Some(high) = &self.high {
            put_span(&mut out, high);
        }
        out.push(u8::from(self.bottom));
        out.push(self.filter_bits as u8);
        out.extend_from_slice(&self.target_bytes.to_le_bytes());
        let ops = (0..=u8::MAX).zip(self.ops.0).filter_map(|(state, op)| Some((state, op?)));
        varint::put(&mut out, ops.clone().count() as u64);
        ops.for_each(|(state, op)| out.extend_from_slice(&[state, op as u8]));
        put_refs(&mut out, &self.inputs);
        varint::put(&mut out, self.names.len() as u64);
        self.names.iter().for_each(|name| out.extend_from_slice(&name.encode()));
        out
    }

    /// Reads the bytes of an errand.
    ///
    /// # Errors
    /// `Corrupt` if they are none.
    pub fn decode<'a>(bytes: impl Into<Unverified<'a>>) -> Result<Self> {
        let reader = &mut Reader::new(bytes.into().to_check());
        let decoded = Self::read(reader).filter(|errand| {
            let ended = reader.remaining() == 0;
            ended && errand.is_sound()
        });
        decoded.ok_or_else(|| Error::corrupt("these bytes are no errand of this version"))
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let low = reader.span()?.into();
        let high = if flag(reader)? { Some(reader.span()?.into()) } else { None };
        let bottom = flag(reader)?;
        let filter_bits = usize::from(reader.u8()?);
        let target_bytes = reader.u64()?;
        let mut ops = MergeOps::default();
        let mut last = 0;
        for _ in 0..count(reader, 2)? {
            let (state, op) = (reader.u8()?, MergeOp::from_u8(reader.u8()?)?);
            if state <= std::mem::replace(&mut last, state) {
                return None;
            }
            ops.0[usize::from(state)] = Some(op);
        }
        let inputs = take_refs(reader)?;
        let names = (0..count(reader, OBJECT_NAME_BYTES)?)
            .map(|_| ObjectName::decode(reader.array()?))
            .collect::<Option<_>>()?;
        Some(Self { low, high, bottom, filter_bits, target_bytes, ops, inputs, names })
    }

    // What a merge takes for granted.
    fn is_sound(&self) -> bool {
        let high = self.high.as_deref();
        let range = high.is_none_or(|high| self.low[..] < *high);
        let longest = self.low.len().max(high.unwrap_or_default().len());
        let objects = self.inputs.iter().map(|input| input.name).chain(self.names.iter().copied());
        let mut seen = HashSet::new();
        range
            && longest <= STORED_KEY_BYTES_MAX
            && (1..=FILTER_BITS_MAX).contains(&self.filter_bits)
            && self.target_bytes > 0
            && !self.inputs.is_empty()
            // A run in the middle is one table.
            && (if self.bottom { !self.names.is_empty() } else { self.names.len() == 1 })
            && self.names.iter().all(|name| name.kind == ObjectKind::Sst)
            && objects.into_iter().all(|object| seen.insert(object))
    }
}

/// What a compactor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It has the secret, and waits for an errand.
    Ready,
    /// It has no place for another errand, and did nothing for this one.
    Busy,
    /// So many bytes of the errand's tables are written.
    Progress(u64),
    /// The errand is done: its tables, in key order, whole and durable.
    Done(Vec<TableRef>),
    /// It is not, and its names are given up: cause and remedy.
    Failed(String),
}

impl Report {
    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ready => out.push(1),
            Self::Busy => out.push(2),
            Self::Progress(bytes) => {
                out.push(3);
                out.extend_from_slice(&bytes.to_le_bytes());
            }
            Self::Done(tables) => {
                out.push(4);
                put_refs(&mut out, tables);
            }
            Self::Failed(why) => {
                out.push(5);
                put_span(&mut out, plain(why).as_bytes());
            }
        }
        out
    }

    /// Reads the bytes of a report.
    ///
    /// # Errors
    /// `Corrupt` if they are none.
    pub fn decode<'a>(bytes: impl Into<Unverified<'a>>) -> Result<Self> {
        let reader = &mut Reader::new(bytes.into().to_check());
        let decoded = Self::read(reader).filter(|_| reader.remaining() == 0);
        decoded.ok_or_else(|| Error::corrupt("these bytes are no report of this version"))
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(match reader.u8()? {
            1 => Self::Ready,
            2 => Self::Busy,
            3 => Self::Progress(reader.u64()?),
            4 => Self::Done(take_refs(reader)?),
            5 => Self::Failed(plain(&String::from_utf8_lossy(reader.span()?))),
            _ => return None,
        })
    }
}

// One line of text, for a log that people read.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(ERRAND_ERROR_CHARS_MAX).map(shown).collect()
}

fn put_span(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_refs(out: &mut Vec<u8>, tables: &[TableRef]) {
    varint::put(out, tables.len() as u64);
    tables.iter().for_each(|table| out.extend_from_slice(&table.encode()));
}

fn take_refs(reader: &mut Reader<'_>) -> Option<Vec<TableRef>> {
    (0..count(reader, TABLE_REF_BYTES)?).map(|_| TableRef::decode(reader.array()?).ok()).collect()
}

// How many things of `bytes` each follow, for which there are bytes.
fn count(reader: &mut Reader<'_>, bytes: usize) -> Option<usize> {
    let count = usize::try_from(reader.varint()?).ok()?;
    (count <= reader.remaining() / bytes).then_some(count)
}

fn flag(reader: &mut Reader<'_>) -> Option<bool> {
    match reader.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
#[path = "errand_tests.rs"]
mod tests;
