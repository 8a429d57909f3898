use super::*;

#[test]
fn credentials_are_read_as_lines_and_never_shown() {
    let text = b"AWS_ACCESS_KEY_ID = hunter1\n\n AWS_SECRET_ACCESS_KEY=hunter2/=+\n";
    let given = Given::parse(text).unwrap();
    assert_eq!(given.get("AWS_SECRET_ACCESS_KEY"), Some("hunter2/=+"));
    assert_eq!(given.names().count(), 2);
    let shown = format!("{:?} {given:?}", Access::Given(given.clone()));
    assert!(shown.contains("AWS_ACCESS_KEY_ID") && !shown.contains("hunter"), "{shown}");
}

#[test]
fn what_is_no_credential_is_refused_without_its_value() {
    let long = vec![b'x'; CREDENTIALS_BYTES_MAX + 1];
    let table: [(&[u8], &str); 8] = [
        (b"", "no credentials"),
        (b"\n \n", "no credentials"),
        (b"hunter2", "one has no ="),
        (b"AWS_ACCES_KEY_ID = hunter2", "did you mean AWS_ACCESS_KEY_ID?"),
        (b"PASSWORD = hunter2", "there are AWS_ACCESS_KEY_ID, "),
        (b"AWS_ACCESS_KEY_ID =", "is empty"),
        (b"AWS_ACCESS_KEY_ID = hunter2\nAWS_ACCESS_KEY_ID = hunter2", "stands twice"),
        (&[0xff, 0xfe], "not UTF-8"),
    ];
    for (text, expected) in table.into_iter().chain([(&long[..], "more than 65536 bytes")]) {
        let error = Given::parse(text).unwrap_err().text;
        assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
    }
}
