use super::*;
use crate::cache::ssd::tests::{REGION_PAGES, REGIONS, Rig, bytes, extent};
use crate::io::values::JobRequest;
use crate::limits::{SSD_PAUSE_NS, SSD_REGION_BYTES, SST_CHUNK_BYTES};
use crate::sst::layout::Extent;

/// A job that writes extents, and the regions it was lent.
struct Job {
    through: Through,
    lent: Vec<u32>,
}

impl Rig {
    fn lend(&mut self, bytes: u64) -> Option<Job> {
        let through = self.ssd.lend(bytes)?;
        let lent = through.regions().collect();
        Some(Job { through, lent })
    }

    fn write(&mut self, job: &mut Job, request: Option<JobRequest>) {
        let Some(JobRequest::Cache { region, offset, buf }) = request else { return };
        assert!(job.lent.contains(&region));
        self.disk[offset as usize..][..buf.bytes().len()].copy_from_slice(buf.bytes());
        let result = self.result(self.free_bytes);
        job.through.written(region, buf, result);
    }

    /// Writes extents of an object as a job does, in chunks.
    fn append(&mut self, job: &mut Job, numbers: std::ops::Range<u64>) {
        let end = |number| extent(number).offset + u64::from(extent(number).len);
        let mut object = vec![0; end(numbers.end) as usize];
        let mut placed: Vec<Extent> = Vec::new();
        for number in numbers {
            placed.push(extent(number));
            object[extent(number).offset as usize..end(number) as usize]
                .copy_from_slice(&bytes(number));
        }
        for (at, chunk) in object.chunks(SST_CHUNK_BYTES).enumerate() {
            let start = (at * SST_CHUNK_BYTES) as u64;
            for request in job.through.push(1, start, chunk, &mut placed) {
                self.write(job, Some(request));
            }
        }
        assert!(placed.is_empty());
    }

    fn end(&mut self, mut job: Job) {
        let request = job.through.end();
        self.write(&mut job, request);
        self.ssd.give_back(&job.lent, Some(job.through));
    }

    fn here(&mut self, numbers: std::ops::Range<u64>) -> usize {
        numbers.filter(|&number| self.ssd.find(1, extent(number)).is_some()).count()
    }
}

#[test]
fn what_a_job_writes_is_there_at_its_first_read_and_survives_a_restart() {
    let mut rig = Rig::new();
    rig.work();
    let mut job = rig.lend(2 << 20).unwrap();
    assert_eq!(job.lent.len(), 4, "two regions hold less than 2 MiB; one more for the last");
    rig.append(&mut job, 0..200);
    assert_eq!(rig.here(0..200), 0, "before the job has ended");
    rig.end(job);
    assert_eq!(rig.hits(0..200), 200);
    assert_eq!(rig.ssd.counters().written, 200);
    assert!(rig.ssd.lent.is_empty());
    rig.restart();
    assert_eq!(rig.hits(0..200), 200);
}

#[test]
fn what_finds_no_room_is_left_out() {
    let mut rig = Rig::new();
    rig.work();
    let mut job = rig.lend(1 << 20).unwrap();
    rig.append(&mut job, 0..2000);
    let lent = job.lent.len();
    rig.end(job);
    let here = rig.here(0..2000);
    assert!((lent * 100..2000).contains(&here), "{here}");
}

#[test]
fn a_job_that_writes_much_of_the_cache_gets_nothing() {
    let mut rig = Rig::new();
    rig.work();
    let all = REGIONS * SSD_REGION_BYTES as u64;
    assert!(rig.lend(all / 4).is_none());
    assert!(rig.ssd.lent.is_empty());
    let (first, second) = (rig.lend(1 << 20).unwrap(), rig.lend(100));
    assert!(second.is_none(), "the first one has all there is");
    rig.end(first);
    let (first, second) = (rig.lend(0).unwrap(), rig.lend(0).unwrap());
    assert!(rig.lend(0).is_none(), "there is memory for two");
    rig.end(first);
    rig.end(second);
    assert!(rig.lend(0).is_some());
}

#[test]
fn lent_regions_are_left_alone_until_they_come_back() {
    let mut rig = Rig::new();
    rig.work();
    let mut job = rig.lend(2 << 20).unwrap();
    rig.append(&mut job, 0..300);
    // The cache goes round more than once.
    let many = REGIONS * u64::from(REGION_PAGES);
    rig.hits(1000..1000 + many);
    rig.hits(1000..1000 + many);
    rig.end(job);
    let here = rig.here(0..300);
    assert!(here > 290, "{here}");
    assert_eq!(rig.hits(0..300), here);
    assert_eq!(rig.ssd.counters().damaged, 0);
}

#[test]
fn what_is_asked_for_much_is_not_lent() {
    let mut rig = Rig::new();
    rig.work();
    let all = REGIONS * u64::from(REGION_PAGES) / 2;
    rig.hits(0..all);
    let hot = rig.hits(0..all);
    assert!(hot as u64 > all * 3 / 4);
    // All of it was asked for: nothing is lent until it has cooled down.
    assert!(rig.lend(1 << 20).is_none());
    assert_eq!(rig.here(0..all), hot);
    for _ in 0..REGIONS {
        if let Some(job) = rig.lend(1 << 20) {
            return rig.end(job);
        }
    }
    panic!("nothing cools down");
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let mut rig = Rig::new();
    rig.work();
    let mut job = rig.lend(1 << 20).unwrap();
    rig.refuses = true;
    rig.append(&mut job, 0..100);
    rig.end(job);
    assert_eq!(rig.here(0..100), 0);
    assert_eq!(rig.ssd.counters().failures, 1);
    assert!(rig.lend(1 << 20).is_none(), "the disk is left alone for a while");
    (rig.refuses, rig.now) = (false, SSD_PAUSE_NS);
    rig.work();
    let lost = rig.lend(1 << 20).unwrap();
    rig.ssd.give_back(&lost.lent, None);
    assert!(rig.ssd.lent.is_empty());
    assert_eq!(rig.here(0..100), 0);
}
