//! Handles: numbers of a place, the generation of the place, and the kind of thing. A number is
//! never given twice, so that a handle that was closed is found out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::status::{Failure, Status};

/// What a handle is of. Numbers stand in the top byte of handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `aqf_engine`.
    Engine = 0x11,
    /// `aqf_session`.
    Session = 0x12,
    /// `aqf_store`.
    Store = 0x13,
    /// `aqf_results`.
    Results = 0x14,
}

impl Kind {
    const ALL: [(Self, &str); 4] = [
        (Self::Engine, "aqf_engine"),
        (Self::Session, "aqf_session"),
        (Self::Store, "aqf_store"),
        (Self::Results, "aqf_results"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// A handle: 8 bits of kind, 40 of generation, 16 of place.
    pub fn handle(self, place: usize, generation: u64) -> u64 {
        (self as u64) << 56 | (generation & GENERATION_MASK) << 16 | place as u64
    }

    /// The handle of something that has a number and no place.
    pub fn numbered(self, number: u64) -> u64 {
        (self as u64) << 56 | number
    }

    /// Place and generation of a handle of this kind.
    pub fn parse(self, handle: u64) -> Result<(usize, u64), Failure> {
        if handle >> 56 != self as u64 {
            return Err(self.bad(handle));
        }
        Ok(((handle & 0xffff) as usize, handle >> 16 & GENERATION_MASK))
    }

    /// The failure of a handle that names nothing.
    #[cold]
    pub fn bad(self, handle: u64) -> Failure {
        let other = Self::ALL.iter().find(|(kind, _)| *kind as u64 == handle >> 56);
        let what = match other {
            Some((kind, _)) if *kind == self => "it was closed",
            Some((_, name)) => &format!("it is an {name}"),
            None => "it was never given",
        };
        let text = format!("{handle:#x} is not an open {}: {what}", self.name());
        Failure::new(Status::BadHandle, text)
    }
}

const GENERATION_MASK: u64 = (1 << 40) - 1;

/// Things with handles, `N` at once. Any thread may use it; a lock is held for some nanoseconds.
pub struct Table<T, const N: usize> {
    kind: Kind,
    places: [Mutex<Place<T>>; N],
}

struct Place<T> {
    generation: u64,
    thing: Option<Arc<T>>,
}

/// The lock of a mutex whose content is whole at any time, also if a holder panicked.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T, const N: usize> Table<T, N> {
    /// An empty table.
    pub const fn new(kind: Kind) -> Self {
        assert!(N <= 1 << 16);
        Self { kind, places: [const { Mutex::new(Place { generation: 0, thing: None }) }; N] }
    }

    /// Gives `make` the handle it is for, and keeps what it makes.
    pub fn insert(&self, make: impl FnOnce(u64) -> Arc<T>) -> Result<u64, Failure> {
        for (index, place) in self.places.iter().enumerate() {
            let mut place = locked(place);
            if place.thing.is_none() {
                place.generation += 1;
                let handle = self.kind.handle(index, place.generation);
                place.thing = Some(make(handle));
                return Ok(handle);
            }
        }
        let text = format!("{N} of {} are open, which is the limit; close some", self.kind.name());
        Err(Failure::new(Status::TooLarge, text))
    }

    /// The thing of a handle.
    pub fn get(&self, handle: u64) -> Result<Arc<T>, Failure> {
        let (index, generation) = self.kind.parse(handle)?;
        let place = self.places.get(index).ok_or_else(|| self.kind.bad(handle))?;
        let place = locked(place);
        let thing = place.thing.as_ref().filter(|_| place.generation == generation);
        thing.cloned().ok_or_else(|| self.kind.bad(handle))
    }

    /// Takes the thing of a handle out; the handle is void from here on.
    pub fn remove(&self, handle: u64) -> Result<Arc<T>, Failure> {
        let (index, generation) = self.kind.parse(handle)?;
        let place = self.places.get(index).ok_or_else(|| self.kind.bad(handle))?;
        let mut place = locked(place);
        let current = place.generation == generation;
        place.thing.take_if(|_| current).ok_or_else(|| self.kind.bad(handle))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Kind, Table};
    use crate::status::Status;

    #[test]
    fn a_handle_is_void_once_its_thing_is_gone() {
        let table: Table<u32, 2> = Table::new(Kind::Store);
        let first = table.insert(|_| Arc::new(1)).unwrap();
        let second = table.insert(|_| Arc::new(2)).unwrap();
        assert_eq!(table.insert(|_| Arc::new(3)).unwrap_err().status, Status::TooLarge);
        assert_eq!(*table.get(second).unwrap(), 2);
        assert_eq!(*table.remove(first).unwrap(), 1);
        let third = table.insert(|_| Arc::new(4)).unwrap();
        assert_ne!(first, third);
        for void in [0, first, !0, third ^ 1 << 56, third | 0xffff] {
            assert_eq!(table.get(void).unwrap_err().status, Status::BadHandle, "{void:#x}");
        }
        assert!(table.get(first).unwrap_err().text.contains("it was closed"));
        let session = Kind::Session.handle(0, 1);
        assert!(table.get(session).unwrap_err().text.contains("it is an aqf_session"));
    }
}
