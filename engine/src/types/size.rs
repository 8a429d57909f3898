//! Sizes as people write them.

/// The bytes that `288M`, `1.5GiB` or `4096` say: `K`, `M`, `G`, `T` are powers of 1024, with or
/// without an `iB`. `None` for what is no size.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    scaled(text.strip_suffix("iB").unwrap_or(text), 1024)
}

/// The number that digits and a `K`, `M`, `G` or `T` say, which are powers of `base`. `None` for
/// what is no such number, and for parts of one thing.
#[must_use]
pub fn scaled(text: &str, base: u64) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let power = match unit {
        "" => 0,
        "K" | "k" => 1,
        "M" | "m" => 2,
        "G" | "g" => 3,
        "T" | "t" => 4,
        _ => return None,
    };
    let factor = base.pow(power);
    let digits = digits.replace('_', "");
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let fraction = digits.parse::<f64>().ok()?;
    let scaled = fraction * factor as f64;
    let parts = !unit.is_empty() && fraction > 0.0 && scaled < u64::MAX as f64;
    parts.then_some(scaled as u64)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_digits_and_a_unit() {
        assert_eq!(parse("4096"), Some(4096));
        assert_eq!(parse("64M"), Some(64 << 20));
        assert_eq!(parse("1.5GiB"), Some(3 << 29));
        assert_eq!(parse("1_000k"), Some(1_024_000));
        for wrong in ["", "M", "-1", "1.5", "1X", "17000000T", "infM", "0.0G", "12 M"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
