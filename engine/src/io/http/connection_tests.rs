use super::*;
use crate::io::http::target::tests::target;

const ASKED: Asked = Asked { offset: 4096, bytes: 4096 };

fn answer(body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4096-8191/20000\r\n\
                Content-Length: 4096\r\n\r\n";
    [head.as_bytes(), body].concat()
}

fn body() -> Vec<u8> {
    (0..4096).map(|i| (i % 251) as u8).collect()
}

/// A connection that has connected and sent its request.
fn asked() -> Connection {
    let mut connection = Connection::new(None);
    connection.ask(&target("/a").unwrap(), ASKED).unwrap();
    assert_eq!(connection.step(), Step::Connect);
    connection.connected();
    assert_eq!(connection.step(), Step::Exchange);
    assert!(connection.outgoing().starts_with(b"GET /a HTTP/1.1\r\n"));
    connection
}

/// Lets bytes arrive, as many at once as `most` and the room allow.
fn arrive(connection: &mut Connection, mut bytes: &[u8], most: usize) -> Option<End> {
    loop {
        let room = connection.room();
        let count = bytes.len().min(most).min(room.len());
        assert!(count > 0, "no end though all arrived");
        room[..count].copy_from_slice(&bytes[..count]);
        bytes = &bytes[count..];
        let end = connection.received(count);
        if end.is_some() || bytes.is_empty() {
            return end;
        }
    }
}

#[test]
fn an_answer_may_arrive_in_any_pieces() {
    for most in [1, 2, 100, 1000, usize::MAX] {
        let mut connection = asked();
        let end = arrive(&mut connection, &answer(&body()), most);
        assert_eq!(end, Some(End::Answer(Answer::Range, Keep::Yes)), "{most}");
        assert_eq!(connection.body(), body());
        // And the next one.
        connection.ask(&target("/b").unwrap(), ASKED).unwrap();
        assert_eq!(connection.step(), Step::Exchange);
        let end = arrive(&mut connection, &answer(&body()), most);
        assert_eq!(end, Some(End::Answer(Answer::Range, Keep::Yes)), "{most}");
    }
}

#[test]
fn the_rest_of_a_body_is_received_at_once() {
    let mut connection = asked();
    let bytes = answer(&body());
    assert_eq!(arrive(&mut connection, &bytes[..200], usize::MAX), None);
    assert_eq!(connection.step(), Step::Receive { all: true });
    assert_eq!(connection.room().len(), bytes.len() - 200);
    assert_eq!(
        arrive(&mut connection, &bytes[200..], usize::MAX),
        Some(End::Answer(Answer::Range, Keep::Yes))
    );
}

#[test]
fn bytes_that_nobody_asked_for_end_the_connection() {
    let mut connection = asked();
    let end = arrive(&mut connection, &answer(&[&body()[..], b"HTTP/1.1"].concat()), usize::MAX);
    assert_eq!(end, Some(End::Answer(Answer::Range, Keep::No)));
    assert_eq!(connection.body(), body());
}

#[test]
fn a_refusal_keeps_its_connection() {
    let mut connection = asked();
    let refusal = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\nRetry-After: 1\r\n\r\nslow";
    let refused = Answer::Refused { status: 503, wait: 1_000_000_000 };
    let end = arrive(&mut connection, refusal, 7);
    assert_eq!(end, Some(End::Answer(refused, Keep::Yes)));
}

#[test]
fn only_a_used_connection_that_said_nothing_is_stale() {
    let mut connection = asked();
    assert_eq!(connection.received(0), Some(End::Closed));
    assert!(!connection.is_stale(), "it is new");
    let mut connection = asked();
    arrive(&mut connection, &answer(&body()), usize::MAX).unwrap();
    connection.ask(&target("/b").unwrap(), ASKED).unwrap();
    assert!(connection.is_stale());
    assert_eq!(arrive(&mut connection, &answer(&body())[..100], usize::MAX), None);
    assert_eq!(connection.received(0), Some(End::Closed));
    assert!(!connection.is_stale(), "it began to answer");
}

#[test]
fn a_long_head_takes_bounded_room() {
    let mut connection = asked();
    let mut bytes = b"HTTP/1.1 206 P\r\nx: ".to_vec();
    bytes.resize(10 * crate::limits::HTTP_HEAD_BYTES_MAX, b'y');
    let end = arrive(&mut connection, &bytes, 1000);
    assert_eq!(end, Some(End::Answer(Answer::Unusual(response::Unusual::LongHead), Keep::No)));
    let room = connection.input.bytes().len() + connection.input.room().len();
    assert!(room < 2 * crate::limits::HTTP_HEAD_BYTES_MAX + 8192, "{room}");
}
