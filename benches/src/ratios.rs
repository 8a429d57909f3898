//! How the first engine compares with the others: neighbours in time only, since a shared disk
//! drifts.

use aquifer_tools::figure::Figure;
use aquifer_tools::load::PhaseReport;
use serde::Serialize;

/// The first engine over another one, per round of one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The workload.
    pub name: String,
    /// The engine above the line.
    pub engine: String,
    /// The engine below it.
    pub other: String,
    /// Operations a second: above 1 the first engine is faster.
    pub ops_per_s: Figure,
    /// CPU an operation: below 1 the first engine is cheaper.
    pub cpu_us_per_op: Figure,
}

/// Compares `engine` with every other engine of the phases, round by round.
pub fn ratios(engine: &str, phases: &[PhaseReport]) -> Vec<Ratio> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for phase in phases.iter().filter(|phase| phase.engine != engine) {
        let pair = (phase.name.as_str(), phase.engine.as_str());
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs.into_iter().filter_map(|(name, other)| ratio(engine, other, name, phases)).collect()
}

fn ratio(engine: &str, other: &str, name: &str, phases: &[PhaseReport]) -> Option<Ratio> {
    let of = |engine: &str, round: u32| {
        phases.iter().find(|p| p.engine == engine && p.name == name && p.round == round)
    };
    let rounds = phases.iter().filter(|p| p.engine == engine && p.name == name);
    let pairs: Vec<_> = rounds.filter_map(|one| Some((one, of(other, one.round)?))).collect();
    let over = |figure: fn(&PhaseReport) -> f64| {
        Figure::of(pairs.iter().map(|(one, two)| figure(one) / figure(two)).collect())
    };
    Some(Ratio {
        name: name.to_owned(),
        engine: engine.to_owned(),
        other: other.to_owned(),
        ops_per_s: over(|phase| phase.ops_per_s)?,
        cpu_us_per_op: over(|phase| phase.cpu_us_per_op)?,
    })
}

/// The table that `versus` ends in.
pub fn print(ratios: &[Ratio]) {
    if ratios.is_empty() {
        return;
    }
    println!("\n{:<13} {:<28} {:>24} {:>24}", "phase", "ratio", "ops/s", "cpu/op");
    for ratio in ratios {
        println!(
            "{:<13} {:<28} {:>24} {:>24}",
            ratio.name,
            format!("{} : {}", ratio.engine, ratio.other),
            ratio.ops_per_s.to_string(),
            ratio.cpu_us_per_op.to_string()
        );
    }
    println!("(min / median / max over the rounds, each from neighbours in time)");
}

#[cfg(test)]
#[path = "ratios_tests.rs"]
mod tests;
