use super::{About, Environment, rfc3339};

#[test]
fn moments_print_as_civil_dates() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
    assert_eq!(rfc3339(951_868_800), "2000-03-01T00:00:00Z");
    assert_eq!(rfc3339(1_709_164_800), "2024-02-29T00:00:00Z");
    assert_eq!(rfc3339(1_767_225_599), "2025-12-31T23:59:59Z");
}

#[test]
fn the_machine_is_described() {
    let environment = Environment::of(&std::env::temp_dir(), &About::default());
    assert!(environment.cores > 0 && environment.memory_bytes > 0);
    assert!(!environment.kernel.is_empty());
    assert_ne!(environment.filesystem, "unknown");
}
