//! The `null` engine answers everything at once from nothing: what it costs is what the load
//! generator costs.

use std::time::Duration;

use anyhow::Result;
use aquifer_tools::load::{About, OpKind, Ops, Outcome, Setup, Target, TargetStats};

/// Completes what it is given, with one fixed value.
#[derive(Debug)]
pub struct NullTarget {
    value: Vec<u8>,
    accepted: Vec<(u64, OpKind)>,
}

impl NullTarget {
    /// An engine that needs nothing.
    pub fn open(setup: &Setup) -> Self {
        let value = vec![0; setup.data.value_size_bytes as usize];
        Self { value, accepted: Vec::with_capacity(setup.args.in_flight_all() as usize) }
    }
}

impl Target for NullTarget {
    fn about(&self) -> About {
        About {
            io: "none".to_owned(),
            io_reason: "the load generator alone".to_owned(),
            settings: Vec::new(),
        }
    }

    fn submit(&mut self, ops: Ops<'_>) -> Result<usize> {
        self.accepted.extend(ops.iter().map(|op| (op.tag, op.kind)));
        Ok(ops.len())
    }

    fn poll(
        &mut self,
        _wait: Option<Duration>,
        done: &mut dyn FnMut(u64, Outcome<'_>),
    ) -> Result<usize> {
        let count = self.accepted.len();
        for (tag, kind) in self.accepted.drain(..) {
            let get = kind == OpKind::Get;
            done(tag, if get { Outcome::Value(&self.value) } else { Outcome::Done });
        }
        Ok(count)
    }

    fn drain_background(&mut self) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> TargetStats {
        TargetStats::default()
    }
}
