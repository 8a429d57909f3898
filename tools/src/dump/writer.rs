//! Writes a dump front to back.

use std::io::Write;

use aquifer::codec::varint;
use aquifer::state::StateKind;
use aquifer::types::key::key_parts;
use aquifer::types::{Error, Result};

use super::format::{
    BLOCK, BLOCK_BYTES, BLOCK_HEAD_BYTES, CHECK_BYTES, END, END_BYTES, Head, Place, Rules, check_of,
};

/// Rows go in, in the order of their stored keys; blocks come out. How they are cut depends on the
/// rows alone.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    rules: Rules,
    place: Place,
    group: u16,
    rows: u32,
    // The open block: room for its head, then its rows.
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a dump.
    ///
    /// # Errors
    /// Those of the output.
    pub fn create(out: W, head: &Head) -> Result<Self> {
        let mut writer = Self::resume(out, head, Place::default(), &[]);
        let head = head.encode();
        writer.put(head)?;
        Ok(writer)
    }

    /// Goes on behind a place, at which the output is; `last` is the stored key of the last row
    /// before it.
    pub fn resume(out: W, head: &Head, place: Place, last: &[u8]) -> Self {
        let rules = Rules { head: head.clone(), last: last.to_vec() };
        Self { out, rules, place, group: 0, rows: 0, block: vec![0; BLOCK_HEAD_BYTES] }
    }

    /// What is written, as far as it is whole.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Adds a row.
    ///
    /// # Errors
    /// `Corrupt` for one that no dump may have; those of the output.
    pub fn row(&mut self, stored: &[u8], value: &[u8]) -> Result<()> {
        let kind = self.rules.admit(stored, value).map_err(|what| {
            let key = stored.escape_ascii();
            Error::corrupt(format!(
                "the row with the stored key \"{key}\": {what}; see `aquifer verify --deep`"
            ))
        })?;
        let Some(parts) = key_parts(stored) else { return Ok(()) };
        let map_key = (kind == StateKind::Map).then(|| &stored[parts.prefix_len..]);
        let spans = [Some(parts.key), Some(parts.namespace), map_key, Some(value)];
        let spans = || spans.iter().flatten();
        let span_bytes = |span: &&[u8]| varint::len(span.len() as u64) + span.len();
        let bytes = 1 + spans().map(span_bytes).sum::<usize>();
        let full = self.block.len() - BLOCK_HEAD_BYTES + bytes > BLOCK_BYTES;
        if self.rows > 0 && (full || parts.group != self.group) {
            self.end_block()?;
        }
        self.group = parts.group;
        self.rows += 1;
        self.block.push(parts.state.0);
        for span in spans() {
            varint::put(&mut self.block, span.len() as u64);
            self.block.extend_from_slice(span);
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        let mut block = std::mem::take(&mut self.block);
        let row_bytes = (block.len() - BLOCK_HEAD_BYTES) as u32;
        block[0] = BLOCK;
        block[1..3].copy_from_slice(&self.group.to_le_bytes());
        block[3..11].copy_from_slice(&(self.place.blocks + 1).to_le_bytes());
        block[11..15].copy_from_slice(&self.rows.to_le_bytes());
        block[15..19].copy_from_slice(&row_bytes.to_le_bytes());
        self.block = self.put(block)?;
        self.block.truncate(BLOCK_HEAD_BYTES);
        self.place.blocks += 1;
        self.place.rows += u64::from(std::mem::take(&mut self.rows));
        Ok(())
    }

    /// Ends the dump, and gives the output back.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> Result<(W, Place)> {
        if self.rows > 0 {
            self.end_block()?;
        }
        let bytes = self.place.bytes + (END_BYTES + CHECK_BYTES) as u64;
        let mut end = vec![END];
        for number in [self.place.blocks, self.place.rows, bytes] {
            end.extend_from_slice(&number.to_le_bytes());
        }
        self.put(end)?;
        self.out.flush().map_err(failed)?;
        Ok((self.out, self.place))
    }

    // Writes a part under its checksum; its memory comes back.
    fn put(&mut self, mut part: Vec<u8>) -> Result<Vec<u8>> {
        let check = check_of(self.place.check, &part);
        part.extend_from_slice(&check.to_le_bytes());
        self.out.write_all(&part).map_err(failed)?;
        self.place.bytes += part.len() as u64;
        self.place.check = check;
        Ok(part)
    }
}

fn failed(cause: std::io::Error) -> Error {
    Error::io("writing the dump", &cause)
}
