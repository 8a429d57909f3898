//! One job on the executor: its steps and its I/O.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::io::bulk::{self, ObjectReader, ObjectWriter};
use crate::io::dfs::Dfs;
use crate::io::doorbell::Doorbell;
use crate::io::retry::{self, Failures, Missing};
use crate::io::ssd_file::SsdWriter;
use crate::io::task::{self, Listener};
use crate::io::values::{JobDone, JobIo, JobRequest, JobState};
use crate::io::{OpenObject, clock};
use crate::limits::{JOB_APPENDS_MAX, JOB_SLICE_NS, RETRY_LOOK_NS};
use crate::mem::pool::Buf;
use crate::shard::compactors::Compactors;
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, ObjectName, Result};

/// How a job takes its next step.
pub type Step<J> = fn(&mut J, &mut JobIo) -> JobState;

/// What the orders of a shard reach.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Its objects.
    pub dfs: Dfs,
    /// Who does its merges elsewhere.
    pub compactors: Arc<Compactors>,
    /// Its cache on the SSD.
    pub cache: Option<SsdWriter>,
}

/// What the jobs of one executor did, as others see it.
#[derive(Debug, Default)]
pub(crate) struct Work {
    heartbeat: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    // By compactors, for its merges.
    elsewhere_bytes: Arc<AtomicU64>,
}

impl Work {
    /// The executor lives.
    pub(crate) fn beat(&self) {
        self.heartbeat.store(clock::now(), Ordering::Relaxed);
    }

    /// When it last lived, on the process's clock.
    pub(crate) fn heartbeat(&self) -> Nanos {
        self.heartbeat.load(Ordering::Relaxed)
    }

    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that its jobs wrote, or had compactors write.
    pub(crate) fn written_anywhere(&self) -> u64 {
        let elsewhere = self.elsewhere_bytes.load(Ordering::Relaxed);
        self.written_bytes().saturating_add(elsewhere)
    }

