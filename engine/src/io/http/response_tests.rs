use super::*;

const ASKED: Asked = Asked { offset: 4096, bytes: 4096 };

fn head(status: &str, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{lines}\r\n")
}

fn parsed(text: &str) -> Head {
    parse(text.as_bytes(), ASKED).expect("a whole head")
}

fn answer_of(status: &str, headers: &[&str]) -> Answer {
    parsed(&head(status, headers)).answer
}

const RANGE: &str = "Content-Range: bytes 4096-8191/20000";
const LENGTH: &str = "Content-Length: 4096";

#[test]
fn the_range_that_was_asked_for_is_taken() {
    for headers in [
        vec![RANGE, LENGTH],
        vec!["content-length: 4096", "CONTENT-RANGE:  Bytes 4096-8191/*  ", "etag: \"a\""],
        vec![LENGTH, LENGTH, RANGE, "Content-Encoding: identity"],
    ] {
        let text = head("206 Partial Content", &headers);
        let expected =
            Head { answer: Answer::Range, bytes: text.len(), body: Some(4096), keep: true };
        assert_eq!(parsed(&format!("{text}body")), expected, "{headers:?}");
    }
}

#[test]
fn a_head_that_is_not_whole_needs_more() {
    let text = head("206 Partial Content", &[RANGE, LENGTH]);
    for end in 0..text.len() {
        assert_eq!(parse(&text.as_bytes()[..end], ASKED), None, "{end}");
    }
}

#[test]
fn what_is_not_plainly_the_range_is_unusual() {
    use Unusual::*;
    let cases: &[(&str, &[&str], Unusual)] = &[
        ("206 P", &["Content-Range: bytes 0-4095/20000", LENGTH], WrongRange),
        ("206 P", &["Content-Range: bytes 4096-8192/20000", LENGTH], WrongRange),
        ("206 P", &["Content-Range: bytes 4096-8191/8000", LENGTH], WrongRange),
        ("206 P", &["Content-Range: bytes 4096-+8191/20000", LENGTH], WrongRange),
        ("206 P", &["Content-Range: bytes 8191-4096/20000", LENGTH], WrongRange),
        ("206 P", &["Content-Range: pages 4096-8191/20000", LENGTH], WrongRange),
        ("206 P", &["Content-Range: bytes */20000", LENGTH], WrongRange),
        ("206 P", &["Content-Range: bytes 4096-18446744073709551616/*", LENGTH], WrongRange),
        ("206 P", &["Content-Type: multipart/byteranges; boundary=x", LENGTH], WrongRange),
        ("206 P", &["Content-Range: bytes 4096-4999/5000", "Content-Length: 904"], PastEnd),
        ("206 P", &[RANGE], WrongLength),
        ("206 P", &[RANGE, "Content-Length: 4095"], WrongLength),
        ("206 P", &[RANGE, "Content-Length: 4097"], WrongLength),
        ("206 P", &[RANGE, LENGTH, "Content-Encoding: gzip"], Encoded),
        ("206 P", &[RANGE, "Transfer-Encoding: chunked"], Encoded),
        ("206 P", &[RANGE, LENGTH, "Transfer-Encoding: chunked"], Encoded),
        ("200 OK", &["Content-Length: 20000"], Whole),
        ("301 Moved", &["Location: http://other/"], Redirect(301)),
        ("307 Temporary", &["Content-Length: 0"], Redirect(307)),
        ("401 Unauthorized", &[], Forbidden),
        ("403 Forbidden", &[], Forbidden),
        ("404 Not Found", &[], Missing),
        ("410 Gone", &[], Missing),
        ("416 Range", &["Content-Range: bytes */100"], PastEnd),
        ("100 Continue", &[], Status(100)),
        ("204 No Content", &[], Status(204)),
        ("418 Teapot", &[], Status(418)),
        ("999 Odd", &[], Status(999)),
    ];
    for (status, headers, why) in cases {
        assert_eq!(
            answer_of(status, headers),
            Answer::Unusual(why.clone()),
            "{status} {headers:?}"
        );
        assert!(why.to_string().len() > 5);
    }
}

