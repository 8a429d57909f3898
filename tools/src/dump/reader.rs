//! Reads a dump front to back, whatever its bytes are: nothing of a block is handed out before its
//! checksum was found right.

use std::io::Read;

use aquifer::codec::reader::Reader as Fields;
use aquifer::codec::unverified::Unverified;
use aquifer::state::StateTable;
use aquifer::types::key::encode_key;
use aquifer::types::{Error, Locality, Result, StateId};

use super::format::{
    BLOCK, BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, CHECK_BYTES, END, END_BYTES, HEAD_BYTES, Head, Place,
    Rules, check_of,
};

/// See the module.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    rules: Rules,
    place: Place,
    // The part that is being read.
    bytes: Vec<u8>,
    stored: Vec<u8>,
}

/// What stands before the rows of a block.
struct BlockHead {
    group: u16,
    number: u64,
    rows: u32,
    row_bytes: usize,
}

impl BlockHead {
    fn of(bytes: Unverified<'_>) -> Option<Self> {
        let mut fields = Fields::new(bytes.part(1..).to_check());
        let group = u16::from_le_bytes(*fields.array()?);
        let (number, rows) = (fields.u64()?, fields.u32()?);
        Some(Self { group, number, rows, row_bytes: fields.u32()? as usize })
    }
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// `Corrupt`: it is no dump, or not a whole one; `Unsupported`: one of a newer format; those of
    /// the input.
    pub fn open(input: R) -> Result<Self> {
        let head = Head { key_groups: 1, range: (0, 0), states: StateTable::default() };
        let rules = Rules { head, last: Vec::new() };
        let place = Place::default();
        let mut reader = Self { input, rules, place, bytes: Vec::new(), stored: Vec::new() };
        reader.fill(HEAD_BYTES)?;
        let states = Head::states_bytes(Unverified::from(&reader.bytes))?;
        if !reader.fill(states + CHECK_BYTES)? {
            return Err(Error::corrupt("the dump ends inside its head"));
        }
        let check = reader.take_check();
        reader.rules.head = Head::check(Unverified::from(&reader.bytes), check)?;
        reader.pass(check);
        Ok(reader)
    }

    /// What it says before its rows.
    pub fn head(&self) -> &Head {
        &self.rules.head
    }

    /// How far it was read and found whole.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The stored key of the last row that it gave out; empty before the first.
    pub fn last(&self) -> &[u8] {
        &self.rules.last
    }

    /// Reads the next block, and gives its rows, stored key and value, to `each`; false at the end
    /// of a whole dump.
    ///
    /// # Errors
    /// `Corrupt`: the block, which is named, is damaged, or the dump ends too early or goes on
    /// behind its end. Those of the input, and of `each`.
    pub fn block(&mut self, each: &mut impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<bool> {
        self.bytes.clear();
        self.fill(1)?;
        match self.bytes.first() {
            Some(&BLOCK) => self.rows(each).map(|()| true),
            Some(&END) => self.end().map(|()| false),
            Some(kind) => Err(self.damaged(&format!("it begins with {kind}"))),
            None => Err(Error::corrupt(format!(
                "the dump ends behind block {}, at byte {}, without an end: it was cut, or its \
                 export was; export it again",
                self.place.blocks, self.place.bytes
            ))),
        }
    }

    fn rows(&mut self, each: &mut impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        self.whole(BLOCK_HEAD_BYTES - 1)?;
        let head = BlockHead::of(Unverified::from(&self.bytes));
        let head = head.ok_or_else(|| self.damaged("it is cut"))?;
        if head.row_bytes > BLOCK_BYTES_MAX {
            return Err(self.damaged(&format!("no block has {} bytes", head.row_bytes)));
        }
        self.whole(head.row_bytes + CHECK_BYTES)?;
        let check = self.checked()?;
        if head.number != self.place.blocks + 1 || head.rows == 0 {
            return Err(self.damaged("its head is wrong"));
        }
        let bytes = std::mem::take(&mut self.bytes);
        let mut fields = Fields::new(&bytes[BLOCK_HEAD_BYTES..]);
        for number in 1..=head.rows {
            let admitted = match self.row(&mut fields, head.group) {
                Some(value) => self.rules.admit(&self.stored, value).map(|_| value),
                None => Err("it has not the form of one".to_owned()),
            };
            let value =
                admitted.map_err(|what| self.damaged(&format!("row {number} of it: {what}")))?;
            each(&self.stored, value)?;
        }
        if fields.remaining() > 0 {
            return Err(self.damaged("bytes follow its rows"));
        }
        self.bytes = bytes;
        self.pass(check);
        self.place.blocks += 1;
        self.place.rows += u64::from(head.rows);
        Ok(())
    }

    /// Takes a row apart: its stored key goes to `stored`, its value is returned.
    fn row<'a>(&mut self, fields: &mut Fields<'a>, group: u16) -> Option<&'a [u8]> {
        let id = StateId(fields.u8()?);
        let locality = self.rules.head.states.get(id)?.kind.locality();
        let (key, namespace) = (fields.span()?, fields.span()?);
        self.stored.clear();
        encode_key(&mut self.stored, group, locality, key, id, namespace).ok()?;
        if locality == Locality::Collection {
            self.stored.extend_from_slice(fields.span()?);
        }
        fields.span()
    }

    fn end(&mut self) -> Result<()> {
        self.whole(END_BYTES + CHECK_BYTES - 1)?;
        let end = self.place.bytes + self.bytes.len() as u64;
        let check = self.checked()?;
        let mut fields = Fields::new(&self.bytes[1..]);
        let numbers = [fields.u64(), fields.u64(), fields.u64()];
        if numbers != [Some(self.place.blocks), Some(self.place.rows), Some(end)] {
            return Err(Error::corrupt(format!(
                "the end of the dump, behind block {}, names other blocks, rows or bytes than \
                 stand before it",
                self.place.blocks
            )));
        }
        self.pass(check);
        self.bytes.clear();
        if self.fill(1)? || !self.bytes.is_empty() {
            return Err(Error::corrupt(format!("bytes follow the end of the dump at byte {end}")));
        }
        Ok(())
    }

    // Reads so many more bytes of the part; false where the input ends before.
    fn fill(&mut self, count: usize) -> Result<bool> {
        let read = self.input.by_ref().take(count as u64).read_to_end(&mut self.bytes);
        let read = read.map_err(|cause| Error::io("reading the dump", &cause))?;
        Ok(read == count)
    }

    fn whole(&mut self, count: usize) -> Result<()> {
        if self.fill(count)? { Ok(()) } else { Err(self.damaged("the dump ends inside it")) }
    }

    // Takes the checksum from the end of the part, and compares it with its bytes.
    fn checked(&mut self) -> Result<u32> {
        let check = self.take_check();
        if check_of(self.place.check, &self.bytes) == check {
            return Ok(check);
        }
        Err(self.damaged("its checksum differs"))
    }

    fn take_check(&mut self) -> u32 {
        let (rest, check) = self.bytes.split_last_chunk::<CHECK_BYTES>().expect("they were read");
        let (len, check) = (rest.len(), u32::from_le_bytes(*check));
        self.bytes.truncate(len);
        check
    }

    // The part is whole.
    fn pass(&mut self, check: u32) {
        self.place.bytes += (self.bytes.len() + CHECK_BYTES) as u64;
        self.place.check = check;
    }

    fn damaged(&self, what: &str) -> Error {
        let Place { blocks, bytes, .. } = self.place;
        Error::corrupt(format!(
            "block {} of the dump, at byte {bytes}, is damaged: {what}; export it again, or take \
             another copy",
            blocks + 1
        ))
    }
}
