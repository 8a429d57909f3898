//! The targets of single parsers.

use std::sync::Arc;

use aquifer::cache::ssd;
use aquifer::checkpoint::handle::Handle;
use aquifer::checkpoint::root::Root;
use aquifer::codec::crc::{keyed_crc, object_key};
use aquifer::codec::hash::hash64;
use aquifer::codec::reader::Reader;
use aquifer::io::http::response::{self, Answer, Asked};
use aquifer::io::sealed::{
    GREETING_BYTES, HEAD_BYTES, Sealed, Secret, Side, check_greeting, greeting, keys, sealed_bytes,
};
use aquifer::io::url as dfs_url;
use aquifer::io::values::JobIo;
use aquifer::limits::{HTTP_DISCARD_BYTES_MAX, HTTP_HEAD_BYTES_MAX, PAGE_BYTES};
use aquifer::lsm::errand::{Errand, Report};
use aquifer::lsm::errand_job::ErrandJob;
use aquifer::lsm::manifest::Manifest;
use aquifer::lsm::slices::slices;
use aquifer::lsm::version::Version;
use aquifer::sst::meta::{TABLE_REF_BYTES, TableRef};
use aquifer::sst::{EntryValue, Table, Unit, extent as value_extent};
use aquifer::state::StateTable;
use aquifer::state::decode::{Entries, Items, number};
use aquifer::types::key::{collection_prefix, key_parts};
use aquifer::types::{Incarnation, ObjectKind, ObjectName};
use aquifer_tools::dump::{Reader as DumpReader, Writer};
use aquifer_tools::run::job_file::{Job, sealed};

/// Units of an accepted table that a body looks at.
const UNITS_MAX: u32 = 2048;

fn name(kind: ObjectKind) -> ObjectName {
    let incarnation = Incarnation { host_epoch: 2, nonce: 3 };
    ObjectName { store: 1, incarnation, kind, seq: 4, rand: 5 }
}

pub(super) fn manifest(data: &[u8]) {
    let name = name(ObjectKind::Manifest);
    let sealed = [data, &keyed_crc(object_key(&name), 0, data).to_le_bytes()].concat();
    for bytes in [data, &sealed] {
        let Ok(manifest) = Manifest::decode(&name, bytes) else { continue };
        let again = Manifest::decode(&name, &manifest.encode(&name)).expect("it was read");
        assert_eq!(again, manifest);
        states(&manifest.states);
        let ((first, last), key_groups) = (manifest.range, manifest.key_groups);
        let middle = first + (last - first) / 2;
        let checkpoints = [(name, manifest)];
        for range in [(first, last), (first, middle), (middle, last)] {
            let slices = slices(&checkpoints, key_groups, range).expect("it holds these");
            let version = Version::of_slices(&slices);
            let tablets = checkpoints[0].1.tablets.len();
            assert!((1..=tablets + 2).contains(&version.tablets().len()));
        }
    }
}

pub(super) fn handle(data: &[u8]) {
    let sealed = [data, &hash64(data).to_le_bytes()].concat();
    for bytes in [data, &sealed] {
        if let Ok(handle) = Handle::decode(bytes) {
            assert_eq!(handle.encode(), bytes);
            let _other = handle.verify(data);
        }
    }
}

pub(super) fn root(data: &[u8]) {
    let name = ObjectName::root(3, 70);
    let sealed = [data, &keyed_crc(object_key(&name), 0, data).to_le_bytes()].concat();
    for bytes in [data, &sealed] {
        if let Ok(root) = Root::decode(&name, bytes) {
            assert_eq!(root.encode(), bytes);
        }
    }
}

pub(super) fn compactor(data: &[u8]) {
    if let Ok(errand) = Errand::decode(data) {
        assert_eq!(Errand::decode(&errand.encode()).expect("it was read"), errand);
        // What it would take is known before it is taken.
        let job = ErrandJob::new(errand, 64 << 20, Arc::default());
        let _begun = job.map(|mut job| job.step(&mut JobIo::default()));
    }
    if let Ok(report) = Report::decode(data) {
        assert_eq!(Report::decode(&report.encode()).expect("it was read"), report);
    }
    conversation(data);
}

