//! A figure that several rounds have measured.

use std::fmt;

use serde::Serialize;

/// The lowest, the middle and the highest of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Figure {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Figure {
    /// `None` without rounds.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { min, median, max })
    }

    /// With `least` in place of what is less.
    pub fn at_least(self, least: f64) -> Self {
        let Self { min, median, max } = self;
        Self { min: min.max(least), median: median.max(least), max: max.max(least) }
    }

    /// This one over another, whose rounds are no neighbours in time of its own: from the least
    /// that any two rounds give to the most.
    pub fn over(self, other: Self) -> Self {
        // Nothing over nothing is no change.
        let ratio = |above: f64, below: f64| if above == below { 1.0 } else { above / below };
        Self {
            min: ratio(self.min, other.max),
            median: ratio(self.median, other.median),
            max: ratio(self.max, other.min),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} / {:.2} / {:.2}", self.min, self.median, self.max)
    }
}

#[cfg(test)]
#[path = "figure_tests.rs"]
mod tests;
