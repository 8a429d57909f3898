//! Where a shard gets an object by itself: at a url that carries its own permission, so that no
//! request is signed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;

use crate::io::clock;
use crate::io::host::{Host, SignedUrl};
use crate::io::http::target::{Endpoint, Target};
use crate::io::http::tls::{Tls, Trust};
use crate::io::remote::clients::on_own_clock;
use crate::io::remote::error::plain;
use crate::io::remote::place::is_loopback;
use crate::io::remote::store::Store;
use crate::io::remote::{Client, Remote};
use crate::limits::{
    CREDENTIALS_SPARE_S, HOST_URL_BYTES_MAX, HOST_URL_SPARE_DIVISOR, REMOTE_NAME_S,
    REMOTE_SERVERS_MAX, REMOTE_TARGET_SPARE_S,
};
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, ObjectName, Result};

const NS_PER_S: u64 = 1_000_000_000;

/// The servers of a root, as its urls name them.
#[derive(Debug)]
pub(super) struct Endpoints {
    known: Mutex<Vec<Known>>,
    proxies: Matcher,
    // It was told why shards read nothing by themselves.
    told: AtomicBool,
    // A host may name others than this machine that are reached unencrypted.
    plaintext: bool,
}

#[derive(Debug)]
struct Known {
    base: String,
    endpoint: Arc<Endpoint>,
    looked_up: Nanos,
}

impl Endpoints {
    /// None is known.
    pub(super) fn new(plaintext: bool) -> Self {
        let (known, told) = (Mutex::default(), AtomicBool::new(false));
        Self { known, proxies: Matcher::from_env(), told, plaintext }
    }

    async fn target(&self, url: &http::Uri, expires: Nanos) -> Result<Target> {
        let endpoint = self.of(url).await?;
        let path = url.path_and_query().map(ToString::to_string);
        Target::new(endpoint, path.unwrap_or_default(), expires)
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
        if known.len() == REMOTE_SERVERS_MAX {
            known.remove(0);
        }
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
    /// Where a shard gets an object by itself; `None` if store or host give no such permission, or
    /// none that can be used, which is logged once.
    pub(crate) fn target(
        &self,
        name: ObjectName,
    ) -> impl Future<Output = Option<Arc<Target>>> + Send + 'static {
        let (client, endpoints) = (self.client.clone(), self.endpoints.clone());
        async move {
            let (label, made) = match &*client {
                Client::Store(store) => {
                    (&store.label, store.target(&endpoints, name).await.map(Some))
                }
                Client::Host(host) => (&host.label, host.target(&endpoints, name).await),
            };
            if let Err(why) = &made
                && !endpoints.told.swap(true, Ordering::Relaxed)
            {
                log::info!("{label}: shards do not read by themselves: {why}");
            }
            made.ok().flatten().map(Arc::new)
        }
    }
}

impl Store {
    pub(super) async fn target(&self, endpoints: &Endpoints, name: ObjectName) -> Result<Target> {
        let client = self.client().await?;
        let expires = clock::now() + (self.urls_s - REMOTE_TARGET_SPARE_S) * NS_PER_S;
        // It ends with the credentials that signed it.
        let expires = client.expires.map_or(expires, |end| end.min(expires));
        let valid = Duration::from_secs(self.urls_s);
        let signed = client.operator.presign_read(&name.to_string(), valid).await;
        let signed = signed.map_err(|e| {
            Error::new(ErrorKind::Unsupported, format!("no url is signed: {}", plain(e.message())))
        })?;
        if signed.header().keys().any(|header| header != http::header::HOST) {
            return Err(Error::new(ErrorKind::Unsupported, "its urls need headers beside them"));
        }
        endpoints.target(signed.uri(), expires).await
    }
}

impl Host {
    async fn target(&self, endpoints: &Endpoints, name: ObjectName) -> Result<Option<Target>> {
        let Some(signed) = self.url(name).await? else { return Ok(None) };
        let (url, expires) = checked(&signed, endpoints.plaintext)?;
        endpoints.target(&url, expires).await.map(Some)
    }
}

