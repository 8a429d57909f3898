//! A bare ring: direct reads of the blocks of one file, and nothing that could cost CPU time beside
//! them. One thread, registered file and buffers.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result};
use io_uring::{IoUring, opcode, types};
use memmap2::MmapMut;

/// A wait takes in this share of the reads in flight, so that one system call serves several of
/// them.
const WAIT_SHARE: usize = 16;
const WAIT_READS_MAX: usize = 32;
const FILE_SLOT: types::Fixed = types::Fixed(0);
const BUFFER_SLOT: u16 = 0;

/// See the module.
pub struct BareRing {
    block_bytes: usize,
    in_flight_max: usize,
    free_buffers: Vec<u32>,
    /// The ring is dropped before the buffers that it reads into.
    ring: IoUring,
    buffers: MmapMut,
}

impl BareRing {
    /// A ring for so many reads in flight of whole blocks of a file.
    pub fn open(file: &File, in_flight: u32, block_bytes: usize) -> Result<Self> {
        let mut buffers = MmapMut::map_anon(in_flight as usize * block_bytes)?;
        let ring = open_ring(in_flight, file, &mut buffers)?;
        let free_buffers = (0..in_flight).rev().collect();
        Ok(Self { block_bytes, in_flight_max: in_flight as usize, free_buffers, ring, buffers })
    }

    /// Reads that were taken over and not reaped.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight_max - self.free_buffers.len()
    }

    /// Of these, how many to wait for.
    #[must_use]
    pub fn share(&self) -> usize {
        (self.in_flight() / WAIT_SHARE).clamp(1, WAIT_READS_MAX)
    }

    /// Takes a read of the block at `offset` over, for the next `enter`. Returns the number of its
    /// buffer, which names it when it is reaped.
    pub fn read(&mut self, offset: u64) -> Result<u32> {
        let buffer = self.free_buffers.pop().context("more reads than may be in flight")?;
        let to = self.buffers[buffer as usize * self.block_bytes..].as_mut_ptr();
        let entry = opcode::ReadFixed::new(FILE_SLOT, to, self.block_bytes as u32, BUFFER_SLOT)
            .offset(offset)
            .build()
            .user_data(u64::from(buffer));
        // SAFETY: the entry reads into a buffer of `self.buffers`, which outlives the ring, and
        // which nobody else touches until its completion has put it back on the free list.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.context("the submission queue has an entry for every read in flight")?;
        Ok(buffer)
    }

    /// Enters the kernel once: submits, and waits for `want` completions.
    pub fn enter(&mut self, want: usize, wait: Option<Duration>) -> Result<()> {
        let submitter = self.ring.submitter();
        let entered = match wait {
            Some(wait) if want > 0 => {
                let span = types::Timespec::from(wait);
                submitter.submit_with_args(want, &types::SubmitArgs::new().timespec(&span))
            }
            _ => submitter.submit_and_wait(want),
        };
        match entered {
            Ok(_) => Ok(()),
            // A signal, or the end of the wait: the caller looks at what has completed.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME)) => Ok(()),
            Err(error) => Err(error).context("io_uring_enter failed"),
        }
    }

    /// Hands out what completed: the number of each read and its block, or what went wrong.
    pub fn reap(&mut self, mut done: impl FnMut(u32, Result<&[u8], String>)) -> usize {
        let mut count = 0;
        for completion in self.ring.completion() {
            let buffer = completion.user_data() as u32;
            if completion.result() == self.block_bytes as i32 {
                let start = buffer as usize * self.block_bytes;
                done(buffer, Ok(&self.buffers[start..start + self.block_bytes]));
            } else {
                done(buffer, Err(describe(completion.result())));
            }
            self.free_buffers.push(buffer);
            count += 1;
        }
        count
    }
}

fn open_ring(in_flight: u32, file: &File, buffers: &mut MmapMut) -> Result<IoUring> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_cqsize(in_flight.next_power_of_two() * 2)
        .build(in_flight.next_power_of_two())
        .context(
            "io_uring is not available: it needs Linux 6.1 and kernel.io_uring_disabled = 0",
        )?;
    let whole = libc::iovec { iov_base: buffers.as_mut_ptr().cast(), iov_len: buffers.len() };
    // SAFETY: the mapping is owned by the ring's owner, which drops the ring first.
    unsafe { ring.submitter().register_buffers(&[whole]) }
        .context("buffers cannot be registered: raise the limit of locked memory (ulimit -l)")?;
    ring.submitter().register_files(&[file.as_raw_fd()])?;
    Ok(ring)
}

fn describe(result: i32) -> String {
    if result < 0 {
        format!("a read failed: {}", std::io::Error::from_raw_os_error(-result))
    } else {
        format!("a read ended after {result} bytes: the file is shorter")
    }
}
