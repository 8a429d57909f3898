//! Where the resident part of a table lies: the record a manifest keeps, the footer page from
//! which tools find the same without a manifest, and the frame of the sections.

use crate::codec::crc::{keyed_crc, object_key};
use crate::codec::reader::Reader;
use crate::limits::{PAGE_BYTES, SST_META_BYTES_MAX};
use crate::sst::layout::Extent;
use crate::types::object::OBJECT_NAME_BYTES;
use crate::types::{Error, ObjectKind, ObjectName, Result};

/// Version of the table format that is written, and the newest that is read.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"AQUISST1";
const FOOTER_CRC_AT: usize = 8;
const FOOTER_CRC_FROM: usize = 12;
const FOOTER_FIELDS_BYTES: usize = FOOTER_CRC_FROM + 4 + 8 + 8 + 4 + 4;

/// What a manifest keeps of a table: enough to load it with one ranged read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableRef {
    /// The object.
    pub name: ObjectName,
    /// Bytes of the object, whole pages.
    pub file_bytes: u64,
    /// Where the resident part begins.
    pub meta_offset: u64,
    /// Its bytes, whole pages; the footer page follows.
    pub meta_len: u32,
    /// Its checksum, keyed with object and offset.
    pub meta_crc: u32,
}

/// Bytes of an encoded table reference.
pub const TABLE_REF_BYTES: usize = OBJECT_NAME_BYTES + 8 + 8 + 4 + 4;

impl TableRef {
    /// The range to read for `Table::decode`.
    #[must_use]
    pub fn meta(&self) -> Extent {
        Extent { offset: self.meta_offset, len: self.meta_len }
    }

    /// The fixed binary form (FORMAT.md, "Table reference").
    #[must_use]
    pub fn encode(&self) -> [u8; TABLE_REF_BYTES] {
        let mut out = [0; TABLE_REF_BYTES];
        let (name, rest) = out.split_at_mut(OBJECT_NAME_BYTES);
        name.copy_from_slice(&self.name.encode());
        rest[..8].copy_from_slice(&self.file_bytes.to_le_bytes());
        rest[8..16].copy_from_slice(&self.meta_offset.to_le_bytes());
        rest[16..20].copy_from_slice(&self.meta_len.to_le_bytes());
        rest[20..].copy_from_slice(&self.meta_crc.to_le_bytes());
        out
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// `Corrupt` if the record names no table or its lengths contradict each other.
    pub fn decode(bytes: &[u8; TABLE_REF_BYTES]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let name = reader.array().and_then(ObjectName::decode);
        let fields = (reader.u64(), reader.u64(), reader.u32(), reader.u32());
        let (Some(name), (Some(file_bytes), Some(meta_offset), Some(meta_len), Some(meta_crc))) =
            (name, fields)
        else {
            return Err(Error::corrupt("table reference: the object name is not of the format"));
        };
        let out = Self { name, file_bytes, meta_offset, meta_len, meta_crc };
        out.check().map_err(|what| Error::corrupt(format!("table reference to {name}: {what}")))?;
        Ok(out)
    }

    // The lengths agree, so whoever allocates `meta_len` allocates within the limit.
    fn check(&self) -> std::result::Result<(), &'static str> {
        let page = PAGE_BYTES as u64;
        let footer_at = self.meta_offset.checked_add(u64::from(self.meta_len));
        if self.name.kind != ObjectKind::Sst {
            return Err("the object is not a sorted table");
        }
        if self.meta_len == 0 || self.meta_len as usize > SST_META_BYTES_MAX {
            return Err("the length of the resident part is out of range");
        }
        if footer_at.and_then(|at| at.checked_add(page)) != Some(self.file_bytes) {
            return Err("lengths do not add up to the object's");
        }
        if i64::try_from(self.file_bytes).is_err() {
            return Err("the object is longer than a file can be");
        }
        if !self.meta_offset.is_multiple_of(page) || !u64::from(self.meta_len).is_multiple_of(page)
        {
            return Err("resident part is not whole pages");
        }
        Ok(())
    }

