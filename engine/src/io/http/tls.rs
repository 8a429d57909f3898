//! TLS of a connection, as buffers: what arrived goes in, what is to be sent and what was sent to
//! us come out.

use std::sync::{Arc, Once, OnceLock};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, RootCertStore};

use crate::io::http::input::Input;
use crate::limits::{HTTP_HEAD_ROOM_BYTES, TLS_OVERHEAD_BYTES, TLS_RECORD_BYTES_MAX};
use crate::types::error::ErrorKind;
use crate::types::{Error, Result};

/// Whom the system trusts, or else those whom the environment of this process names.
pub(crate) fn system_roots() -> RootCertStore {
    system().0.clone()
}

/// Logs, once, what could not be read of these: trust of the others may be enough.
pub(crate) fn tell_untrusted() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let (roots, errors) = system();
        let none = roots.is_empty().then(|| "there are none".to_owned());
        for what in errors.iter().chain(&none) {
            log::warn!(
                "trusted certificates, of the system or of SSL_CERT_FILE and SSL_CERT_DIR: {what}"
            );
        }
    });
}

fn system() -> &'static (RootCertStore, Vec<String>) {
    static SYSTEM: OnceLock<(RootCertStore, Vec<String>)> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let system = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system.certs);
        (roots, system.errors.iter().map(ToString::to_string).collect())
    })
}

/// Whom a shard trusts: made once, shared by all endpoints, so that connections can resume what
/// others agreed on.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The system's certificates and `more`.
    ///
    /// # Errors
    /// `Unsupported` if there are none at all.
    pub fn new(more: &[CertificateDer<'_>]) -> Result<Self> {
        let mut roots = system_roots();
        roots.add_parsable_certificates(more.iter().cloned());
        if roots.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "https needs trusted certificates and the system has none: install them (apt-get \
                 install ca-certificates) or name a file of them in SSL_CERT_FILE",
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::new(ErrorKind::Unsupported, format!("TLS: {e}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Else a server might speak HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// What an https endpoint must prove.
#[derive(Clone, Debug)]
pub struct Tls {
    trust: Trust,
    name: ServerName<'static>,
}

impl Tls {
    /// The server must have a certificate for `name`, a name or an address without a port.
    ///
    /// # Errors
    /// `Invalid` for what is neither.
    pub fn new(trust: &Trust, name: &str) -> Result<Self> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|e| Error::invalid(format!("{name:?} is no name of a server: {e}")))?;
        Ok(Self { trust: trust.clone(), name })
    }

    /// The beginning of a session.
    pub(crate) fn session(&self) -> std::result::Result<Session, rustls::Error> {
        let connection = UnbufferedClientConnection::new(self.trust.0.clone(), self.name.clone())?;
        Ok(Session { connection, input: Input::default(), request: Vec::new() })
    }
}

/// The TLS side of one connection.
pub(crate) struct Session {
    connection: UnbufferedClientConnection,
    /// As it arrived, from the first record on that is not whole.
    pub(crate) input: Input,
    // To be sent once the handshake allows it.
    request: Vec<u8>,
}

impl Session {
    /// Takes a request over, and makes room for an answer of so many bytes.
    pub(crate) fn ask(&mut self, request: &[u8], answer_bytes: usize) {
        self.request.extend_from_slice(request);
        self.input.make_room(HTTP_HEAD_ROOM_BYTES + answer_bytes + TLS_OVERHEAD_BYTES);
    }

    /// Goes on as far as what arrived allows: what it says goes to `plain`, what is to be sent to
    /// `out`.
    pub(crate) fn advance(
        &mut self,
        out: &mut Vec<u8>,
        plain: &mut Input,
    ) -> std::result::Result<(), rustls::Error> {
        let mut more = true;
        while more {
            let UnbufferedStatus { discard, state, .. } =
                self.connection.process_tls_records(self.input.bytes_mut());
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        plain.push(record?.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(out, TLS_RECORD_BYTES_MAX, |room| data.encode(room))?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(mut traffic) if !self.request.is_empty() => {
                    let room = self.request.len() + TLS_OVERHEAD_BYTES;
                    append(out, room, |room| traffic.encrypt(&self.request, room))?;
                    self.request.clear();
                }
                // It needs more bytes, or the peer has said its last.
                _ => more = false,
            }
            self.input.discard(discard);
        }
        if self.input.room().is_empty() {
            // A record that is not whole yet.
            self.input.make_room(TLS_RECORD_BYTES_MAX);
        }
        Ok(())
    }
}

// Appends what `write` writes into that much room.
fn append<E: ToString>(
    out: &mut Vec<u8>,
    room: usize,
    write: impl FnOnce(&mut [u8]) -> std::result::Result<usize, E>,
) -> std::result::Result<(), rustls::Error> {
    let start = out.len();
    out.resize(start + room, 0);
    let written = write(&mut out[start..]).map_err(|e| rustls::Error::General(e.to_string()))?;
    out.truncate(start + written);
    Ok(())
}

#[cfg(test)]
#[path = "tls_tests.rs"]
pub(crate) mod tests;