// The other side is whoever sent these bytes: a greeting and frames.
fn conversation(data: &[u8]) {
    let Some((theirs, mut frames)) = data.split_first_chunk::<GREETING_BYTES>() else { return };
    if check_greeting(theirs).is_err() {
        return;
    }
    let secret = Secret::new(b"0123456789abcdef").expect("long enough");
    let own = greeting([1; 32]);
    let (_, mut opener) = keys(&secret, Side::Engine, &own, theirs);
    while let Some((head, rest)) = frames.split_first_chunk::<HEAD_BYTES>()
        && let Ok(bytes) = sealed_bytes(*head)
        && let Some((body, rest)) = rest.split_at_checked(bytes)
    {
        assert!(opener.open(Sealed(body.to_vec())).is_err(), "they do not have the secret");
        frames = rest;
    }
}

pub(super) fn job(data: &[u8]) {
    let body = String::from_utf8_lossy(data);
    for bytes in [data, sealed(&body).as_bytes()] {
        let Ok(mut job) = Job::parse(bytes) else { continue };
        let again = serde_json::to_string(&job).expect("it was read");
        assert_eq!(Job::parse(sealed(&again).as_bytes()).expect("it was written"), job);
        let _next = (job.last(), job.remedy(), job.go_back());
    }
}

pub(super) fn states(data: &[u8]) {
    let Ok(table) = StateTable::decode(&mut Reader::new(data)) else { return };
    let mut bytes = Vec::new();
    table.encode(&mut bytes);
    assert_eq!(StateTable::decode(&mut Reader::new(&bytes)).expect("it was read"), table);
}

pub(super) fn footer(data: &[u8]) {
    let name = name(ObjectKind::Sst);
    let mut page = data.to_vec();
    page.resize(PAGE_BYTES, 0);
    let file_bytes = u64::from_le_bytes(*page[16..].first_chunk().expect("a page"));
    let offset = file_bytes.wrapping_sub(PAGE_BYTES as u64);
    let crc = keyed_crc(object_key(&name), offset, &page[12..]);
    page[8..12].copy_from_slice(&crc.to_le_bytes());
    for bytes in [data, &page] {
        if let Ok(found) = TableRef::from_footer(name, bytes) {
            assert_eq!(found.footer(), &bytes[..PAGE_BYTES]);
        }
    }
    if let Some(record) = data.first_chunk::<TABLE_REF_BYTES>()
        && let Ok(found) = TableRef::decode(record)
    {
        assert_eq!(found.encode(), *record);
        let _pages = found.meta().pages();
    }
}

/// The first two bytes are the pages before the resident part.
pub(super) fn table(data: &[u8]) {
    let Some((pages, body)) = data.split_first_chunk::<2>() else { return };
    let mut meta = body.to_vec();
    meta.resize(body.len().next_multiple_of(PAGE_BYTES).max(PAGE_BYTES), 0);
    let name = name(ObjectKind::Sst);
    let meta_offset = u64::from(u16::from_le_bytes(*pages)) * PAGE_BYTES as u64;
    let meta_len = meta.len() as u32;
    let table_ref = TableRef {
        name,
        file_bytes: meta_offset + u64::from(meta_len) + PAGE_BYTES as u64,
        meta_offset,
        meta_len,
        meta_crc: keyed_crc(object_key(&name), meta_offset, &meta),
    };
    assert!(Table::decode(TableRef { meta_crc: !table_ref.meta_crc, ..table_ref }, &meta).is_err());
    if let Ok(table) = Table::decode(table_ref, &meta) {
        search(&table, body);
    }
}

