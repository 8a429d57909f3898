use std::collections::BTreeMap;

use super::*;
use crate::io::test_support::name;
use crate::limits::JOB_READ_BYTES_MIN;
use crate::lsm::errand_job::{ErrandJob, Watch};
use crate::lsm::fold::MergeOps;
use crate::sst::testing::{Built, Row, build_as, stored_key};
use crate::sst::{EntryValue, Unit};
use crate::types::error::ErrorKind;
use crate::types::{Locality, RowKind};

const MEMORY_BYTES: usize = 64 << 20;
const TARGET_BYTES: u64 = 40 << 10;

type Objects = BTreeMap<ObjectName, Vec<u8>>;

fn key(at: u64) -> Vec<u8> {
    stored_key(1, Locality::Small, &at.to_be_bytes(), b"")
}

fn map_prefix() -> Vec<u8> {
    stored_key(0, Locality::Collection, b"map", b"")
}

/// A table of values of `len` bytes under these keys.
fn table(
    object: ObjectName,
    keys: impl Iterator<Item = u64>,
    (len, clears): (usize, bool),
    dfs: &mut Objects,
) -> Table {
    let row = |at| Row { key: key(at), kind: RowKind::Put, value: vec![at as u8; len] };
    let rows: Vec<Row> = keys.map(row).collect();
    let prefix = map_prefix();
    let clears: &[&[u8]] = if clears { &[&prefix] } else { &[] };
    let Built { table, file } = build_as(object, 16, &rows, clears);
    dfs.insert(object, file);
    table
}

/// Two runs of a tablet, which ends at key 900, on a DFS.
struct Tablet {
    dfs: Objects,
    inputs: Vec<Arc<Table>>,
    bottom: bool,
}

impl Tablet {
    fn new(bottom: bool) -> Self {
        let mut dfs = Objects::new();
        let newer = table(name(1), (100..1000).step_by(3), (50, true), &mut dfs);
        let older = table(name(2), 100..1000, (50, false), &mut dfs);
        Self { dfs, inputs: vec![Arc::new(newer), Arc::new(older)], bottom }
    }

    fn low(&self) -> Box<[u8]> {
        stored_key(0, Locality::Small, b"", b"").into()
    }

    fn high(&self) -> Option<Box<[u8]>> {
        Some(key(900).into())
    }

    fn errand(&self) -> Errand {
        Errand {
            low: self.low(),
            high: self.high(),
            bottom: self.bottom,
            filter_bits: 16,
            target_bytes: if self.bottom { TARGET_BYTES } else { u64::MAX },
            ops: MergeOps::default(),
            inputs: self.inputs.iter().map(|input| *input.table_ref()).collect(),
            names: (10..if self.bottom { 16 } else { 11 }).map(name).collect(),
        }
    }

    fn job(&self) -> MergeJob {
        let order = MergeOrder {
            low: self.low(),
            high: self.high(),
            inputs: self.inputs.clone(),
            bottom: self.bottom,
            read_bytes: JOB_READ_BYTES_MIN,
        };
        let errand = self.errand();
        let names = errand.names.iter().map(|other| name(other.seq + 10)).collect();
        let output = Output::new(names, errand.filter_bits, errand.target_bytes);
        MergeJob::offered(CompactJob::new(order, MergeOps::default(), output), errand)
    }

    /// What an honest compactor reports.
    fn done_elsewhere(&mut self) -> Vec<TableRef> {
        let watch = Arc::new(Watch::default());
        let errand = Errand::decode(&self.errand().encode()).unwrap();
        let mut job = ErrandJob::new(errand, MEMORY_BYTES, watch.clone()).unwrap();
        drive(&mut self.dfs, |io| Ok(job.step(io)), |_, _| unreachable!("it merges")).unwrap();
        let tables = job.into_tables().unwrap();
        let bytes: u64 = tables.iter().map(|table| table.file_bytes).sum();
        assert_eq!(watch.written(), bytes);
        tables
    }

