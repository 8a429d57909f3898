//! Where a shard gets an object by itself: at a url that carries its own permission, so that no
//! request is signed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;

use crate::io::clock;
use crate::io::http::target::{Endpoint, Target};
use crate::io::http::tls::{Tls, Trust};
use crate::io::remote::error::plain;
use crate::io::remote::store::Store;
use crate::io::remote::{Client, Remote};
use crate::limits::{REMOTE_NAME_S, REMOTE_TARGET_S, REMOTE_TARGET_SPARE_S};
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, ObjectName, Result};

const NS_PER_S: u64 = 1_000_000_000;

/// The servers of a store, as its urls name them.
#[derive(Debug)]
pub(super) struct Endpoints {
    known: Mutex<Vec<Known>>,
    proxies: Matcher,
    // It was told why shards read nothing by themselves.
    told: AtomicBool,
}

#[derive(Debug)]
struct Known {
    base: String,
    endpoint: Arc<Endpoint>,
    looked_up: Nanos,
}

impl Endpoints {
    /// None is known.
    pub(super) fn new() -> Self {
        let (known, told) = (Mutex::default(), AtomicBool::new(false));
        Self { known, proxies: Matcher::from_env(), told }
    }

    // The server of a url. Its name is looked up again now and then; while it says the same, the
    // endpoint stays the same, and with it the connections of shards.
    async fn of(&self, url: &http::Uri) -> Result<Arc<Endpoint>> {
        if self.proxies.intercept(url).is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "a proxy stands before it"));
        }
        let (Some(authority), Some(scheme)) = (url.authority(), url.scheme_str()) else {
            return Err(Error::invalid("the store's client made a url without a server"));
        };
        let base = format!("{scheme}://{authority}");
        let now = clock::now();
        let fresh = |known: &&Known| now - known.looked_up < REMOTE_NAME_S * NS_PER_S;
        if let Some(known) = self.find(&base).as_ref().filter(fresh) {
            return Ok(known.endpoint.clone());
        }
        let https = scheme == "https";
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|e| Error::io(format!("looking up {host}"), &e))?;
        let addresses = of_one_family(found.collect());
        let old = self.find(&base).map(|known| known.endpoint);
        let endpoint = match old.filter(|old| old.addresses == addresses) {
            Some(endpoint) => endpoint,
            None => {
                let tls = if https { Some(Tls::new(&trust()?, host)?) } else { None };
                Endpoint::new(addresses, authority.as_str(), tls)?
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.base != base);
        known.push(Known { base, endpoint: endpoint.clone(), looked_up: now });
        Ok(endpoint)
    }

    fn find(&self, base: &str) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|known| known.base == base)?;
        let (base, endpoint) = (found.base.clone(), found.endpoint.clone());
        Some(Known { base, endpoint, looked_up: found.looked_up })
    }
}

// The resolver has the family that the machine can use first; the order within says nothing.
fn of_one_family(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    addresses.retain(|address| address.is_ipv4() == first_is_v4);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

// Whom this process trusts.
fn trust() -> Result<Trust> {
    static TRUST: OnceLock<Result<Trust>> = OnceLock::new();
    TRUST.get_or_init(|| Trust::new(&[])).clone()
}

impl Remote {
    /// Where a shard gets an object by itself; `None` if the store gives no such permission or
    /// cannot be reached so, which is logged once.
    pub(crate) fn target(
        &self,
        name: ObjectName,
    ) -> impl Future<Output = Option<Arc<Target>>> + Send + 'static {
        let client = self.client.clone();
        async move {
            let Client::Store(store) = &*client else { return None };
            let made = store.target(name).await;
            if let Err(why) = &made
                && !store.endpoints.told.swap(true, Ordering::Relaxed)
            {
                log::info!("{}: one thread reads for all shards: {why}", store.label);
            }
            made.ok().map(Arc::new)
        }
    }
}

impl Store {
    async fn target(&self, name: ObjectName) -> Result<Target> {
        let client = self.client().await?;
        let expires = clock::now() + (REMOTE_TARGET_S - REMOTE_TARGET_SPARE_S) * NS_PER_S;
        // It ends with the credentials that signed it.
        let expires = client.expires.map_or(expires, |end| end.min(expires));
        let valid = Duration::from_secs(REMOTE_TARGET_S);
        let signed = client.operator.presign_read(&name.to_string(), valid).await;
        let signed = signed.map_err(|e| {
            Error::new(ErrorKind::Unsupported, format!("no url is signed: {}", plain(e.message())))
        })?;
        if signed.header().keys().any(|header| header != http::header::HOST) {
            return Err(Error::new(ErrorKind::Unsupported, "its urls need headers beside them"));
        }
        let endpoint = self.endpoints.of(signed.uri()).await?;
        let path = signed.uri().path_and_query().map(ToString::to_string);
        Target::new(endpoint, path.unwrap_or_default(), expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_that_comes_first_is_used_alone_and_the_order_within_says_nothing() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let [a, b, c] = ["10.0.0.2:1", "[::1]:1", "10.0.0.1:1"].map(parse);
        assert_eq!(of_one_family(vec![a, b, c, a]), [c, a]);
        assert_eq!(of_one_family(vec![b, a]), [b]);
        assert_eq!(of_one_family(Vec::new()), []);
    }
}