    /// The footer page that ends the object.
    #[must_use]
    pub fn footer(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.extend_from_slice(MAGIC);
        page.extend_from_slice(&[0; 4]);
        page.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        page.extend_from_slice(&self.file_bytes.to_le_bytes());
        page.extend_from_slice(&self.meta_offset.to_le_bytes());
        page.extend_from_slice(&self.meta_len.to_le_bytes());
        page.extend_from_slice(&self.meta_crc.to_le_bytes());
        debug_assert_eq!(page.len(), FOOTER_FIELDS_BYTES);
        page.resize(PAGE_BYTES, 0);
        let offset = self.file_bytes - PAGE_BYTES as u64;
        let crc = keyed_crc(object_key(&self.name), offset, &page[FOOTER_CRC_FROM..]);
        page[FOOTER_CRC_AT..FOOTER_CRC_FROM].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Reads the last page of the object `name`.
    ///
    /// # Errors
    /// `Corrupt`, naming the object and the check that failed; `Unsupported` for a newer format.
    pub fn from_footer(name: ObjectName, page: &[u8]) -> Result<Self> {
        let fail = |what: &str| Error::damaged(&name, format!("footer: {what}"));
        let Some(page) = page.first_chunk::<PAGE_BYTES>() else {
            return Err(fail("shorter than a page"));
        };
        let Some(footer) = Footer::unchecked(name, page) else {
            return Err(fail("no magic: not a sorted table"));
        };
        if !footer.checksum_holds {
            return Err(fail("checksum differs"));
        }
        check_version(footer.format_version, &name)?;
        if page[FOOTER_FIELDS_BYTES..].iter().any(|&b| b != 0) {
            return Err(fail("padding is not zero"));
        }
        footer.table_ref.check().map_err(fail)?;
        Ok(footer.table_ref)
    }
}

/// The fields of a footer page, whether or not they are right: for tools that look at damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Whether the page's checksum holds.
    pub checksum_holds: bool,
    /// Version of the table format.
    pub format_version: u32,
    /// Name and lengths of the parts.
    pub table_ref: TableRef,
}

impl Footer {
    /// Takes the last page of the object `name` apart; `None` if it does not start as a footer.
    #[must_use]
    pub fn unchecked(name: ObjectName, page: &[u8; PAGE_BYTES]) -> Option<Self> {
        let mut reader = Reader::new(page);
        if reader.array() != Some(MAGIC) {
            return None;
        }
        let (crc, format_version) = (reader.u32()?, reader.u32()?);
        let (file_bytes, meta_offset) = (reader.u64()?, reader.u64()?);
        let (meta_len, meta_crc) = (reader.u32()?, reader.u32()?);
        let offset = file_bytes.wrapping_sub(PAGE_BYTES as u64);
        let checksum_holds = keyed_crc(object_key(&name), offset, &page[FOOTER_CRC_FROM..]) == crc;
        let table_ref = TableRef { name, file_bytes, meta_offset, meta_len, meta_crc };
        Some(Self { checksum_holds, format_version, table_ref })
    }
}

/// Refuses a format version that this build cannot read.
pub(super) fn check_version(version: u32, name: &ObjectName) -> Result<()> {
    if version == FORMAT_VERSION {
        return Ok(());
    }
    Err(Error::new(
        crate::types::error::ErrorKind::Unsupported,
        format!(
            "object {name}: table format {version}, this build reads {FORMAT_VERSION}; \
             open the store with the version that wrote it or a newer one"
        ),
    ))
}

/// The sections of the resident part, in this order. Zero is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Section {
    Properties = 1,
    Fences = 2,
    Filters = 3,
    Clears = 4,
}

/// Appends a section whose body `fill` writes.
pub(super) fn put_section(out: &mut Vec<u8>, tag: Section, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag as u8);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let start = out.len();
    fill(out);
    // A part over 4 GiB is over its limit too, which the builder reports when it has all parts.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[length_at..start].copy_from_slice(&length.to_le_bytes());
}

/// The body of the next section, which has this tag.
pub(super) fn take_section<'a>(reader: &mut Reader<'a>, tag: Section) -> Option<Reader<'a>> {
    if reader.u8()? != tag as u8 {
        return None;
    }
    let length = usize::try_from(reader.u32()?).ok()?;
    reader.take(length).map(Reader::new)
}

#[cfg(test)]
#[path = "meta_tests.rs"]
mod tests;
