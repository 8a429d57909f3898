//! What arrives on a connection.

use crate::limits::HTTP_KEPT_BYTES_MAX;

/// Bytes that arrived: a buffer with a length, whose rest is room for more.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    filled: usize,
}

impl Input {
    /// What arrived.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// What arrived.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.filled]
    }

    /// Where more can arrive.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Room for that many bytes in all, those that arrived among them.
    pub(crate) fn make_room(&mut self, bytes: usize) {
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
    }

    /// Room for that many bytes in all and no more; fewer have arrived.
    pub(crate) fn fit_room(&mut self, bytes: usize) {
        self.buffer.resize(bytes, 0);
    }

    /// So many bytes arrived in the room.
    pub(crate) fn arrived(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// Bytes that did not arrive in the room.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.make_room(self.filled + bytes.len());
        self.room()[..bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Forgets so many of the first bytes.
    pub(crate) fn discard(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Forgets all bytes, and room that few answers need.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
        if self.buffer.len() > HTTP_KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
    }
}
