//! Zipf-distributed ranks by rejection-inversion (Hormann and Derflinger, 1996): exact for every
//! exponent, constant memory, about one logarithm and one exponential a sample.

use super::rng::Rng;

/// From this distance of theta to 1 on, a sum with 1 keeps enough digits: 10 of a rank's.
const NEAR_ONE: f64 = 1e-5;

/// Samples ranks `0..count` with probability proportional to `1 / (rank + 1)^theta`.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: i64,
    theta: f64,
    /// Integral of the hat from the left end of the first rank, whose bar is kept whole.
    area_first: f64,
    area_last: f64,
    /// A sample this close below its rank is under the bar: accepted without computing it.
    near: f64,
}

impl Zipf {
    /// # Panics
    /// If `count` is 0 or `theta` is not a positive finite number: options are checked when they
    /// are parsed.
    pub fn new(count: u64, theta: f64) -> Self {
        assert!(count > 0 && theta > 0.0 && theta.is_finite(), "zipf({theta}) of {count}");
        let last = i64::try_from(count).expect("no data set has 2^63 records");
        let mut zipf = Self { count: last, theta, area_first: 0.0, area_last: 0.0, near: 0.0 };
        zipf.area_first = zipf.area(1.5) - 1.0;
        zipf.area_last = zipf.area(last as f64 + 0.5);
        zipf.near = 2.0 - zipf.area_inverse(zipf.area(2.5) - zipf.height(2.0));
        zipf
    }

    /// The next rank; 0 is the most popular.
    #[inline]
    pub fn sample(&self, rng: &mut Rng) -> u64 {
        loop {
            let area = self.area_last + rng.unit() * (self.area_first - self.area_last);
            let x = self.area_inverse(area);
            // Signed, and truncated instead of floored: one instruction each, no call.
            let whole = ((x + 0.5) as i64).clamp(1, self.count);
            let rank = whole as f64;
            if rank - x <= self.near || area >= self.area(rank + 0.5) - self.height(rank) {
                return whole as u64 - 1;
            }
        }
    }

    /// The bar of `x`.
    fn height(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// The integral of the hat from 1 to `x`. `exp_m1` keeps it exact where theta is near 1.
    fn area(&self, x: f64) -> f64 {
        let rest = 1.0 - self.theta;
        if rest == 0.0 { x.ln() } else { (rest * x.ln()).exp_m1() / rest }
    }

    /// `ln` of a sum costs a third of `ln_1p`, and what it loses matters for exponents nearer to 1
    /// only.
    #[inline]
    fn area_inverse(&self, area: f64) -> f64 {
        let rest = 1.0 - self.theta;
        if rest == 0.0 {
            area.exp()
        } else if rest.abs() < NEAR_ONE {
            ((rest * area).ln_1p() / rest).exp()
        } else {
            ((1.0 + rest * area).ln() / rest).exp()
        }
    }
}

#[cfg(test)]
#[path = "zipf_tests.rs"]
mod tests;
