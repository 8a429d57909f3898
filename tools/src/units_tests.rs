use super::{
    Memory, Share, count_in, parse_count, parse_positive, parse_size, parse_span, size_in,
};

#[test]
fn counts_are_decimal_and_sizes_binary() {
    assert_eq!(parse_count("20M"), Ok(20_000_000));
    assert_eq!(parse_count("1_500"), Ok(1500));
    assert_eq!(parse_count("0.5K"), Ok(500));
    assert_eq!(parse_size("288M"), Ok(288 << 20));
    assert_eq!(parse_size("1.5GiB"), Ok(3 << 29));
    assert_eq!(parse_size("4096"), Ok(4096));
}

#[test]
fn nonsense_is_refused_with_a_hint() {
    for text in ["", "M", "-1", "1X", "nan", "99999999999G", "1 M", "1.5", "5X"] {
        assert!(parse_count(text).unwrap_err().contains("use digits"), "{text}");
        assert!(parse_size(text).unwrap_err().contains("use digits"), "{text}");
    }
    for text in ["%", "0%", "-3%", "inf%", "ten"] {
        assert!(text.parse::<Memory>().is_err(), "{text}");
    }
}

#[test]
fn a_range_names_its_ends() {
    let batch = count_in::<u32>(1..=4096);
    assert_eq!(batch("4K"), Ok(4000));
    assert_eq!(batch("0").unwrap_err(), "'0' is too small: use at least 1");
    assert_eq!(batch("5K").unwrap_err(), "'5K' is too large: use at most 4096");
    assert!(count_in::<u32>(0..=u64::MAX)("5G").is_err(), "no number is cut");
    let value = size_in::<u32>(8..=16 << 20);
    assert_eq!(value("16M"), Ok(16 << 20));
    assert_eq!(value("100M").unwrap_err(), "'100M' is too large: use at most 16777216");
}

#[test]
fn positive_numbers_are_above_zero_and_finite() {
    assert_eq!(parse_positive("0.99"), Some(0.99));
    for text in ["0", "-1", "nan", "inf", ""] {
        assert_eq!(parse_positive(text), None, "{text}");
    }
}

#[test]
fn memory_is_a_size_or_a_share() {
    assert_eq!("10%".parse::<Memory>().unwrap().bytes(2880), 288);
    assert_eq!("1K".parse::<Memory>().unwrap().bytes(2880), 1024);
    for text in ["10%", "2048"] {
        assert_eq!(text.parse::<Memory>().unwrap().to_string(), text);
    }
}

#[test]
fn shares_are_of_something_and_of_no_more_than_all() {
    let share = |text: &str| text.parse::<Share>();
    assert_eq!(share("1%").unwrap().of(200_000), 2_000);
    assert_eq!(share("0.1%").unwrap().of(10), 1, "at least one");
    assert_eq!(share("100%").unwrap().of(7), 7);
    for wrong in ["1", "0%", "101%", "-1%", "NaN%", "%", ""] {
        assert!(share(wrong).unwrap_err().contains("share"), "{wrong}");
    }
}

#[test]
fn spans_of_time_have_a_unit() {
    for (text, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("24h", 86_400), ("7d", 604_800)] {
        assert_eq!(parse_span(text).unwrap().as_secs(), seconds, "{text}");
    }
    for text in ["", "h", "24", "-1h", "1.5h", "1w", "99999999999999999999d", "999999999999999d"] {
        assert!(parse_span(text).is_err(), "{text}");
    }
}