    /// Runs the store's job; a compactor answers as `report` says.
    fn run(mut self, report: impl FnMut(&mut Objects) -> Result<(usize, Vec<u8>)>) -> Ended {
        let mut job = self.job();
        let mut report = report;
        drive(&mut self.dfs, |io| job.step(io), |dfs, _| report(dfs)).unwrap();
        let verdict = job.verdict();
        assert!(job.verdict().is_none(), "it is given once");
        let (tables, bytes) = job.into_tables();
        assert_eq!(bytes, tables.iter().map(|table| table.file_bytes()).sum::<u64>());
        let here = tables.iter().all(|table| table.name().seq >= 20);
        assert!(here || tables.iter().all(|table| table.name().seq < 20));
        Ended { rows: rows_of(&tables, &self.dfs), here, verdict }
    }

    /// As `run`, with the tables that are reported after this change.
    fn reported(bottom: bool, change: impl Fn(&mut Vec<TableRef>, &mut Objects)) -> Ended {
        let mut tablet = Self::new(bottom);
        let mut tables = tablet.done_elsewhere();
        change(&mut tables, &mut tablet.dfs);
        tablet.run(|_| Ok((3, Report::Done(tables.clone()).encode())))
    }
}

#[derive(Debug)]
struct Ended {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    here: bool,
    verdict: Option<Verdict>,
}

fn rows_of(tables: &[Arc<Table>], dfs: &Objects) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    for table in tables {
        for extent in table.units_from(b"") {
            let bytes = &dfs[table.name()][extent.offset as usize..];
            let mut scratch = Vec::new();
            let unit = Unit::check(table.object_key(), extent.offset, bytes, &mut scratch);
            let unit = unit.unwrap();
            for at in 0..unit.len() {
                let entry = unit.entry(at).unwrap();
                let EntryValue::Inline(value) = entry.value else { panic!("short") };
                rows.push((entry.key.to_vec(), value.to_vec()));
            }
        }
    }
    rows
}

/// Carries out what a job asks for.
fn drive(
    dfs: &mut Objects,
    mut step: impl FnMut(&mut JobIo) -> Result<JobState>,
    mut errand: impl FnMut(&mut Objects, &[u8]) -> Result<(usize, Vec<u8>)>,
) -> Result<()> {
    let mut writing: Objects = Objects::new();
    let mut io = JobIo::default();
    while step(&mut io)? != JobState::Finished {
        for request in std::mem::take(&mut io.requests) {
            io.done.push(match request {
                JobRequest::Read { tag, object, offset, len, mut buf } => {
                    let object = dfs.get(&object).ok_or_else(missing);
                    let bytes = object.and_then(|bytes| {
                        bytes.get(offset as usize..offset as usize + len).ok_or_else(missing)
                    });
                    let result = bytes.map(|bytes| {
                        buf.bytes_mut()[..len].copy_from_slice(bytes);
                        buf
                    });
                    JobDone::Read { tag, result }
                }
                JobRequest::Append { object, mut bytes } => {
                    writing.entry(object).or_default().append(&mut bytes);
                    JobDone::Appended { bytes, result: Ok(()) }
                }
                JobRequest::Cache { .. } => unreachable!("there is no cache"),
                JobRequest::Seal { object } => {
                    dfs.insert(object, writing.remove(&object).unwrap());
                    JobDone::Sealed { object, result: Ok(()) }
                }
                JobRequest::Open { object, .. } => {
                    let result = dfs.get(&object).map(|_| ()).ok_or_else(missing);
                    JobDone::Opened { object, result }
                }
                JobRequest::Errand { errand: order, bytes } => {
                    assert!(bytes < dfs.values().map(Vec::len).sum::<usize>() as u64);
                    JobDone::Errand { result: errand(dfs, &order) }
                }
            });
        }
    }
    Ok(())
}

fn missing() -> Error {
    Error::new(ErrorKind::MissingObject, "it is not there")
}

#[track_caller]
fn accepted(ended: &Ended) {
    assert!(matches!(ended.verdict, Some(Verdict::Accepted(3, bytes)) if bytes > 0), "{ended:?}");
    assert!(!ended.here);
}

#[track_caller]
fn rejected(ended: &Ended, why: &str) {
    let Some(Verdict::Rejected(3, error)) = &ended.verdict else { panic!("{:?}", ended.verdict) };
    assert!(error.text.contains(why), "{error}");
    assert!(ended.here, "the store merges itself");
}