#[test]
fn contradictions_and_what_is_not_http_end_the_connection() {
    let twice = head("206 P", &[RANGE, LENGTH, "Content-Length: 4097"]);
    let ranges = head("206 P", &[RANGE, LENGTH, "Content-Range: bytes 0-1/2"]);
    let signed = head("206 P", &[RANGE, "Content-Length: +4096"]);
    let odd = "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned();
    let other = "HTTP/2.0 206 P\r\n\r\n".to_owned();
    for text in [twice, ranges, signed, odd, other, "\0\0\0\0\r\n".into(), "HTTP/1.1 2x6".into()] {
        assert_eq!(parsed(&text), Head::last(Unusual::Malformed), "{text}");
    }
}

#[test]
fn long_heads_end_the_connection() {
    let many = head("206 P", &["a: b"; HTTP_HEADERS_MAX + 1]);
    assert_eq!(parsed(&many), Head::last(Unusual::LongHead));
    let mut long = head("206 P", &[RANGE]);
    long.truncate(long.len() - 2);
    long.push_str("x: ");
    long.push_str(&"y".repeat(HTTP_HEAD_BYTES_MAX - long.len() - 1));
    assert_eq!(parse(long.as_bytes(), ASKED), None);
    long.push('y');
    assert_eq!(parsed(&long), Head::last(Unusual::LongHead));
    long.push_str(&"y".repeat(10 * HTTP_HEAD_BYTES_MAX));
    assert_eq!(parsed(&long), Head::last(Unusual::LongHead));
}

#[test]
fn refusals_of_the_moment_say_how_long_to_wait() {
    let second = 1_000_000_000;
    let cases = [
        ("503 Slow Down", "Retry-After: 2", 2 * second),
        ("429 Too Many", "retry-after: 1", second),
        ("500 Internal", "x: y", 0),
        ("502 Bad Gateway", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("504 Timeout", "Retry-After: -1", 0),
        ("408 Timeout", "Retry-After: 99999999999999", HTTP_RETRY_AFTER_NS_MAX),
        ("503 Slow Down", "Retry-After: 99999999999999999999999", 0),
    ];
    for (status, header, wait) in cases {
        let code = status[..3].parse().unwrap();
        let expected = Answer::Refused { status: code, wait };
        assert_eq!(answer_of(status, &[header]), expected, "{status} {header}");
    }
}

#[test]
fn a_connection_lives_on_behind_a_body_that_is_known() {
    let length = format!("Content-Length: {HTTP_DISCARD_BYTES_MAX}");
    let longer = format!("Content-Length: {}", HTTP_DISCARD_BYTES_MAX + 1);
    let cases: &[(&str, &[&str], bool)] = &[
        ("206 P", &[RANGE, LENGTH], true),
        ("206 P", &[RANGE, LENGTH, "Connection: Keep-Alive"], true),
        ("206 P", &[RANGE, LENGTH, "Connection: close"], false),
        ("206 P", &[RANGE, LENGTH, "Connection: a, Close"], false),
        ("503 Slow Down", &["Content-Length: 0"], true),
        ("503 Slow Down", &[&length], true),
        ("503 Slow Down", &[&longer], false),
        ("503 Slow Down", &["Transfer-Encoding: chunked"], false),
        ("503 Slow Down", &["Content-Length: 5", "Transfer-Encoding: chunked"], false),
        ("503 Slow Down", &[], false),
        ("304 Not Modified", &["Content-Length: 4096"], true),
    ];
    for (status, headers, keep) in cases {
        let head = parsed(&head(status, headers));
        assert_eq!(head.keep, *keep, "{status} {headers:?}");
        assert!(head.body.is_some() || !head.keep, "{status} {headers:?}");
    }
    let old = head("206 P", &[RANGE, LENGTH]).replace("HTTP/1.1", "HTTP/1.0");
    assert!(!parsed(&old).keep && parsed(&old).answer == Answer::Range);
    let kept = old.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n");
    assert!(parsed(&kept).keep);
}
