use super::*;
use crate::io::test_support::check_golden;

const GOLDEN: &[u8] = include_bytes!("../../testdata/conversation-v1.bin");
const SECRET: &[u8] = b"0123456789abcdef";

type Ends = ((Sealer, Opener), (Sealer, Opener));

/// The keys of an engine and of a compactor, who greeted with these numbers.
fn ends(engine: &[u8], compactor: &[u8], random: u8) -> Ends {
    let greetings = (greeting([random; RANDOM_BYTES]), greeting([random + 1; RANDOM_BYTES]));
    let of =
        |secret: &[u8], side| keys(&Secret::new(secret).unwrap(), side, &greetings.0, &greetings.1);
    (of(engine, Side::Engine), of(compactor, Side::Compactor))
}

fn body(frame: &[u8]) -> Sealed {
    let (head, body) = frame.split_first_chunk().unwrap();
    assert_eq!(sealed_bytes(*head).unwrap(), body.len());
    Sealed(body.to_vec())
}

/// Both greetings, and the first frame of each side.
#[test]
fn a_conversation_is_written_and_read_as_ever() {
    let ((mut asks, mut hears), (mut answers, mut listens)) = ends(SECRET, SECRET, 1);
    let greetings = [greeting([1; RANDOM_BYTES]), greeting([2; RANDOM_BYTES])];
    let frames = [asks.seal(b"asked").unwrap(), answers.seal(b"answered").unwrap()];
    check_golden("conversation-v1.bin", GOLDEN, &[greetings.concat(), frames.concat()].concat());
    let (asked, answered) = GOLDEN[2 * GREETING_BYTES..].split_at(HEAD_BYTES + 5 + TAG_BYTES);
    assert_eq!(listens.open(body(asked)).unwrap(), b"asked");
    assert_eq!(hears.open(body(answered)).unwrap(), b"answered");
}

#[test]
fn frames_open_in_their_order_on_the_other_side() {
    let ((mut seals, mut opens), (mut answers, mut hears)) = ends(SECRET, SECRET, 1);
    for text in [&b"first"[..], b"", b"third"] {
        let frame = seals.seal(text).unwrap();
        assert!(!frame.windows(5).any(|part| part == b"first" || part == b"third"));
        assert_eq!(hears.open(body(&frame)).unwrap(), text);
        assert_eq!(opens.open(body(&answers.seal(text).unwrap())).unwrap(), text);
    }
}

#[test]
fn who_has_another_secret_opens_nothing() {
    let ((mut seals, _), (_, mut hears)) = ends(SECRET, b"0123456789abcdeF", 1);
    let error = hears.open(body(&seals.seal(b"text").unwrap())).unwrap_err();
    assert!(error.text.contains("the secrets differ"), "{error}");
}

#[test]
fn a_frame_that_was_repeated_left_out_or_sent_back_does_not_open() {
    let ((mut seals, mut opens), (_, mut hears)) = ends(SECRET, SECRET, 1);
    let frames = [(); 3].map(|()| seals.seal(b"text").unwrap());
    assert!(opens.open(body(&frames[0])).is_err(), "sent back");
    hears.open(body(&frames[0])).unwrap();
    assert!(hears.open(body(&frames[0])).is_err(), "repeated");
    let ((mut seals, _), (_, mut hears)) = ends(SECRET, SECRET, 1);
    seals.seal(b"lost").unwrap();
    assert!(hears.open(body(&seals.seal(b"text").unwrap())).is_err(), "left out");
}

#[test]
fn a_frame_of_another_connection_does_not_open() {
    let ((mut seals, _), _) = ends(SECRET, SECRET, 1);
    let (_, (_, mut hears)) = ends(SECRET, SECRET, 3);
    assert!(hears.open(body(&seals.seal(b"text").unwrap())).is_err());
}

#[test]
fn every_changed_bit_and_every_lost_byte_is_seen() {
    let ((mut seals, _), _) = ends(SECRET, SECRET, 1);
    let Sealed(whole) = body(&seals.seal(b"some text").unwrap());
    let opens = |bytes: Vec<u8>| ends(SECRET, SECRET, 1).1.1.open(Sealed(bytes)).is_ok();
    assert!(opens(whole.clone()));
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(changed), "bit {bit}");
    }
    for len in 0..whole.len() {
        assert!(!opens(whole[..len].to_vec()), "{len} bytes");
    }
}

#[test]
fn a_length_is_checked_before_memory_is_taken() {
    for bytes in [0, TAG_BYTES as u32 - 1, FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
        assert!(sealed_bytes(bytes.to_le_bytes()).is_err(), "{bytes}");
    }
    let ((mut seals, _), _) = ends(SECRET, SECRET, 1);
    assert!(seals.seal(&vec![0; FRAME_BYTES_MAX - TAG_BYTES]).is_ok());
    let error = seals.seal(&vec![0; FRAME_BYTES_MAX - TAG_BYTES + 1]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
}

#[test]
fn strangers_and_other_versions_are_told_apart() {
    let mut bytes = greeting([7; RANDOM_BYTES]);
    check_greeting(&bytes).unwrap();
    bytes[MAGIC.len()] = 9;
    let error = check_greeting(&bytes).unwrap_err();
    assert!(error.text.contains("speaks version 9 and this one 1"), "{error}");
    bytes[..4].copy_from_slice(b"HTTP");
    assert!(check_greeting(&bytes).unwrap_err().text.contains("address and port"));
}

#[test]
fn a_secret_is_long_and_cannot_be_printed() {
    assert!(Secret::new(b"  0123456789abcde \n").unwrap_err().text.contains("openssl rand"));
    let secret = Secret::new(b" 0123456789abcdef\n").unwrap();
    assert_eq!(format!("{secret:?}"), "Secret");
    // White space around it is no part of it.
    let greetings = [greeting([1; RANDOM_BYTES]), greeting([2; RANDOM_BYTES])];
    let (mut seals, _) = keys(&secret, Side::Engine, &greetings[0], &greetings[1]);
    let same = Secret::new(SECRET).unwrap();
    let (_, mut hears) = keys(&same, Side::Compactor, &greetings[0], &greetings[1]);
    assert_eq!(hears.open(body(&seals.seal(b"x").unwrap())).unwrap(), b"x");
}
