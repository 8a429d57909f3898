use super::{Memory, parse_count, parse_size};

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
    for text in ["", "M", "-1", "1X", "nan", "99999999999G", "1 M"] {
        assert!(parse_count(text).unwrap_err().contains("use digits"), "{text}");
        assert!(parse_size(text).unwrap_err().contains("use digits"), "{text}");
    }
    for text in ["%", "0%", "-3%", "inf%", "ten"] {
        assert!(text.parse::<Memory>().is_err(), "{text}");
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