#[test]
fn a_merge_elsewhere_is_the_merge_here() {
    for bottom in [false, true] {
        let away = Tablet::reported(bottom, |tables, _| {
            assert!(bottom == (tables.len() > 1), "{} tables", tables.len());
        });
        accepted(&away);
        let here = Tablet::new(bottom).run(|_| Err(missing()));
        assert!(here.here && here.verdict.is_none());
        assert_eq!(here.rows, away.rows);
        assert_eq!(here.rows.len(), 800);
    }
}

#[test]
fn a_merge_that_leaves_nothing_is_one() {
    let mut dfs = Objects::new();
    let beyond = Arc::new(table(name(1), 950..960, (50, false), &mut dfs));
    let mut tablet = Tablet { dfs, inputs: vec![beyond.clone(), beyond], bottom: true };
    tablet.inputs[1] = Arc::new(table(name(2), 960..970, (50, false), &mut tablet.dfs));
    assert_eq!(tablet.done_elsewhere(), []);
    let ended = tablet.run(|_| Ok((3, Report::Done(Vec::new()).encode())));
    assert!(matches!(ended.verdict, Some(Verdict::Accepted(3, 0))), "{ended:?}");
}

#[test]
fn foreign_tables_are_refused() {
    let foreign = "names tables that it was not to write";
    // An input, a table of another store, more than was ordered, another order.
    rejected(&Tablet::reported(false, |tables, _| tables[0].name = name(1)), foreign);
    rejected(&Tablet::reported(false, |tables, _| tables[0].name.store += 1), foreign);
    rejected(&Tablet::reported(false, |tables, _| tables.push(tables[0])), foreign);
    rejected(&Tablet::reported(true, |tables, _| tables.swap(0, 1)), foreign);
    let copied = |tables: &mut Vec<TableRef>, dfs: &mut Objects| {
        dfs.insert(tables[0].name, dfs[&name(2)].clone());
    };
    rejected(&Tablet::reported(false, copied), "checksum differs");
}

#[test]
fn tables_that_are_not_there_or_not_whole_are_refused() {
    let gone = |tables: &mut Vec<TableRef>, dfs: &mut Objects| drop(dfs.remove(&tables[0].name));
    rejected(&Tablet::reported(false, gone), "not there");
    let short = |tables: &mut Vec<TableRef>, dfs: &mut Objects| {
        let object = dfs.get_mut(&tables[0].name).unwrap();
        object.truncate(object.len() - 4096);
    };
    rejected(&Tablet::reported(false, short), "not there");
    let sizes = |tables: &mut Vec<TableRef>, _: &mut Objects| {
        tables[0].file_bytes += 4096;
        tables[0].meta_offset += 4096;
    };
    rejected(&Tablet::reported(false, sizes), "not there");
    let flipped = |tables: &mut Vec<TableRef>, dfs: &mut Objects| {
        let at = tables[0].meta_offset as usize + 9;
        dfs.get_mut(&tables[0].name).unwrap()[at] ^= 1;
    };
    rejected(&Tablet::reported(false, flipped), "checksum differs");
}

/// The report names one table of the compactor's own making.
fn forged(bottom: bool, keys: std::ops::Range<u64>, len: usize, clears: bool) -> Ended {
    Tablet::reported(bottom, move |tables, dfs| {
        tables.truncate(1);
        tables[0] = *table(tables[0].name, keys.clone(), (len, clears), dfs).table_ref();
    })
}

