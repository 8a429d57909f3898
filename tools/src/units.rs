//! Counts and sizes as people write them: `20M` records, `288M` of memory, `10%` of the data.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use aquifer::types::size::{self, scaled};
use serde::{Deserialize, Serialize};

/// Has types stand in JSON as people write them: `serde(try_from = "String", into = "String")` by
/// way of `FromStr` and `Display`.
#[macro_export]
macro_rules! as_text {
    ($($name:ty),+) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )+};
}

as_text!(Memory, Share);

/// A number of things; `K`, `M`, `G` are powers of 1000.
pub fn parse_count(text: &str) -> Result<u64, String> {
    scaled(text, 1000).ok_or_else(|| {
        format!(
            "'{text}' is no count: use digits, with K, M or G for thousands, millions, billions"
        )
    })
}

/// A number of bytes; `K`, `M`, `G`, `T` are powers of 1024 (an `iB` after them is accepted).
pub fn parse_size(text: &str) -> Result<u64, String> {
    size::parse(text).ok_or_else(|| {
        format!("'{text}' is no size: use digits, with K, M, G or T for KiB, MiB, GiB, TiB")
    })
}

/// The parser of counts in a range, for an option.
pub fn count_in<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| within(text, parse_count(text)?, &range)
}

/// The parser of sizes in a range, for an option.
pub fn size_in<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| within(text, parse_size(text)?, &range)
}

fn within<T: TryFrom<u64>>(
    text: &str,
    number: u64,
    range: &RangeInclusive<u64>,
) -> Result<T, String> {
    let (min, max) = (*range.start(), *range.end());
    if number < min {
        return Err(format!("'{text}' is too small: use at least {min}"));
    }
    let fits = T::try_from(number).ok().filter(|_| number <= max);
    fits.ok_or_else(|| format!("'{text}' is too large: use at most {max}"))
}

/// A span of time: digits and s, m, h or d.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let seconds = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let unit = seconds.iter().find_map(|(unit, s)| Some((text.strip_suffix(unit)?, s)));
    let span = unit.and_then(|(digits, s)| digits.parse::<u64>().ok()?.checked_mul(*s));
    let none = || format!("'{text}' is no span of time: use digits and s, m, h or d, as in 24h");
    span.map(Duration::from_secs).ok_or_else(none)
}

/// A number above zero, such as an exponent or a percentage.
pub fn parse_positive(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| *number > 0.0 && number.is_finite())
}

/// Memory as an absolute size or as a share of the data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Memory {
    /// Bytes.
    Bytes(u64),
    /// Percent of keys plus values.
    Percent(f64),
}

impl Memory {
    /// The bytes this is for so much data.
    pub fn bytes(self, data_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (data_bytes as f64 * percent / 100.0) as u64,
        }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(percent) = text.strip_suffix('%') else {
            return parse_size(text).map(Self::Bytes);
        };
        parse_positive(percent).map(Self::Percent).ok_or_else(|| {
            format!("'{text}' is no share of the data: use a number above 0 and a %")
        })
    }
}

/// A part of the records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share {
    percent: f64,
}

impl Share {
    /// As a part of one.
    pub fn fraction(self) -> f64 {
        self.percent / 100.0
    }

    /// So many of `records`: at least one.
    pub fn of(self, records: u64) -> u64 {
        ((records as f64 * self.percent / 100.0) as u64).max(1)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(parse_positive);
        match percent.filter(|percent| *percent <= 100.0) {
            Some(percent) => Ok(Self { percent }),
            None => Err(format!("'{text}' is no share: use a number from above 0 to 100 and a %")),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
