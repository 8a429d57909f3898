//! Records that wait for an earlier record of their key, in arrival order per lane.

const NONE: u32 = u32::MAX;

/// One line of records per lane, all in one array.
#[derive(Debug)]
pub(super) struct Parked<R> {
    places: Vec<Place<R>>,
    free: u32,
    lines: Vec<Line>,
    len: usize,
}

#[derive(Debug)]
struct Place<R> {
    record: Option<R>,
    // The next in the line, or the next free place.
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    first: u32,
    last: u32,
}

impl<R> Default for Parked<R> {
    fn default() -> Self {
        Self { places: Vec::new(), free: NONE, lines: Vec::new(), len: 0 }
    }
}

impl<R> Parked<R> {
    /// Records that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds a record at the end of the lane's line.
    pub fn push(&mut self, lane: u32, record: R) {
        let place = self.free;
        let place = if let Some(free) = self.places.get_mut(place as usize) {
            self.free = free.next;
            *free = Place { record: Some(record), next: NONE };
            place
        } else {
            self.places.push(Place { record: Some(record), next: NONE });
            (self.places.len() - 1) as u32
        };
        let lane = lane as usize;
        if lane >= self.lines.len() {
            self.lines.resize(lane + 1, Line { first: NONE, last: NONE });
        }
        let line = &mut self.lines[lane];
        match self.places.get_mut(line.last as usize) {
            Some(last) => last.next = place,
            None => line.first = place,
        }
        line.last = place;
        self.len += 1;
    }

    /// Takes the first record of the lane's line.
    #[inline]
    pub fn pop(&mut self, lane: u32) -> Option<R> {
        let line = self.lines.get_mut(lane as usize)?;
        let place = self.places.get_mut(line.first as usize)?;
        let record = place.record.take();
        let next = std::mem::replace(&mut place.next, self.free);
        self.free = std::mem::replace(&mut line.first, next);
        if next == NONE {
            line.last = NONE;
        }
        self.len -= 1;
        record
    }
}
