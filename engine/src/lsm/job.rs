//! Background work as a value: immutable inputs in, a version edit out. A job is a step machine
//! that names its I/O and never performs it, so the same code runs on the glommio executor and
//! inline in the simulator.

use crate::io::values::{JobDone, JobRequest};

/// What a job needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Call `step` again (after other tasks had their turn).
    Working,
    /// Call `step` again when at least one answer arrived in `JobIo::done`.
    Waiting,
    /// The outcome is ready; no request is outstanding.
    Finished,
}

/// The mailbox between a job and its executor: the executor takes `requests`, puts `done`.
#[derive(Debug, Default)]
pub struct JobIo {
    /// Asked for, not yet taken by the executor.
    pub requests: Vec<JobRequest>,
    /// Answered, not yet seen by the job.
    pub done: Vec<JobDone>,
}