fn search(table: &Table, data: &[u8]) {
    let words = data.chunks(13).take(64);
    let bounds = [table.smallest(), table.largest(), b"", &[0xff; 40]];
    for key in words.chain(bounds) {
        let hash = hash64(key);
        let found = [table.probe(hash, key), table.locate(key)];
        for extent in found.into_iter().flatten() {
            let pages = extent.pages();
            assert!(pages.offset + u64::from(pages.len) <= table.file_bytes(), "inside the object");
        }
        assert!(table.unit_at(key) <= table.units());
        let _answers = (
            table.may_hold_collection(hash, key),
            table.clears(key),
            table.bytes_between(key, Some(&[0xff])),
            table.bytes_between(b"", None),
        );
    }
    for unit in 0..table.units().min(UNITS_MAX) {
        let pages = table.unit(unit).expect("below the count").pages();
        assert!(pages.offset + u64::from(pages.len) <= table.file_bytes(), "inside the object");
    }
    assert_eq!(table.unit(table.units()), None);
}

/// The first two bytes are the page of the unit.
pub(super) fn unit(data: &[u8]) {
    let Some((page, body)) = data.split_first_chunk::<2>() else { return };
    let offset = u64::from(u16::from_le_bytes(*page)) * PAGE_BYTES as u64;
    let key = object_key(&name(ObjectKind::Sst));
    let mut sealed = body.to_vec();
    sealed.resize(body.len().max(PAGE_BYTES), 0);
    seal_unit(&mut sealed, key, offset);
    for bytes in [body, &sealed] {
        let mut scratch = Vec::new();
        let Ok(unit) = Unit::check(key, offset, bytes, &mut scratch) else { continue };
        for index in 0..unit.len() {
            let Ok(entry) = unit.entry(index) else { continue };
            let _parts = (key_parts(entry.key), collection_prefix(entry.key));
            let _found = (unit.find(entry.key), unit.seek(entry.key));
            if let EntryValue::Extent(value) = entry.value {
                assert!(value.offset + u64::from(value.stored().len) <= offset, "before the unit");
                let _pages = value.stored().pages();
            }
        }
        let _found = (unit.find(body), unit.seek(body));
        let image = unit.image().to_vec();
        assert_eq!(Unit::of_image(offset, &image).expect("it was checked").len(), unit.len());
    }
}

