use super::*;

/// A path at a server that nobody connects to.
pub(crate) fn target(path: &str) -> Result<Target> {
    let endpoint = Endpoint::new(vec![([127, 0, 0, 1], 9).into()], "store.example:9", None)?;
    Target::new(endpoint, path.to_owned(), Nanos::MAX)
}

#[test]
fn a_target_stays_one_word_of_a_request() {
    assert!(target("/bucket/key?signature=a%20b").is_ok());
    let long = format!("/{}", "a".repeat(HTTP_TARGET_BYTES_MAX));
    for path in ["", "a", "/a b", "/a\r\nHost: other", "/a\n", "/a\0", "/\u{e9}", "/a\x7f", &long] {
        let error = target(path).unwrap_err();
        assert!(error.text.contains("store.example:9"), "{path:?}: {error}");
    }
    for host in ["", "a b", "a\r\nX: y"] {
        assert!(Endpoint::new(vec![([127, 0, 0, 1], 9).into()], host, None).is_err(), "{host:?}");
    }
    assert!(Endpoint::new(Vec::new(), "store.example", None).is_err());
}

#[test]
fn the_signature_of_a_target_is_not_shown() {
    let shown = format!("{:?}", target("/bucket/key?signature=secret").unwrap());
    assert_eq!(shown, "Target(store.example:9/bucket/key)");
    let error = target("/a b?signature=secret").unwrap_err();
    assert!(!error.text.contains("secret"), "{error}");
}
