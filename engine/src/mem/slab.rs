//! Slots with generations: a token that outlived its slot finds nothing instead of a stranger.

use crate::mem::prefetch::prefetch_all;

/// Names an occupied slot: index in the low half, generation in the high half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    fn new(index: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(index))
    }

    /// The slot's index.
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A growing array of slots that are reused; the caller bounds how many it occupies.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Occupied slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True if no slot is occupied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Occupies a slot.
    pub fn insert(&mut self, value: T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            u32::try_from(self.slots.len() - 1).expect("slots are bounded by the caller")
        });
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        Token::new(index, slot.generation)
    }

    /// Asks the CPU for a slot, all of it.
    #[inline]
    pub fn prefetch(&self, token: Token) {
        if let Some(slot) = self.slots.get(token.index()) {
            prefetch_all(std::slice::from_ref(slot));
        }
    }

    /// The value of an occupied slot.
    pub fn get(&self, token: Token) -> Option<&T> {
        let slot = self.slots.get(token.index())?;
        if slot.generation == token.generation() { slot.value.as_ref() } else { None }
    }

    /// The value of an occupied slot.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let slot = self.slots.get_mut(token.index())?;
        if slot.generation == token.generation() { slot.value.as_mut() } else { None }
    }

    /// Frees a slot; its token is void from here on.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let slot = self.slots.get_mut(token.index())?;
        if slot.generation != token.generation() {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(token.index() as u32);
        Some(value)
    }

    /// Frees a slot where its value lies; nothing where the token is void.
    pub fn free(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(token.index()) else { return };
        if slot.generation == token.generation() && slot.value.take().is_some() {
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(token.index() as u32);
        }
    }

    /// The tokens of the occupied slots.
    pub fn tokens(&self) -> impl Iterator<Item = Token> {
        let occupied = (0..).zip(&self.slots).filter(|(_, slot)| slot.value.is_some());
        occupied.map(|(index, slot)| Token::new(index, slot.generation))
    }

    /// The occupied slots.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|s| s.value.as_ref())
    }

    /// The occupied slots, mutable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|s| s.value.as_mut())
    }
}
