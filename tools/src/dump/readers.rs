//! Threads that read pieces of objects, so that the latency of a DFS is waited for once and not
//! piece by piece.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use aquifer::io::retry::patiently;
use aquifer::io::values::{JobDone, JobIo, JobRequest};
use aquifer::mem::pool::Buf;
use aquifer::types::{Error, ObjectName, Result};

use crate::objects::Object;

/// Reads at once: each run of a tablet has a piece in use and one ahead.
const THREADS: usize = 8;

struct Ask {
    tag: u32,
    object: Arc<Object>,
    offset: u64,
    len: usize,
    buf: Buf,
}

/// See the module.
pub(super) struct Readers {
    asks: Option<Sender<Ask>>,
    answers: Receiver<JobDone>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts the threads.
    pub(super) fn start() -> Self {
        let (asks, asked) = channel::<Ask>();
        let (answer, answers) = channel();
        let asked = Arc::new(Mutex::new(asked));
        let threads = (0..THREADS).map(|_| {
            let (asked, answer) = (Arc::clone(&asked), answer.clone());
            thread::spawn(move || {
                let next = || asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(ask) = next() {
                    let done = JobDone::Read { tag: ask.tag, result: read(ask) };
                    if answer.send(done).is_err() {
                        break;
                    }
                }
            })
        });
        Self { asks: Some(asks), answers, threads: threads.collect() }
    }

    /// Has what was asked for read, and gives the answers that are there; with `wait` at least one.
    pub(super) fn turn<'a>(
        &self,
        io: &mut JobIo,
        wait: bool,
        find: impl Fn(&ObjectName) -> Option<&'a Arc<Object>>,
    ) -> Result<()> {
        for request in io.requests.drain(..) {
            let JobRequest::Read { tag, object, offset, len, buf } = request else { continue };
            let object = find(&object).map(Arc::clone);
            let object = object.ok_or_else(|| Error::invalid("a read of no open object"))?;
            let asks = self.asks.as_ref();
            let sent =
                asks.is_some_and(|asks| asks.send(Ask { tag, object, offset, len, buf }).is_ok());
            if !sent {
                return Err(Error::invalid("the threads that read have ended"));
            }
        }
        if wait && let Ok(done) = self.answers.recv() {
            io.done.push(done);
        }
        io.done.extend(self.answers.try_iter());
        Ok(())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.asks = None;
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ended = thread.join();
        }
    }
}

fn read(ask: Ask) -> Result<Buf> {
    let Ask { object, offset, len, mut buf, .. } = ask;
    let bytes = patiently(|| object.read(offset, len))?;
    buf.bytes_mut()[..len].copy_from_slice(&bytes);
    Ok(buf)
}