/// Gives a unit at the beginning of `bytes`, which is at least a page, the checksum of its bytes,
/// however many its header says they are.
pub(super) fn seal_unit(bytes: &mut [u8], object_key: u64, offset: u64) {
    let stored = u32::from_le_bytes(*bytes[12..].first_chunk().expect("a page")) as usize;
    let packed = (16 + stored.min(PAGE_BYTES)).next_multiple_of(64);
    let len = if bytes[4] == 2 { packed.min(PAGE_BYTES) } else { PAGE_BYTES };
    let crc = keyed_crc(object_key, offset, &bytes[4..len]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

/// The first four bytes are the length of the value.
pub(super) fn extent(data: &[u8]) {
    let Some((len, body)) = data.split_first_chunk::<4>() else { return };
    let (key, len) = (object_key(&name(ObjectKind::Sst)), u32::from_le_bytes(*len));
    for offset in [0, PAGE_BYTES as u64, u64::MAX] {
        if let Ok(value) = value_extent::check(key, offset, len, body) {
            assert_eq!(value.len(), len as usize);
        }
    }
}

pub(super) fn values(data: &[u8]) {
    if let Ok(items) = Items::check(data) {
        let bytes: usize = items.clone().map(<[u8]>::len).sum();
        assert!(bytes + items.len() <= data.len());
    }
    if let Ok(entries) = Entries::check(data, true) {
        assert_eq!(entries.clone().count(), entries.len());
    }
    assert_eq!(number(data).is_ok(), data.len() == 8);
}

pub(super) fn region(data: &[u8]) {
    let mut page = data.to_vec();
    page.resize(PAGE_BYTES, 0);
    page[24..28].fill(0);
    let crc = keyed_crc(0, 0, &page);
    page[24..28].copy_from_slice(&crc.to_le_bytes());
    let number = u32::from_le_bytes(*page[16..].first_chunk().expect("a page"));
    for (bytes, pages) in [(data, 256), (&page, 256), (&page, 4)] {
        let Some((_, extents)) = ssd::decode(number, pages, bytes.into()) else { continue };
        let held: u32 = extents.iter().map(|extent| u32::from(extent.pages)).sum();
        assert!(held < pages && extents.iter().all(|extent| extent.key != 0 && extent.pages > 0));
    }
}

pub(super) fn url(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _understood = dfs_url::parse(text);
    }
}

/// The first two bytes are the page and the pages of the range that was asked for.
pub(super) fn http(data: &[u8]) {
    let Some(([page, pages], bytes)) = data.split_first_chunk::<2>() else { return };
    let asked = Asked {
        offset: u64::from(*page) * PAGE_BYTES as u64,
        bytes: (u64::from(*pages) + 1) * PAGE_BYTES as u64,
    };
    let found = response::parse(bytes, asked);
    let Some(head) = found else {
        assert!(bytes.len() < HTTP_HEAD_BYTES_MAX, "a head has its limit");
        return;
    };
    assert!(head.bytes <= bytes.len().min(HTTP_HEAD_BYTES_MAX));
    assert!(head.body.is_some() || !head.keep, "what follows would be taken for an answer");
    match &head.answer {
        Answer::Range => assert_eq!(head.body, Some(asked.bytes as usize)),
        answer => {
            assert!(head.body.is_none_or(|body| body as u64 <= HTTP_DISCARD_BYTES_MAX));
            assert!(!format!("{answer:?}").is_empty());
        }
    }
    // A head is the same whatever follows it, and no part of it is one.
    if head.bytes > 0 {
        assert_eq!(response::parse(&bytes[..head.bytes], asked), Some(head.clone()));
        assert_eq!(response::parse(&bytes[..head.bytes - 1], asked), None);
    }
}

/// A dump is read as it is, and with the checksum of each part made right. What is whole is written
/// and read again.
pub(super) fn dump(data: &[u8]) {
    for bytes in [data.to_vec(), seal_dump(data)] {
        let Ok(mut reader) = DumpReader::open(&bytes[..]) else { continue };
        let mut writer = Writer::create(Vec::new(), reader.head()).expect("memory");
        let mut rows = Vec::new();
        let mut copy = |key: &[u8], value: &[u8]| {
            writer.row(key, value).expect("it was read");
            rows.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        while matches!(reader.block(&mut copy), Ok(true)) {}
        assert!(reader.place().rows <= rows.len() as u64);
        let (again, place) = writer.finish().expect("memory");
        let mut reader = DumpReader::open(&again[..]).expect("it was written");
        let mut rows = rows.iter();
        let mut same = |key: &[u8], value: &[u8]| {
            assert_eq!(rows.next(), Some(&(key.to_vec(), value.to_vec())));
            Ok(())
        };
        while reader.block(&mut same).expect("it was written") {}
        assert_eq!((reader.place(), rows.next()), (place, None));
    }
}

/// The parts of a dump, as far as their lengths lead, each under a checksum that fits.
fn seal_dump(data: &[u8]) -> Vec<u8> {
    let length = |at: usize| {
        let bytes = data.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let (mut out, mut at, mut check) = (data.to_vec(), 0_usize, 0);
    loop {
        let len = match (at, data.get(at)) {
            (0, _) => length(20).map(|states| 24 + states),
            (_, Some(1)) => length(at + 15).map(|rows| 19 + rows),
            (_, Some(2)) => Some(25),
            _ => None,
        };
        let end = len.and_then(|len| at.checked_add(len));
        let Some(end) = end.filter(|end| end + 4 <= data.len()) else { return out };
        let mut crc = crc32fast::Hasher::new_with_initial(check);
        crc.update(&data[at..end]);
        check = crc.finalize();
        out[end..end + 4].copy_from_slice(&check.to_le_bytes());
        at = end + 4;
    }
}
