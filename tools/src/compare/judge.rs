//! Which reports compare, and what is better or worse in the second.

use serde::Serialize;

use crate::figure::Figure;
use crate::load::{PhaseReport, RunReport};

/// Below this, reads an operation are none: a change from 0.001 to 0.002 is no change.
const READS_PER_OP_MIN: f64 = 0.01;

/// What of the options changes the figures. Batch, requests in flight and distribution are those of
/// the phases.
const OPTIONS: [&str; 15] = [
    "records",
    "key-size",
    "value-size",
    "compressible",
    "shards",
    "driver",
    "io",
    "memory",
    "ssd",
    "seconds",
    "warmup",
    "rate",
    "change",
    "to",
    "verify",
];

/// What of the machine does.
const MACHINE: [&str; 4] = ["cpu", "cores", "filesystem", "io"];

/// What the second report says of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Worse by more than the threshold, and in every round.
    Worse,
    /// Neither.
    Same,
    /// Better by more than the threshold, and in every round.
    Better,
}

impl Verdict {
    /// For people; nothing where nothing has changed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Same => "",
            Self::Better => "better",
        }
    }

    /// Of a ratio where `more` is better, or less.
    fn of(ratio: Figure, more: bool, threshold: f64) -> Self {
        let above = ratio.median > 1.0 + threshold && ratio.min > 1.0;
        let below = ratio.median < 1.0 - threshold && ratio.max < 1.0;
        match (above, below) {
            (true, _) if more => Self::Better,
            (_, true) if !more => Self::Better,
            (false, false) => Self::Same,
            _ => Self::Worse,
        }
    }
}

/// One figure of a phase in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    pub name: &'static str,
    pub a: Figure,
    pub b: Figure,
    pub ratio: Figure,
    pub verdict: Verdict,
}

/// A phase of one engine in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    pub name: String,
    pub engine: String,
    pub rounds: (usize, usize),
    pub figures: Vec<Compared>,
}

struct Measure {
    name: &'static str,
    of: fn(&PhaseReport) -> Option<f64>,
    /// Less than this counts as this.
    least: f64,
    more_is_better: bool,
}

const MEASURES: [Measure; 5] = [
    Measure { name: "ops/s", of: |phase| Some(phase.ops_per_s), least: 0.0, more_is_better: true },
    Measure {
        name: "cpu us/op",
        of: |phase| Some(phase.cpu_us_per_op),
        least: 0.0,
        more_is_better: false,
    },
    Measure {
        name: "p50 us",
        of: |phase| Some(phase.latency_us.p50),
        least: 0.0,
        more_is_better: false,
    },
    Measure {
        name: "p99 us",
        of: |phase| Some(phase.latency_us.p99),
        least: 0.0,
        more_is_better: false,
    },
    Measure {
        name: "reads/op",
        of: |phase| phase.device.reads_per_op,
        least: READS_PER_OP_MIN,
        more_is_better: false,
    },
];

/// The phases of both reports, in the order of the first.
pub fn phases(a: &RunReport, b: &RunReport, threshold: f64) -> Vec<Judged> {
    let judged = kinds(a).into_iter().filter_map(|(name, engine)| {
        let (one, two) = (rounds(a, name, engine), rounds(b, name, engine));
        if two.is_empty() {
            return None;
        }
        let figures = MEASURES.iter().filter_map(|measure| {
            let figure = |rounds: &[&PhaseReport]| {
                Figure::of(rounds.iter().filter_map(|round| (measure.of)(round)).collect())
            };
            let (a, b) = (figure(&one)?, figure(&two)?);
            let ratio = b.at_least(measure.least).over(a.at_least(measure.least));
            let verdict = Verdict::of(ratio, measure.more_is_better, threshold);
            Some(Compared { name: measure.name, a, b, ratio, verdict })
        });
        Some(Judged {
            name: name.to_owned(),
            engine: engine.to_owned(),
            rounds: (one.len(), two.len()),
            figures: figures.collect(),
        })
    });
    judged.collect()
}

/// Phases of `a` that `b` has not.
pub fn alone(a: &RunReport, b: &RunReport) -> Vec<String> {
    let there = kinds(b);
    let missing = kinds(a).into_iter().filter(|kind| !there.contains(kind));
    missing.map(|(name, engine)| format!("{name} of {engine}")).collect()
}

/// Why the reports do not compare.
pub fn differences(a: &RunReport, b: &RunReport) -> Vec<String> {
    let value = |part: &dyn Fn(&RunReport) -> serde_json::Result<serde_json::Value>| {
        (part(a).unwrap_or_default(), part(b).unwrap_or_default())
    };
    let machines = value(&|run| serde_json::to_value(&run.environment));
    let options = value(&|run| serde_json::to_value(&run.options));
    let mut out = Vec::new();
    let mut differ = |what: String, (one, two): (String, String)| {
        if one != two {
            out.push(format!("{what} is {one} in A and {two} in B"));
        }
    };
    for name in MACHINE {
        differ(name.to_owned(), (machines.0[name].to_string(), machines.1[name].to_string()));
    }
    for name in OPTIONS {
        differ(format!("--{name}"), (options.0[name].to_string(), options.1[name].to_string()));
    }
    let faults = |run: &RunReport| {
        let dfs = run.options.dfs.as_deref().unwrap_or_default();
        dfs.split_once('?').map_or("nothing", |(_, query)| query).to_owned()
    };
    differ("what --dfs injects".to_owned(), (faults(a), faults(b)));
    for (name, engine) in kinds(a) {
        let setting = |run: &RunReport| {
            let shown = |phase: &&PhaseReport| {
                format!("{}, batch {}, in flight {}", phase.dist, phase.batch, phase.in_flight)
            };
            rounds(run, name, engine).first().map(shown)
        };
        if let (Some(one), Some(two)) = (setting(a), setting(b)) {
            differ(format!("{name} of {engine}"), (one, two));
        }
    }
    out
}

/// Names and engines of the phases, each once.
fn kinds(run: &RunReport) -> Vec<(&str, &str)> {
    let mut out = Vec::new();
    for phase in &run.phases {
        let kind = (&phase.name[..], &phase.engine[..]);
        if !out.contains(&kind) {
            out.push(kind);
        }
    }
    out
}

fn rounds<'a>(run: &'a RunReport, name: &str, engine: &str) -> Vec<&'a PhaseReport> {
    run.phases.iter().filter(|phase| phase.name == name && phase.engine == engine).collect()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
