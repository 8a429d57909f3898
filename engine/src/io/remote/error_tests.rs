use super::*;

#[test]
fn a_text_loses_signed_targets_and_its_length() {
    let text = "sending to (http://h/b/o?X-Amz-Signature=abc&x=1): refused,\nonce";
    assert_eq!(plain(text), "sending to (http://h/b/o): refused, once");
    assert!(plain(&"x".repeat(10_000)).len() <= REMOTE_ERROR_CHARS_MAX + 4);
    assert!(plain(&"ä".repeat(10_000)).len() <= REMOTE_ERROR_CHARS_MAX + 4);
    assert_eq!(plain(""), "");
}

#[test]
fn urls_of_every_store_lose_what_lets_one_in() {
    let table = [
        // A delegation token of HDFS, and the same behind a redirect.
        (
            "http://nn:9870/webhdfs/v1/a?op=OPEN&delegation=canary&offset=0",
            "http://nn:9870/webhdfs/v1/a",
        ),
        (
            "Location: http://dn:9864/webhdfs/v1/a?op=CREATE&delegation=canary;",
            "Location: http://dn:9864/webhdfs/v1/a;",
        ),
        // A shared access signature of Azure.
        (
            "https://a.blob.host/c/o?sv=2024-11-04&se=2026&sr=b&sig=canary%3D",
            "https://a.blob.host/c/o",
        ),
        ("the query sv=2024&sp=r&sig=canary is wrong", "the query sv=2024&sp=r&sig= is wrong"),
        // Google's, in a url, a header and an answer.
        ("https://storage/b/o?access_token=canary", "https://storage/b/o"),
        ("https://storage/b/o?X-Goog-Signature=canary#x", "https://storage/b/o"),
        ("authorization: Bearer canary, host: h", "authorization: ... ..., host: h"),
        ("Bearer canary", "Bearer ..."),
        (
            r#"{"access_token": "canary", "expires_in": 3599}"#,
            r#"{"access_token": "...", "expires_in": 3599}"#,
        ),
        // Amazon's, in a url and as some servers repeat them.
        ("to http://h/o%3FX-Amz-Security-Token=canary: refused", "to http://h/o refused"),
        ("<Token-0>canary</Token-0>", "<Token-0>...</Token-0>"),
        ("<AWSAccessKeyId>canary</AWSAccessKeyId>", "<AWSAccessKeyId>...</AWSAccessKeyId>"),
        ("X-Amz-Credential=canary/2026/eu", "X-Amz-Credential="),
        // A proxy with a password.
        ("proxy http://me:canary@proxy:8080/x refused", "proxy http://proxy:8080/x refused"),
    ];
    for (text, expected) in table {
        assert_eq!(plain(text), expected);
        assert!(!expected.contains("canary"));
    }
}

#[test]
fn who_has_no_credentials_is_told_which() {
    let name = crate::io::test_support::name(1);
    let failed = Failed { operation: "put", label: "s3://b/", path: name.to_string() };
    let said = opendal::Error::new(opendal::ErrorKind::Unexpected, "signing http request")
        .set_source(std::io::Error::other("failed to load signing credential"));
    let error = failed.error(&said);
    assert!(error.text.contains("half of a pair: give the host's"), "{error}");
    let other = opendal::Error::new(opendal::ErrorKind::Unexpected, "reset");
    assert!(!failed.error(&other).text.contains("pair"));
}

#[test]
fn who_does_not_agree_about_tls_is_told_what_to_change() {
    for (cause, remedy) in [
        ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
        ("received corrupt message of type InvalidContentType", "begins with http:"),
    ] {
        let refused = opendal::Error::new(opendal::ErrorKind::Unexpected, "send http request")
            .set_source(std::io::Error::other(cause));
        let name = crate::io::test_support::name(1);
        let failed = Failed { operation: "read", label: "s3://b/", path: name.to_string() };
        let error = failed.error(&refused);
        assert!(error.text.contains(cause) && error.text.contains(remedy), "{error}");
    }
}

#[test]
fn what_is_written_is_never_missing() {
    let name = crate::io::test_support::name(1);
    let kind = |operation| {
        let failed = Failed { operation, label: "s3://b/", path: name.to_string() };
        failed.error(&opendal::Error::new(opendal::ErrorKind::NotFound, "NoSuchUpload")).kind
    };
    assert_eq!(["put", "write", "create"].map(kind), [ErrorKind::Io; 3]);
    assert_eq!(["load", "read", "stat"].map(kind), [ErrorKind::MissingObject; 3]);
}

#[test]
fn a_list_without_a_bucket_says_what_to_look_for() {
    let failed = Failed { operation: "list", label: "gs://b/", path: "1/".to_owned() };
    let error = failed.error(&opendal::Error::new(opendal::ErrorKind::NotFound, ""));
    assert!(error.text.starts_with("list of gs://b/1/: ") && error.text.contains("bucket or"));
}

#[test]
fn a_text_keeps_what_helps() {
    for text in [
        r#"S3Error { code: "ExpiredToken", message: "The security token has expired" }"#,
        "the key was not found; offset=7 of http://h:9000/bucket/a@b/c",
        "mail to a@b.c: size=10, key 7",
        "SignatureDoesNotMatch: the request signature we calculated does not match",
    ] {
        assert_eq!(plain(text), text);
    }
}