// What a host signed may be anything: a url that shards can and may ask, and when they stop to do
// so. Errors show none of it.
fn checked(signed: &SignedUrl, plaintext: bool) -> Result<(http::Uri, Nanos)> {
    let wrong = |why: &str| Error::invalid(format!("the url that the host signed {why}"));
    let text = signed.url.expose();
    if text.len() > HOST_URL_BYTES_MAX {
        return Err(wrong(&format!("has more than {HOST_URL_BYTES_MAX} bytes")));
    }
    let url: http::Uri = text.parse().map_err(|_| wrong("is none"))?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (url.scheme_str(), url.authority())
    else {
        return Err(wrong("is not of http:// or https:// and a server"));
    };
    let port = authority.port().map_or_else(String::new, |port| format!(":{port}"));
    if authority.as_str() != format!("{}{port}", authority.host()) || text.contains('#') {
        return Err(wrong("has a user name, a fragment or a port that is none"));
    }
    if scheme == "http" && !plaintext && !is_loopback(authority.as_str()) {
        return Err(wrong(
            "is of http: on another machine, and everybody on the way reads the state: sign urls \
             of https, or add plaintext=allowed to the DFS url where the network is your own",
        ));
    }
    let Some(expires_s) = signed.expires_s else { return Ok((url, Nanos::MAX)) };
    let (end, now) = (on_own_clock("the url that the host signed has", expires_s)?, clock::now());
    let spare = end.saturating_sub(now) / HOST_URL_SPARE_DIVISOR;
    Ok((url, end - spare.min(CREDENTIALS_SPARE_S * NS_PER_S)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::host::credentials::Secret;

    #[test]
    fn the_family_that_comes_first_is_used_alone_and_the_order_within_says_nothing() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let [a, b, c] = ["10.0.0.2:1", "[::1]:1", "10.0.0.1:1"].map(parse);
        assert_eq!(of_one_family(vec![a, b, c, a]), [c, a]);
        assert_eq!(of_one_family(vec![b, a]), [b]);
        assert_eq!(of_one_family(Vec::new()), []);
    }

    fn check(url: &str, expires_s: Option<i64>, plaintext: bool) -> Result<Nanos> {
        let signed = SignedUrl { url: Secret::new(url), expires_s };
        assert!(!format!("{signed:?}").contains("hunter2"));
        checked(&signed, plaintext).map(|(_, expires)| expires)
    }

    #[test]
    fn a_url_that_shards_may_not_ask_is_refused_and_not_shown() {
        let good = ["https://store/a?sig=hunter2", "https://10.0.0.1:9000", "http://[::1]:9/a"];
        for url in good.into_iter().chain(["http://localhost/a?b", "http://127.0.0.1?sig=hunter2"])
        {
            assert_eq!(check(url, None, false).unwrap(), Nanos::MAX, "{url}");
        }
        assert_eq!(check("http://store/a?sig=hunter2", None, true).unwrap(), Nanos::MAX);
        let long = format!("https://store/a?{}", "hunter2".repeat(HOST_URL_BYTES_MAX / 7));
        let bad = [
            (long.as_str(), "has more than"),
            ("", "is none"),
            ("https://sto re/a?hunter2", "is none"),
            ("https:///a?hunter2", "is none"),
            ("hunter2", "not of http"),
            ("/a?sig=hunter2", "not of http"),
            ("ftp://store/a?hunter2", "not of http"),
            ("https://me:hunter2@store/a", "user name"),
            ("http://localhost@hunter2/a", "user name"),
            ("https://store/a#hunter2", "fragment"),
            ("https://store:99999/a?hunter2", "port"),
            ("https://store:/a?hunter2", "port"),
            ("http://store/a?hunter2", "plaintext=allowed"),
            ("http://localhost.store/a?hunter2", "plaintext=allowed"),
        ];
        for (url, said) in bad {
            let error = check(url, None, false).unwrap_err();
            assert!(error.text.contains(said), "{url}: {error}");
            assert!(!error.text.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn of_the_servers_that_urls_name_the_last_ones_are_remembered() {
        let endpoints = Arc::new(Endpoints::new(false));
        let at = move |port: usize| {
            let (endpoints, url) = (endpoints.clone(), format!("http://127.0.0.1:{port}/a"));
            crate::io::remote::thread::start().unwrap();
            crate::io::remote::waited(async move {
                let found = endpoints.of(&url.parse().unwrap()).await?;
                let known = endpoints.known.lock().unwrap().len();
                Ok((found, known))
            })
            .unwrap()
        };
        let (first, _) = at(1);
        assert!(Arc::ptr_eq(&first, &at(1).0));
        (2..=REMOTE_SERVERS_MAX).for_each(|port| drop(at(port)));
        let (last, known) = at(REMOTE_SERVERS_MAX + 1);
        assert_eq!(known, REMOTE_SERVERS_MAX);
        assert!(Arc::ptr_eq(&last, &at(REMOTE_SERVERS_MAX + 1).0));
        assert!(!Arc::ptr_eq(&first, &at(1).0), "it was the oldest");
    }

    #[test]
    fn a_url_is_left_a_little_before_it_ends() {
        for (life_s, used_s) in [(100, 90), (1_000_000, 999_940)] {
            let begun = clock::now();
            let end = check("https://store", Some(clock::unix_s() + life_s), false).unwrap();
            assert!(end > begun && end <= clock::now() + used_s * NS_PER_S, "{end}");
        }
        let error = check("https://store", Some(clock::unix_s() - 1), false).unwrap_err();
        assert!(error.text.contains("has ended"), "{error}");
        assert!(check("https://store", Some(i64::MAX), false).unwrap() > Nanos::MAX / 2);
    }
}