    fn count_read(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count_written(&self, bytes: usize) {
        self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Runs a job to its end: the job, unless it broke, and the objects it sealed or opened.
pub(crate) async fn run<J>(
    (step, work): (Step<J>, Arc<Work>),
    reach: Reach,
    pause: Rc<Pause>,
    mut job: J,
) -> (Result<J>, Vec<(ObjectName, OpenObject)>) {
    let io = Rc::new(Io {
        work,
        reach,
        readers: RefCell::default(),
        opened: RefCell::default(),
        answers: RefCell::default(),
        waker: RefCell::default(),
        owed: Cell::new(0),
    });
    let mut writers = HashMap::new();
    let outcome = steps(step, &io, &mut writers, &pause, &mut job).await;
    // Requests that a broken job left behind still use its objects.
    while io.owed.get() > 0 {
        drop(io.some_answers().await);
    }
    // Writers of objects that were not sealed see their end and discard them.
    drop(writers);
    for (_, reader) in io.readers.take() {
        if let Ok(reader) = Rc::try_unwrap(reader) {
            reader.close().await;
        }
    }
    let job = match outcome {
        Ok(()) => Ok(job),
        Err(error) => {
            // What a panicking step left may panic again when it is dropped.
            let _panic = catch_unwind(AssertUnwindSafe(|| drop(job)));
            Err(error)
        }
    };
    (job, io.opened.take())
}

type Writers = HashMap<ObjectName, UnboundedSender<Write>>;

async fn steps<J>(
    step: Step<J>,
    io: &Rc<Io>,
    writers: &mut Writers,
    pause: &Pause,
    job: &mut J,
) -> Result<()> {
    let mut mailbox = JobIo::default();
    let mut slice_start = clock::now();
    loop {
        let stepped = catch_unwind(AssertUnwindSafe(|| step(job, &mut mailbox)));
        io.work.beat();
        let state = stepped.map_err(|panic| broken(&panic_text(&*panic)))?;
        for request in mailbox.requests.drain(..) {
            io.ask(writers, request);
        }
        match state {
            JobState::Finished => return Ok(()),
            JobState::Working => {
                slice_start = pause.between_steps(slice_start).await;
                mailbox.done.append(&mut io.take_answers());
            }
            JobState::Waiting => {
                if io.owed.get() == 0 {
                    return Err(broken("it waits and asked for nothing"));
                }
                mailbox.done.append(&mut io.some_answers().await);
                slice_start = clock::now();
            }
        }
    }
}

fn broken(why: &str) -> Error {
    Error::new(
        ErrorKind::Poisoned,
        format!("a background job broke: {why}; this is a bug, report it"),
    )
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("no text"))
}

/// Takes the injected latency and failure of one operation.
pub(crate) async fn suffer(dfs: &Dfs, operation: &str) -> Result<()> {
    let Some(faults) = dfs.faults() else { return Ok(()) };
    if faults.latency() > 0 {
        task::sleep(faults.latency()).await;
    }
    faults.draw(operation)
}

/// Tries an operation again that failed for the moment.
pub(crate) async fn patiently<T>(
    dfs: &Dfs,
    missing: Missing,
    mut operation: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let mut failures = Failures::default();
    loop {
        let error = match operation().await {
            Err(error) => error,
            ok => {
                if let Some(budget) = dfs.budget() {
                    budget.served(failures.count > 0);
                }
                return ok;
            }
        };
        let (patience, now) = (dfs.patience(), clock::now());
        let wait = patience.wait_after(error.clone(), &mut failures, missing, now)?;
        dfs.count_retry();
        task::sleep(wait).await;
        let Some(budget) = dfs.budget() else { continue };
        let mut held_back = false;
        while !budget.take(clock::now()) {
            if !held_back {
                held_back = true;
                budget.count_held();
            }
            if patience.is_over(failures, clock::now()) {
                return Err(retry::held_up(&error));
            }
            task::sleep(RETRY_LOOK_NS).await;
        }
    }
}

/// Lets other tasks, and the kernel, have their turn.
pub(crate) struct Pause {
    always: Listener,
}

impl Pause {
    /// `always` is readable at all times.
    pub(crate) fn new(always: &Doorbell) -> Self {
        Self { always: Listener::new(always) }
    }

    /// Yields to other tasks; now and then to the kernel too. Gives the start of the slice.
    async fn between_steps(&self, slice_start: Nanos) -> Nanos {
        if clock::now() - slice_start < JOB_SLICE_NS {
            task::yield_now().await;
            return slice_start;
        }
        self.always.look_around().await;
        clock::now()
    }
}

/// A job's open objects and its answers. Shared with the tasks that do its I/O, all on one
/// thread.
struct Io {
    work: Arc<Work>,
    reach: Reach,
    readers: RefCell<HashMap<ObjectName, Rc<ObjectReader>>>,
    opened: RefCell<Vec<(ObjectName, OpenObject)>>,
    answers: RefCell<Vec<JobDone>>,
    waker: RefCell<Option<Waker>>,
    // Requests whose answer the job has not taken.
    owed: Cell<usize>,
}

/// What an object's writer is asked for, in order.
enum Write {
    Append(Vec<u8>),
    Seal,
}

type Failure = Rc<RefCell<Option<Error>>>;

/// An object whose appends are under way. The first failure latches: what follows a hole is never
/// sealed.
struct Writing {
    writer: Result<Rc<ObjectWriter>>,
    failure: Failure,
    places: Arc<Semaphore>,
}

impl Writing {
    async fn start(dfs: &Dfs, object: ObjectName) -> Self {
        Self {
            writer: ObjectWriter::create(dfs, object).await.map(Rc::new),
            failure: Rc::default(),
            places: Arc::new(Semaphore::new(JOB_APPENDS_MAX)),
        }
    }

    /// The writer when all appends have ended, unless one failed: then the object is given up.
    async fn end(self) -> Result<ObjectWriter> {
        let _all = self.places.acquire_many(JOB_APPENDS_MAX as u32).await;
        let writer = Rc::into_inner(self.writer?).expect("its appends have ended");
        match self.failure.take() {
            None => Ok(writer),
            Some(error) => {
                writer.discard().await;
                Err(error)
            }
        }
    }
}

fn sealed(object: ObjectName) -> Error {
    Error::invalid(format!("{object} is sealed already"))
}

impl Io {
    /// Starts a request.
    fn ask(self: &Rc<Self>, writers: &mut Writers, request: JobRequest) {
        self.owed.set(self.owed.get() + 1);
        let (object, write) = match request {
            JobRequest::Read { tag, object, offset, len, mut buf } => {
                let io = self.clone();
                let read = async move {
                    let out = &mut buf.bytes_mut()[..len];
                    let read = async || io.read(object, offset, out).await;
                    let result = patiently(&io.reach.dfs, io.reach.dfs.missing(), read).await;
                    io.answer(JobDone::Read { tag, result: result.map(|()| buf) });
                };
                return task::spawn(read);
            }
            JobRequest::Open { object, bytes } => {
                let io = self.clone();
                let open = async move {
                    let open = async || io.open(object, bytes).await;
                    let result = patiently(&io.reach.dfs, io.reach.dfs.missing(), open).await;
                    io.answer(JobDone::Opened { object, result });
                };
                return task::spawn(open);
            }
            JobRequest::Errand { errand, bytes } => {
                let io = self.clone();
                let send = async move {
                    let moved = io.work.elsewhere_bytes.clone();
                    let result = io.reach.compactors.send(errand, bytes, moved).await;
                    io.answer(JobDone::Errand { result });
                };
                return task::spawn(send);
            }
            JobRequest::Cache { region, offset, buf } => {
                let io = self.clone();
                return task::spawn(async move { io.write_through(region, offset, buf).await });
            }
            JobRequest::Append { object, bytes } => (object, Write::Append(bytes)),
            JobRequest::Seal { object } => (object, Write::Seal),
        };
        let writer = writers.entry(object).or_insert_with(|| {
            let (sender, orders) = unbounded_channel();
            task::spawn(self.clone().write(object, orders));
            sender
        });
        assert!(writer.send(write).is_ok(), "a writer lives until its orders end");
    }

    fn answer(&self, done: JobDone) {
        self.answers.borrow_mut().push(done);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn take_answers(&self) -> Vec<JobDone> {
        let answers = self.answers.take();
        self.owed.set(self.owed.get() - answers.len());
        answers
    }

    /// Waits until an answer is there.
    async fn some_answers(&self) -> Vec<JobDone> {
        std::future::poll_fn(|context| {
            if self.answers.borrow().is_empty() {
                self.waker.replace(Some(context.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(self.take_answers())
        })
        .await
    }

    async fn read(&self, object: ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        suffer(&self.reach.dfs, "read").await?;
        let open = self.readers.borrow().get(&object).cloned();
        let reader = match open {
            Some(reader) => reader,
            None => {
                let reader = Rc::new(ObjectReader::open(&self.reach.dfs, object).await?);
                // Of reads that opened it at the same time, the last one's stays.
                self.readers.borrow_mut().insert(object, reader.clone());
                reader
            }
        };
        reader.read(offset, out).await?;
        self.work.count_read(out.len());
        Ok(())
    }

    async fn write_through(&self, region: u32, offset: u64, buf: Buf) {
        let cache = self.reach.cache.clone();
        let write = move || {
            let none = || Err(Error::invalid("a job writes to a cache that is not there"));
            let result = cache.map_or_else(none, |cache| cache.write(offset, buf.bytes()));
            JobDone::Cached { region, buf, result }
        };
        self.answer(task::blocking(write).await);
    }

    /// Writes one object, some appends at a time.
    async fn write(self: Rc<Self>, object: ObjectName, mut orders: UnboundedReceiver<Write>) {
        let mut writing = Some(Writing::start(&self.reach.dfs, object).await);
        let mut end = 0;
        while let Some(order) = orders.recv().await {
            match order {
                Write::Append(bytes) => {
                    let offset = end;
                    end += bytes.len() as u64;
                    self.append(writing.as_ref(), object, offset, bytes).await;
                }
                Write::Seal => {
                    let result = match writing.take() {
                        Some(writing) => self.seal(object, writing).await,
                        None => Err(sealed(object)),
                    };
                    self.answer(JobDone::Sealed { object, result });
                }
            }
        }
        if let Some(writing) = writing
            && let Ok(writer) = writing.end().await
        {
            writer.discard().await;
        }
    }

    /// Starts an append once there is a place for it.
    async fn append(
        self: &Rc<Self>,
        writing: Option<&Writing>,
        object: ObjectName,
        offset: u64,
        mut bytes: Vec<u8>,
    ) {
        let Some(writing) = writing else {
            bytes.clear();
            return self.answer(JobDone::Appended { bytes, result: Err(sealed(object)) });
        };
        let place = writing.places.clone().acquire_owned().await;
        let (io, writer) = (self.clone(), writing.writer.clone());
        let failure = writing.failure.clone();
        let append = async move {
            let result = io.write_piece(&writer, &failure, offset, &bytes).await;
            drop(writer);
            drop(place);
            bytes.clear();
            io.answer(JobDone::Appended { bytes, result });
        };
        task::spawn(append);
    }

    async fn write_piece(
        &self,
        writer: &Result<Rc<ObjectWriter>>,
        failure: &Failure,
        offset: u64,
        bytes: &[u8],
    ) -> Result<()> {
        if let Some(error) = failure.borrow().clone() {
            return Err(error);
        }
        let written = async {
            suffer(&self.reach.dfs, "append").await?;
            writer.clone()?.write(offset, bytes).await
        };
        let result = written.await;
        match &result {
            Ok(()) => self.work.count_written(bytes.len()),
            Err(error) => {
                // What fails behind the first fails because of it.
                failure.borrow_mut().get_or_insert_with(|| error.clone());
            }
        }
        result
    }

    async fn seal(&self, object: ObjectName, writing: Writing) -> Result<()> {
        let writer = writing.end().await?;
        if let Err(error) = suffer(&self.reach.dfs, "seal").await {
            writer.discard().await;
            return Err(error);
        }
        let bytes = writer.seal().await?;
        self.hand_over(object, bytes).await
    }

    async fn open(&self, object: ObjectName, bytes: u64) -> Result<()> {
        suffer(&self.reach.dfs, "open").await?;
        self.hand_over(object, bytes).await
    }

    // Opens an object for the shard's own reads.
    async fn hand_over(&self, object: ObjectName, bytes: u64) -> Result<()> {
        let open = bulk::open(&self.reach.dfs, object, bytes).await?;
        self.opened.borrow_mut().push((object, open));
        Ok(())
    }
}