#[test]
fn tables_that_no_merge_of_the_inputs_makes_are_refused() {
    rejected(&forged(true, 890..901, 50, false), "out of the tablet");
    rejected(&forged(true, 50..60, 50, false), "keys that no input has");
    rejected(&forged(true, 100..900, 200, false), "more rows than the inputs");
    rejected(&forged(false, 100..900, 50, false), "would come back");
    rejected(&forged(true, 100..900, 50, true), "would come back");
    rejected(&forged(true, 0..0, 50, false), "would come back");
    let overlap = |tables: &mut Vec<TableRef>, dfs: &mut Objects| {
        tables.truncate(2);
        for (at, keys) in [(0, 100..300), (1, 299..400)] {
            tables[at] = *table(tables[at].name, keys, (50, false), dfs).table_ref();
        }
    };
    rejected(&Tablet::reported(true, overlap), "overlap");
    let late = |tables: &mut Vec<TableRef>, dfs: &mut Objects| {
        tables[0] = *table(tables[0].name, 101..900, (50, true), dfs).table_ref();
    };
    rejected(&Tablet::reported(false, late), "newest run are gone");
    let large = |tables: &mut Vec<TableRef>, _: &mut Objects| {
        tables[0].meta_len = 64 << 20;
        tables[0].file_bytes = tables[0].meta_offset + (64 << 20) + 4096;
    };
    rejected(&Tablet::reported(false, large), "more to keep in memory");
}

#[test]
fn tables_that_lack_keys_of_the_newest_run_are_refused() {
    let check = |keys: &[u64], bottom: bool| {
        let mut dfs = Objects::new();
        let mut input = |seq, keys: &mut dyn Iterator<Item = u64>| {
            Arc::new(table(name(seq), keys, (50, false), &mut dfs))
        };
        let inputs = vec![input(1, &mut (10..20)), input(2, &mut (0..90))];
        let output = input(10, &mut keys.iter().copied());
        let (low, high) = (Box::default(), None);
        let order = MergeOrder { low, high, inputs, bottom, read_bytes: JOB_READ_BYTES_MIN };
        super::check(&[output], &order)
    };
    let all: Vec<u64> = (0..90).collect();
    check(&all, false).unwrap();
    // Older rows may have been cleared; the newest are the newest.
    check(&all[10..20], false).unwrap();
    for lacks in [&all[11..], &all[..19], &[10, 12, 19]] {
        let refused = check(lacks, false).unwrap_err();
        assert!(refused.text.contains("newest run are gone"), "{refused}");
        // Nothing below: they may have been deletions.
        check(lacks, true).unwrap();
    }
}

#[test]
fn a_newest_run_beside_the_tablet_has_no_key_to_lose() {
    for keys in [10..20, 90..95, 950..960] {
        let mut dfs = Objects::new();
        let newest = Arc::new(table(name(1), keys.clone(), (50, false), &mut dfs));
        let (low, high) = (key(100).into(), Some(key(900).into()));
        let inputs = vec![newest.clone(), newest];
        let order = MergeOrder { low, high, inputs, bottom: false, read_bytes: JOB_READ_BYTES_MIN };
        super::check(&[], &order).unwrap_or_else(|error| panic!("{keys:?}: {error}"));
    }
}

#[test]
fn a_report_of_something_else_is_refused() {
    for report in [Vec::new(), vec![0xff; 40], Report::Progress(7).encode(), vec![4, 0xff, 0xff]] {
        let ended = Tablet::new(false).run(|_| Ok((3, report.clone())));
        assert!(matches!(ended.verdict, Some(Verdict::Rejected(3, _))) && ended.here, "{ended:?}");
    }
}

#[test]
fn an_errand_that_nobody_waits_for_ends() {
    let mut tablet = Tablet::new(true);
    let watch = Arc::new(Watch::default());
    let mut job = ErrandJob::new(tablet.errand(), MEMORY_BYTES, watch.clone()).unwrap();
    let before = tablet.dfs.len();
    let mut steps = 0;
    let step = |io: &mut JobIo| {
        steps += 1;
        if steps == 3 {
            watch.give_up();
        }
        Ok(job.step(io))
    };
    drive(&mut tablet.dfs, step, |_, _| unreachable!("it merges")).unwrap();
    assert_eq!(job.into_tables().unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(tablet.dfs.len(), before, "it wrote on");
}

#[test]
fn an_errand_that_takes_too_much_memory_is_not_begun() {
    let tablet = Tablet::new(true);
    let error = ErrandJob::new(tablet.errand(), 1 << 20, Arc::default()).unwrap_err();
    assert!(error.kind == ErrorKind::NoMemory && error.text.contains("fewer merges"), "{error}");
}
