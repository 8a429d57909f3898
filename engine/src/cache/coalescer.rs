//! The coalescer: one read per extent however many requests wait for it, across requests and
//! ticks; adjacent extents of one object become one read, and in an object of a store those too
//! between which there is less than a request is worth (`speed.rs`). No timer: what gathered since
//! the last tick goes out with this one, and what the device has no room for waits here, where it
//! merges.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::cache::speed::Speed;
use crate::cache::ssd::Ssd;
use crate::codec::hash::PlaceHasher;
use crate::codec::unverified::Unverified;
use crate::io::values::{IoRequest, ObjectSlot};
use crate::limits::{
    GAPS_IN_FLIGHT_BYTES_MAX, MERGED_READ_BYTES_MAX, READS_IN_FLIGHT_MAX, STORE_READ_BYTES_MAX,
};
use crate::mem::pool::{Buf, Pool};
use crate::mem::slab::{Slab, Token};
use crate::sst::layout::Extent;
use crate::types::{Error, Nanos, Result};

/// Counters that prove what is said above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CoalescerCounters {
    /// Extents that requests needed.
    pub needs: u64,
    /// Of these, met by a read already wanted or in flight.
    pub joins: u64,
    /// Reads issued.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Extents that shared a read with a neighbour.
    pub merged: u64,
    /// Bytes of reads that lay between neighbours and that nobody needed.
    pub gap_bytes: u64,
}

#[derive(Debug)]
struct Flight {
    object: ObjectSlot,
    object_key: u64,
    extent: Extent,
    // Where in which file it is read: in the object, or in the cache on the SSD.
    from: (ObjectSlot, u64),
    // A store brought wrong bytes.
    again: bool,
    waiters: SmallVec<[Token; 2]>,
}

#[derive(Debug)]
struct Read {
    offset: u64,
    bytes: u64,
    // Of these, what nobody needs.
    gap_bytes: u64,
    issued: Nanos,
    of_ssd: bool,
    flights: SmallVec<[Token; 2]>,
}

/// A flight that no read was issued for; all that the order of reads is found by.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    object: ObjectSlot,
    offset: u64,
    end: u64,
    flight: Token,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Coalescer {
    places: HashMap<(ObjectSlot, u64, u32), Token, PlaceHasher>,
    flights: Slab<Flight>,
    wanted: Vec<Wanted>,
    reads: Slab<Read>,
    // In flight, and needed by nobody.
    gap_bytes: u64,
    // Of the store that the objects are in, if it is one.
    speed: Speed,
    counters: CoalescerCounters,
}

/// Whole pages of an object.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// Open in the driver.
    pub object: ObjectSlot,
    /// Names it for checksums.
    pub object_key: u64,
    /// Which.
    pub extent: Extent,
}

/// A finished read, to be taken apart by `landed`.
#[derive(Debug)]
pub struct Landed {
    offset: u64,
    of_ssd: bool,
    of_store: bool,
    flights: SmallVec<[Token; 2]>,
}

/// One extent of a finished read.
#[derive(Debug)]
pub struct LandedExtent<'b> {
    /// Object and offset it was asked for.
    pub place: (ObjectSlot, u64),
    /// Who asked.
    pub waiters: SmallVec<[Token; 2]>,
    /// Its whole pages, or why they could not be read.
    pub pages: Result<Unverified<'b>>,
    /// They came from the cache on the SSD.
    pub of_ssd: bool,
    /// If they are wrong, others may come: of the store that the cache stands before, or, the first
    /// time, of the store that brought these.
    pub may_differ: bool,
}

impl Coalescer {
    /// The counters.
    #[must_use]
    pub fn counters(&self) -> CoalescerCounters {
        self.counters
    }

    /// Extents wanted or in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// True if nothing is wanted or in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// True if a read of the object is wanted or in flight, whether or not anybody still waits.
    #[must_use]
    pub fn reads(&self, object: ObjectSlot) -> bool {
        self.flights.iter().any(|flight| flight.object == object)
    }

    /// `waiter` needs whole pages of an object, which `ssd` may have.
    pub fn need(&mut self, pages: Pages, waiter: Token, ssd: Option<&mut Ssd>) {
        let Pages { object, object_key, extent } = pages;
        self.counters.needs += 1;
        let place = (object, extent.offset, extent.len);
        if let Some(&flight) = self.places.get(&place) {
            self.counters.joins += 1;
            let flight = self.flights.get_mut(flight).expect("a place names a live flight");
            flight.waiters.push(waiter);
            return;
        }
        let from = ssd.and_then(|ssd| ssd.find(object_key, extent));
        let from = from.unwrap_or((object, extent.offset));
        let waiters = SmallVec::from_slice(&[waiter]);
        let flight = Flight { object, object_key, extent, from, again: false, waiters };
        let flight = self.flights.insert(flight);
        self.places.insert(place, flight);
        self.want(flight, from, extent);
    }

    /// As `need`, of the object itself, whose store brought wrong bytes. False if another waiter
    /// wanted it again already.
    pub fn need_again(&mut self, pages: Pages, waiter: Token) -> bool {
        self.need(pages, waiter, None);
        let place = (pages.object, pages.extent.offset, pages.extent.len);
        let flight = self.places.get(&place).and_then(|&flight| self.flights.get_mut(flight));
        let flight = flight.expect("it was just wanted");
        !std::mem::replace(&mut flight.again, true)
    }

    fn want(&mut self, flight: Token, (object, offset): (ObjectSlot, u64), extent: Extent) {
        let end = offset + u64::from(extent.len);
        self.wanted.push(Wanted { object, offset, end, flight });
    }

