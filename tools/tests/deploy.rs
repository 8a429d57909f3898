//! What stands in `deploy/`.

use serde_json::Value;

#[test]
fn the_seccomp_rule_allows_the_three_calls_of_io_uring() {
    let rule: Value = serde_json::from_str(include_str!("../../deploy/io_uring.json")).unwrap();
    assert_eq!(rule["action"], "SCMP_ACT_ALLOW");
    let numbers = rule["names"].as_array().unwrap().iter().map(|name| match name.as_str() {
        Some("io_uring_setup") => libc::SYS_io_uring_setup,
        Some("io_uring_enter") => libc::SYS_io_uring_enter,
        Some("io_uring_register") => libc::SYS_io_uring_register,
        _ => panic!("{name} is none of them"),
    });
    let mut numbers: Vec<i64> = numbers.collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [425, 426, 427]);
}
