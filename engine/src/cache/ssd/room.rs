//! What the file system of the cache has free is looked at now and then. Others may fill it: then
//! the cache gives its space back, from the end of its file.

use crate::cache::ssd::Ssd;
use crate::io::values::IoRequest;
use crate::limits::{SSD_GIVEN_BACK_MAX, SSD_LOOK_NS, SSD_LOOK_SHORT_NS};
use crate::types::Result;

impl Ssd {
    /// Looks, if it is time to, and gives up what others are short of.
    pub(super) fn look(&mut self) {
        let short_bytes = self.file.spare_bytes.saturating_sub(self.file.free_bytes);
        // Who opened the file has looked.
        let wait = if short_bytes > 0 { 0 } else { SSD_LOOK_NS };
        let next_look = *self.next_look.get_or_insert(self.now + wait);
        if self.looking || self.now < next_look {
            return;
        }
        self.looking = true;
        let end = self.shorten(short_bytes);
        self.requests.push(IoRequest::Room { end });
    }

    // Forgets regions at the end of the file that make up for so many bytes: where it ends then.
    fn shorten(&mut self, short_bytes: u64) -> Option<u64> {
        let wanted = short_bytes.div_ceil(self.file.region_bytes as u64).min(SSD_GIVEN_BACK_MAX);
        let mut end = None;
        for _ in 0..wanted {
            let last = self.sequences.iter().rposition(|&sequence| sequence != 0)? as u32;
            if self.in_use().any(|number| number >= last) {
                break;
            }
            for page in 1..self.region_pages {
                self.evict(self.slot_of(last, page));
            }
            self.sequences[last as usize] = 0;
            end = Some(self.offset_of(last));
        }
        end
    }

    /// It was looked: what the file system has free, bytes.
    pub fn room(&mut self, result: Result<u64>) {
        self.looking = false;
        self.next_look = Some(self.now + SSD_LOOK_NS);
        match result {
            Ok(free_bytes) => {
                self.file.free_bytes = free_bytes;
                if free_bytes < self.file.spare_bytes {
                    self.next_look = Some(self.now + SSD_LOOK_SHORT_NS);
                }
            }
            Err(error) => {
                self.counters.failures += 1;
                self.failed(&error.text);
            }
        }
    }
}
