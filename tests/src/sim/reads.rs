//! What reads bring, of the DFS and of the cache on the SSD.

use aquifer::limits::PAGE_BYTES;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName, Result};

use crate::sim::driver::{Sabotage, Sim};
use crate::sim::faults::Fault;

impl Sim {
    // Of the disk of the cache.
    pub(super) fn free_bytes(&mut self) -> u64 {
        if self.meets(Fault::SsdFull) { 0 } else { u64::MAX }
    }

    pub(super) fn read_ssd(&mut self, offset: u64, out: &mut [u8]) -> Result<()> {
        let from = self.ssd.get(offset as usize..).and_then(|rest| rest.get(..out.len()));
        let from = from.ok_or_else(|| self.injected("the file of the cache ends early"))?;
        out.copy_from_slice(from);
        if self.meets(Fault::SsdFlip) {
            let at = self.rng.below(out.len());
            out[at] ^= 1 << self.rng.below(8);
        }
        Ok(())
    }

    pub(super) fn write_ssd(&mut self, offset: u64, bytes: &[u8]) -> Result<u64> {
        self.trace.bytes(bytes);
        let end = offset as usize + bytes.len();
        self.ssd.resize(self.ssd.len().max(end), 0);
        if !self.meets(Fault::SsdLost) {
            self.ssd[offset as usize..end].copy_from_slice(bytes);
        }
        Ok(u64::MAX)
    }

    pub(super) fn load(
        &mut self,
        name: &ObjectName,
        bytes_max: u64,
        expected: bool,
    ) -> Result<Vec<u8>> {
        if !expected && self.meets(Fault::LookStale) {
            self.dfs.shown(name)?;
        }
        let mut bytes = self.dfs.needed(name, "a load")?;
        if let Some(older) = self.dfs.older(name)
            && self.meets(Fault::LoadAstray)
        {
            bytes = older;
        }
        if bytes.len() as u64 > bytes_max {
            return Err(Error::new(ErrorKind::TooLarge, "an object is larger than asked for"));
        }
        let mut bytes = bytes.to_vec();
        self.flip(&mut bytes);
        Ok(bytes)
    }

    pub(super) fn read_for_shard(
        &mut self,
        bytes: &[u8],
        offset: u64,
        out: &mut [u8],
    ) -> Result<()> {
        match self.sabotage {
            Sabotage::OlderObject => {
                let Some(older) = self.dfs.names().next().copied() else { return Ok(()) };
                let older = self.dfs.object(&older)?;
                out.fill(0);
                let from = &older[(offset as usize).min(older.len())..];
                let len = from.len().min(out.len());
                out[..len].copy_from_slice(&from[..len]);
                Ok(())
            }
            Sabotage::NeighbourPage => {
                let mut shifted = bytes.to_vec();
                shifted.rotate_left(PAGE_BYTES);
                self.read(&shifted, offset, out, 1)
            }
            _ => self.read(bytes, offset, out, 1),
        }
    }

    /// Fills `out` from `offset`, or fails as the seed has it, one time in `rarer` of those.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        offset: u64,
        out: &mut [u8],
        rarer: u32,
    ) -> Result<()> {
        assert!(offset.is_multiple_of(PAGE_BYTES as u64), "reads start at a page");
        let fails = self.rng.chance(10_000 / rarer);
        if fails && self.meets(Fault::ReadError) {
            return Err(self.injected("read"));
        }
        let from = offset as usize;
        if bytes.len().saturating_sub(from) < out.len() {
            if self.dfs.damaged.is_empty() {
                self.dfs.violation("a read past the end of an object".to_owned());
            }
            return Err(Error::corrupt("an object ends early"));
        }
        if fails && self.meets(Fault::ReadShort) {
            return self.read_a_part(&bytes[from..from + out.len()], out);
        }
        if fails && self.meets(Fault::ReadAstray) {
            self.read_astray(bytes, from, out);
            return Ok(());
        }
        out.copy_from_slice(&bytes[from..from + out.len()]);
        if fails {
            self.flip(out);
        }
        Ok(())
    }

    // See `Fault::ReadShort`.
    fn read_a_part(&mut self, bytes: &[u8], out: &mut [u8]) -> Result<()> {
        let mut part = self.rng.below(bytes.len());
        if self.rng.chance(5000) {
            part -= part % PAGE_BYTES;
        }
        out[..part].copy_from_slice(&bytes[..part]);
        // Behind whole pages the older read was one of the page before them: jobs get most buffers
        // fresh, where zeros would tell.
        if part >= PAGE_BYTES && part.is_multiple_of(PAGE_BYTES) {
            for at in (part..bytes.len()).step_by(PAGE_BYTES) {
                out.copy_within(part - PAGE_BYTES..part, at);
            }
        }
        if self.rng.chance(5000) { Err(self.injected("a short read")) } else { Ok(()) }
    }

    // See `Fault::ReadAstray`. What the other object does not have is zeros, as padding is.
    fn read_astray(&mut self, bytes: &[u8], from: usize, out: &mut [u8]) {
        out.fill(0);
        let behind = bytes.get(from + PAGE_BYTES..).filter(|rest| rest.len() >= out.len());
        let objects = self.dfs.objects.len();
        let other = self.dfs.objects.values().nth(self.rng.below(objects));
        let other = other.and_then(|other| other.get(from..));
        let astray = if self.rng.chance(5000) { behind.or(other) } else { other.or(behind) };
        let astray = astray.unwrap_or_default();
        let len = astray.len().min(out.len());
        out[..len].copy_from_slice(&astray[..len]);
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() && self.meets(Fault::ReadFlip) {
            let at = self.rng.below(bytes.len());
            bytes[at] ^= 1 << self.rng.below(8);
        }
    }
}
