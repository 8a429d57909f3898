//! Which record an operation touches: `uniform`, `zipf:THETA`, `hotspot:KEYS:OPS`, `latest`,
//! `sequential`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::rng::Rng;
use super::scatter::Scatter;
use super::zipf::Zipf;
use crate::units::parse_positive;

/// A distribution as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Dist {
    /// Every record alike.
    Uniform,
    /// Rank `r` with weight `1 / r^theta`.
    Zipf(f64),
    /// A share of the records gets a share of the operations.
    Hotspot {
        /// Share of the records that is hot.
        keys: f64,
        /// Share of the operations that goes to them.
        ops: f64,
    },
    /// Like `zipf:0.99`, the newest record most often.
    Latest,
    /// Every record in turn, in the order in which they were loaded.
    Sequential,
}

/// The exponent that YCSB uses where its workloads name no other.
const YCSB_THETA: f64 = 0.99;

/// What most of its workloads use.
pub const YCSB_DIST: Dist = Dist::Zipf(YCSB_THETA);

impl FromStr for Dist {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "unknown distribution '{text}': use uniform, zipf:THETA (0 < THETA <= 10), \
                 hotspot:KEYS:OPS (shares between 0 and 1), latest or sequential"
            )
        };
        let share =
            |text: &str| parse_positive(text).filter(|share| *share < 1.0).ok_or_else(wrong);
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            ["uniform"] => Ok(Self::Uniform),
            ["latest"] => Ok(Self::Latest),
            ["sequential"] => Ok(Self::Sequential),
            ["zipf", theta] => {
                let theta = parse_positive(theta).filter(|theta| *theta <= 10.0);
                Ok(Self::Zipf(theta.ok_or_else(wrong)?))
            }
            ["hotspot", keys, ops] => Ok(Self::Hotspot { keys: share(keys)?, ops: share(ops)? }),
            _ => Err(wrong()),
        }
    }
}

crate::as_text!(Dist);

impl fmt::Display for Dist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(theta) => write!(f, "zipf:{theta}"),
            Self::Hotspot { keys, ops } => write!(f, "hotspot:{keys}:{ops}"),
            Self::Latest => f.write_str("latest"),
            Self::Sequential => f.write_str("sequential"),
        }
    }
}

/// The order of the records by popularity, known to the sampler and to an engine that plays the
/// ideal.
#[derive(Clone, Debug)]
pub struct Popularity {
    order: Order,
}

#[derive(Clone, Debug)]
enum Order {
    Scattered(Scatter),
    /// The load order itself.
    Loaded,
    /// From the last of so many records backwards.
    Newest(u64),
}

impl Popularity {
    /// Equal arguments give equal orders; other seeds make other records popular.
    pub fn new(dist: Dist, records: u64, seed: u64) -> Self {
        let order = match dist {
            Dist::Sequential => Order::Loaded,
            Dist::Latest => Order::Newest(records),
            _ => Order::Scattered(Scatter::new(records, seed)),
        };
        Self { order }
    }

    /// The record at a rank.
    #[inline]
    pub fn index_of(&self, rank: u64) -> u64 {
        match &self.order {
            Order::Scattered(scatter) => scatter.index_of(rank),
            Order::Loaded => rank,
            Order::Newest(records) => records - 1 - rank,
        }
    }

    /// The rank of a record; 0 is the most popular.
    #[inline]
    pub fn rank_of(&self, index: u64) -> u64 {
        match &self.order {
            Order::Scattered(scatter) => scatter.rank_of(index),
            Order::Loaded => index,
            Order::Newest(records) => records - 1 - index,
        }
    }
}

/// Draws records by a distribution.
#[derive(Clone, Debug)]
pub struct Sampler {
    ranks: Ranks,
    records: u64,
    popularity: Popularity,
}

#[derive(Clone, Debug)]
enum Ranks {
    Uniform,
    Zipf(Zipf),
    Hotspot { hot: u64, ops: f64 },
    Sequential { next: u64 },
}

impl Sampler {
    /// A sampler over the records `0..records`.
    pub fn new(dist: Dist, records: u64, seed: u64) -> Self {
        let ranks = match dist {
            Dist::Uniform => Ranks::Uniform,
            Dist::Zipf(theta) => Ranks::Zipf(Zipf::new(records, theta)),
            Dist::Latest => Ranks::Zipf(Zipf::new(records, YCSB_THETA)),
            Dist::Hotspot { keys, ops } => {
                let hot = ((records as f64 * keys) as u64).clamp(1, records);
                Ranks::Hotspot { hot, ops }
            }
            Dist::Sequential => Ranks::Sequential { next: 0 },
        };
        Self { ranks, records, popularity: Popularity::new(dist, records, seed) }
    }

    /// The record of the next operation, where `inserted` ones have followed the records. They
    /// are drawn by `latest` alone.
    #[inline]
    pub fn sample(&mut self, rng: &mut Rng, inserted: u64) -> u64 {
        let rank = match &mut self.ranks {
            Ranks::Uniform => rng.below(self.records),
            Ranks::Zipf(zipf) => zipf.sample(rng),
            Ranks::Hotspot { hot, ops } => {
                if *hot == self.records || rng.unit() < *ops {
                    rng.below(*hot)
                } else {
                    *hot + rng.below(self.records - *hot)
                }
            }
            Ranks::Sequential { next } => {
                let rank = *next;
                *next = if rank + 1 == self.records { 0 } else { rank + 1 };
                rank
            }
        };
        let index = self.popularity.index_of(rank);
        if matches!(self.popularity.order, Order::Newest(_)) { index + inserted } else { index }
    }
}

#[cfg(test)]
#[path = "dist_tests.rs"]
mod tests;
