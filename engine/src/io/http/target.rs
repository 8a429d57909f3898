//! Where an object is got: a server, and the path to ask it for. The path carries its own
//! permission (a presigned url), so no request is signed.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::io::http::tls::Tls;
use crate::limits::{ENDPOINT_IN_FLIGHT_MAX, HTTP_IN_FLIGHT_MIN, HTTP_TARGET_BYTES_MAX};
use crate::types::{Error, Nanos, Result};

/// A server, or several behind one name. Shared by the targets on it: a shard keeps its connections
/// by the endpoint.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) addresses: Vec<SocketAddr>,
    /// As the header `Host` has it: a name and, where it is not the scheme's, a port.
    pub(crate) host: String,
    pub(crate) tls: Option<Tls>,
    // Shards that ask it at the moment.
    shards: AtomicUsize,
}

impl Endpoint {
    /// The servers at `addresses`, which go by the name `host`; `tls` for https.
    ///
    /// # Errors
    /// `Invalid` without an address, or for a host that no header can carry.
    pub fn new(addresses: Vec<SocketAddr>, host: &str, tls: Option<Tls>) -> Result<Arc<Self>> {
        if addresses.is_empty() {
            return Err(Error::invalid(format!("{host:?} has no address: see that it resolves")));
        }
        if !is_plain(host) {
            return Err(Error::invalid(format!("{host:?} is no name of a host")));
        }
        let shards = AtomicUsize::new(0);
        Ok(Arc::new(Self { addresses, host: host.to_owned(), tls, shards }))
    }

    /// A shard begins to ask it.
    pub(crate) fn join(&self) {
        self.shards.fetch_add(1, Ordering::Relaxed);
    }

    /// A shard asks it no more.
    pub(crate) fn leave(&self) {
        self.shards.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests that each of the shards which ask it may have in flight.
    pub(crate) fn share(&self) -> usize {
        let shards = self.shards.load(Ordering::Relaxed).max(1);
        (ENDPOINT_IN_FLIGHT_MAX / shards).max(HTTP_IN_FLIGHT_MIN)
    }
}

/// What to ask an endpoint for.
pub struct Target {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) path_and_query: String,
    pub(crate) expires: Nanos,
    // It brought something once: what it does not bring then is not for a fault of its own.
    served: AtomicBool,
}

impl Target {
    /// `path_and_query` at `endpoint`, which answers it until `expires` on the engine's clock;
    /// `Nanos::MAX` for ever.
    ///
    /// # Errors
    /// `Invalid` for a path that would not stay one word of a request. The error does not repeat
    /// it: it may be secret.
    pub fn new(endpoint: Arc<Endpoint>, path_and_query: String, expires: Nanos) -> Result<Self> {
        let fits = path_and_query.len() <= HTTP_TARGET_BYTES_MAX;
        if !path_and_query.starts_with('/') || !is_plain(&path_and_query) || !fits {
            return Err(Error::invalid(format!(
                "an object's path at {} does not begin with /, has a blank, a control character \
                 or one beyond ASCII, or is longer than {HTTP_TARGET_BYTES_MAX} bytes: escape it \
                 as %20 and the like",
                endpoint.host
            )));
        }
        Ok(Self { endpoint, path_and_query, expires, served: AtomicBool::new(false) })
    }

    /// It brought something.
    pub(crate) fn serve(&self) {
        if !self.has_served() {
            self.served.store(true, Ordering::Relaxed);
        }
    }

    /// True if it brought something.
    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }
}

/// The query of a target is a secret.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        write!(f, "Target({}{path})", self.endpoint.host)
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
#[path = "target_tests.rs"]
pub(crate) mod tests;