    /// Turns what is wanted into reads, as many as the device takes.
    ///
    /// # Errors
    /// No memory for a buffer; what is wanted stays wanted.
    pub fn issue(&mut self, now: Nanos, pool: &mut Pool, io: &mut Vec<IoRequest>) -> Result<()> {
        // One comparison of a number each: fields one after the other cost a call.
        self.wanted.sort_unstable_by_key(|w| u128::from(w.object.0) << 64 | u128::from(w.offset));
        let mut taken = 0;
        while taken < self.wanted.len() && self.reads.len() < READS_IN_FLIGHT_MAX {
            let count = self.neighbours(taken);
            let result = self.read(taken..taken + count, now, pool, io);
            if let Err(error) = result {
                self.wanted.drain(..taken);
                return Err(error);
            }
            taken += count;
        }
        self.wanted.drain(..taken);
        Ok(())
    }

    // How many of the wanted flights from `first` on make one read.
    fn neighbours(&self, first: usize) -> usize {
        let start = self.wanted[first];
        let (gap, most) = self.reach(start);
        let mut end = start.end;
        let mut count = 1;
        for next in &self.wanted[first + 1..] {
            if next.object != start.object
                || next.offset > end + gap
                || next.end - start.offset > most
            {
                break;
            }
            end = end.max(next.end);
            count += 1;
        }
        count
    }

    // How far the next neighbour may be, and how large a read may become.
    fn reach(&self, start: Wanted) -> (u64, u64) {
        let of_ssd = self.flights.get(start.flight).is_some_and(|f| f.object != start.object);
        match self.speed.gap_bytes() {
            gap if gap == 0 || of_ssd => (0, MERGED_READ_BYTES_MAX as u64),
            _ if self.gap_bytes >= GAPS_IN_FLIGHT_BYTES_MAX => (0, STORE_READ_BYTES_MAX as u64),
            gap => (gap, STORE_READ_BYTES_MAX as u64),
        }
    }

    fn read(
        &mut self,
        range: std::ops::Range<usize>,
        now: Nanos,
        pool: &mut Pool,
        io: &mut Vec<IoRequest>,
    ) -> Result<()> {
        let wanted = &self.wanted[range];
        let Wanted { object, offset, end, .. } = wanted[0];
        let (mut end, mut gap_bytes) = (end, 0);
        for next in &wanted[1..] {
            gap_bytes += next.offset.saturating_sub(end);
            end = end.max(next.end);
        }
        let flights: SmallVec<[Token; 2]> = wanted.iter().map(|w| w.flight).collect();
        let bytes = end - offset;
        let buf = pool.take(bytes as usize).map_err(|cause| {
            Error::io(format!("mapping a read buffer of {bytes} bytes"), &cause)
        })?;
        self.counters.reads += 1;
        self.counters.read_bytes += bytes;
        self.counters.gap_bytes += gap_bytes;
        self.gap_bytes += gap_bytes;
        self.counters.merged += flights.len() as u64 - 1;
        let of_ssd = self.flights.get(flights[0]).is_some_and(|flight| flight.object != object);
        let again = flights.iter().any(|&f| self.flights.get(f).is_some_and(|f| f.again));
        let read = Read { offset, bytes, gap_bytes, issued: now, of_ssd, flights };
        let token = self.reads.insert(read);
        io.push(IoRequest::Read { token, object, offset, buf, again });
        Ok(())
    }

    /// Who waits for a read in flight.
    pub fn waiters(&self, token: Token) -> impl Iterator<Item = Token> {
        let flights = self.reads.get(token).map(|read| &read.flights[..]).unwrap_or_default();
        let flights = flights.iter().filter_map(|&flight| self.flights.get(flight));
        flights.flat_map(|flight| flight.waiters.iter().copied())
    }

    /// A read ended; `of_store` if a store brought its bytes. Take its flights one by one with
    /// `next_landed`.
    pub fn finish(&mut self, token: Token, of_store: bool, now: Nanos) -> Landed {
        let read = self.reads.remove(token).expect("each read ends once");
        self.gap_bytes -= read.gap_bytes;
        if of_store {
            self.speed.learn(read.bytes, now.saturating_sub(read.issued));
        }
        Landed { offset: read.offset, of_ssd: read.of_ssd, of_store, flights: read.flights }
    }

    /// The next extent of a finished read whose bytes are in `buf`. What `ssd` did not give back
    /// as it got it is wanted again, of the object itself; what the object gave, `ssd` is offered.
    pub fn next_landed<'b>(
        &mut self,
        landed: &mut Landed,
        buf: &'b Buf,
        result: &Result<()>,
        mut ssd: Option<&mut Ssd>,
    ) -> Option<LandedExtent<'b>> {
        loop {
            let token = landed.flights.pop()?;
            let flight = self.flights.get_mut(token).expect("landed flights live");
            let Flight { object, object_key, extent, from, .. } = *flight;
            let at = (from.1 - landed.offset) as usize;
            let pages = buf.unverified().part(at..at + extent.len as usize);
            if landed.of_ssd {
                let read = result.as_ref().map(|()| pages);
                let holds = ssd.as_mut().is_some_and(|s| s.check(object_key, extent, from.1, read));
                if !holds {
                    flight.from = (object, extent.offset);
                    self.want(token, (object, extent.offset), extent);
                    continue;
                }
            } else if let (Some(ssd), Ok(())) = (&mut ssd, result) {
                ssd.offer(object_key, extent, pages);
            }
            let Flight { waiters, again, .. } =
                self.flights.remove(token).expect("landed flights live");
            self.places.remove(&(object, extent.offset, extent.len));
            let pages = result.clone().map(|()| pages);
            let (place, of_ssd) = ((object, extent.offset), landed.of_ssd);
            let may_differ = pages.is_ok() && (of_ssd || landed.of_store && !again);
            return Some(LandedExtent { place, waiters, pages, of_ssd, may_differ });
        }
    }
}
