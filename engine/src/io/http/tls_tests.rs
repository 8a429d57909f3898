use std::io::{Read, Write};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::io::http::connection::{Connection, End, Keep, Step};
use crate::io::http::response::{Answer, Asked};
use crate::io::http::target::tests::target;

/// The configuration of a server that proves to be `name`, and its certificate.
pub(crate) fn server(name: &str) -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (Arc::new(config), certificate)
}

const ASKED: Asked = Asked { offset: 0, bytes: 40_000 };

/// A client and a server, with what goes between them in hand.
struct Pair {
    client: Connection,
    server: ServerConnection,
    // How many bytes arrive at once.
    most: usize,
}

impl Pair {
    fn new(trusted: bool, name: &str, most: usize) -> Self {
        let (config, certificate) = server("store.example");
        let (_, other) = server("store.example");
        let trust = Trust::new(&[if trusted { certificate } else { other }]).unwrap();
        let session = Tls::new(&trust, name).unwrap().session().unwrap();
        let client = Connection::new(Some(session));
        Self { client, server: ServerConnection::new(config).unwrap(), most }
    }

    /// One request and its end; the server answers with `answer`.
    fn ask(&mut self, answer: &[u8]) -> End {
        self.client.ask(&target("/a").unwrap(), ASKED).unwrap();
        if self.client.step() == Step::Connect {
            self.client.connected();
        }
        let mut asked = Vec::new();
        loop {
            if self.client.step() == Step::Exchange {
                let mut sent = self.client.outgoing();
                while !sent.is_empty() {
                    self.server.read_tls(&mut sent).unwrap();
                    let _refused = self.server.process_new_packets();
                }
                let mut piece = [0; 4096];
                while let Ok(bytes) = self.server.reader().read(&mut piece) {
                    asked.extend_from_slice(&piece[..bytes]);
                    if bytes == 0 {
                        break;
                    }
                }
                if asked.ends_with(b"\r\n\r\n") {
                    asked.clear();
                    self.server.writer().write_all(answer).unwrap();
                }
            }
            let mut wire = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut wire).unwrap();
            }
            let mut wire = &wire[..];
            while !wire.is_empty() {
                let room = self.client.room();
                let bytes = wire.len().min(self.most).min(room.len());
                assert!(bytes > 0, "no room");
                room[..bytes].copy_from_slice(&wire[..bytes]);
                wire = &wire[bytes..];
                if let Some(end) = self.client.received(bytes) {
                    assert!(wire.is_empty() || matches!(end, End::Tls(..)));
                    return end;
                }
                if self.client.step() == Step::Exchange {
                    assert!(wire.is_empty() || self.most < 1000, "it sends before it has all");
                }
            }
        }
    }
}

#[test]
fn a_trusted_server_is_understood_in_any_pieces() {
    let body: Vec<u8> = (0..40_000_u32).map(|i| (i % 251) as u8).collect();
    let head = "HTTP/1.1 206 P\r\nContent-Range: bytes 0-39999/50000\r\n\
                Content-Length: 40000\r\n\r\n";
    let answer = [head.as_bytes(), &body].concat();
    for most in [7, 1000, usize::MAX] {
        let mut pair = Pair::new(true, "store.example", most);
        for _ in 0..3 {
            assert_eq!(pair.ask(&answer), End::Answer(Answer::Range, Keep::Yes), "{most}");
            assert_eq!(pair.client.body(), body);
        }
    }
}

#[test]
fn who_is_not_trusted_gets_no_request() {
    for (trusted, name) in [(false, "store.example"), (true, "other.example")] {
        let mut pair = Pair::new(trusted, name, usize::MAX);
        let End::Tls(why, true) = pair.ask(b"") else { panic!("it was trusted") };
        assert!(why.contains("certificate"), "{why}");
    }
}

#[test]
fn what_is_not_tls_is_no_answer() {
    let mut pair = Pair::new(true, "store.example", usize::MAX);
    pair.client.ask(&target("/a").unwrap(), ASKED).unwrap();
    pair.client.connected();
    let plain = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    pair.client.room()[..plain.len()].copy_from_slice(plain);
    let end = pair.client.received(plain.len());
    assert!(matches!(end, Some(End::Tls(_, false))), "{end:?}");
}

#[test]
fn a_name_of_a_server_is_checked() {
    let (_, certificate) = server("store.example");
    let trust = Trust::new(&[certificate]).unwrap();
    assert!(Tls::new(&trust, "127.0.0.1").is_ok());
    assert!(Tls::new(&trust, "store.example:443").is_err());
}
