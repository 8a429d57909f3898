//! The HTTP of all stores. A store that asks for patience gets it from everybody: who comes while
//! it lasts waits. And here every request of them is counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opendal::{Buffer, HttpBody, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::redirect::Policy;

use crate::io::budget::Budget;
use crate::io::clock;
use crate::io::http::tls::system_roots;
use crate::io::remote::operation::operation;
use crate::io::requests::{Operation, RequestCounts};
use crate::limits::{REMOTE_CONNECT_MS, REMOTE_IDLE_MS, REMOTE_PATIENCE_MS_MAX, RETRY_LOOK_NS};
use crate::types::{Error, Nanos, Result};

/// What the requests of a root have in common, whoever sends them.
#[derive(Debug)]
pub(super) struct Traffic {
    not_before: AtomicU64,
    counts: Arc<RequestCounts>,
    budget: Arc<Budget>,
    // Parts that are tried again, and whose requests did not come here yet.
    parts_again: AtomicU64,
}

impl Traffic {
    /// Counts its requests in `counts`; `budget` says how often parts are tried again.
    pub(super) fn new(counts: Arc<RequestCounts>, budget: Arc<Budget>) -> Self {
        let (not_before, parts_again) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { not_before, counts, budget, parts_again }
    }

    /// A part failed, and will be tried again.
    pub(super) fn part_failed(&self) {
        self.parts_again.fetch_add(1, Ordering::Relaxed);
    }

    // Waits, for each part that is tried again, until it may be. The client's timeout ends it.
    async fn let_parts_pass(&self) {
        let less = |again: u64| again.checked_sub(1);
        if self.parts_again.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
            return;
        }
        let mut is_held = false;
        while !self.budget.take(clock::now()) {
            if !std::mem::replace(&mut is_held, true) {
                self.budget.count_held();
            }
            tokio::time::sleep(Duration::from_nanos(RETRY_LOOK_NS)).await;
        }
    }

    async fn let_pass(&self) {
        loop {
            let now = clock::now();
            let until = self.not_before.load(Ordering::Relaxed);
            if until <= now {
                return;
            }
            tokio::time::sleep(Duration::from_nanos(until - now)).await;
        }
    }
}

/// Where HDFS has the parts of objects, below a root.
pub(super) const PARTS_FOLDER: &str = "tmp-parts";

/// See the module; one for each client.
#[derive(Debug)]
pub(super) struct Transport {
    client: ReqwestTransport,
    traffic: Arc<Traffic>,
    refused: Arc<AtomicBool>,
    // Of HDFS.
    goes_elsewhere: bool,
    // Its client tries again by itself.
    of_parts: bool,
}

impl Transport {
    /// For a store that sends its clients elsewhere, as HDFS does to the hosts of the bytes, or
    /// for others. It notes in `refused` that the store may not know its credentials any more.
    pub(super) fn new(
        goes_elsewhere: bool,
        traffic: Arc<Traffic>,
        refused: Arc<AtomicBool>,
    ) -> Result<Self> {
        let client = ReqwestTransport::new(client(goes_elsewhere)?);
        Ok(Self { client, traffic, refused, goes_elsewhere, of_parts: false })
    }

    /// The same, for who sends parts and tries them again.
    pub(super) fn of_parts(&self) -> Self {
        let (client, traffic) = (self.client.clone(), self.traffic.clone());
        let (refused, goes_elsewhere) = (self.refused.clone(), self.goes_elsewhere);
        Self { client, traffic, refused, goes_elsewhere, of_parts: true }
    }
}

impl HttpTransport for Transport {
    async fn fetch(
        &self,
        request: http::Request<Buffer>,
    ) -> opendal::Result<http::Response<HttpBody>> {
        if self.of_parts {
            if self.goes_elsewhere && clears_name(request.method(), request.uri()) {
                return Ok(nothing_there());
            }
            self.traffic.let_parts_pass().await;
        }
        self.traffic.let_pass().await;
        let operation = operation(request.method(), request.uri());
        let sent = request.body().len() as u64;
        let answered = self.client.fetch(request).await;
        let brought = match (&answered, operation) {
            (Ok(response), Operation::Get) => body_bytes(response),
            _ => 0,
        };
        self.traffic.counts.count(operation, sent + brought);
        let response = answered?;
        // A token that ended is status 400 with Amazon S3.
        if matches!(response.status().as_u16(), 400 | 401 | 403) {
            self.refused.store(true, Ordering::Relaxed);
        }
        if let Some(wait) = asked_patience(&response) {
            self.traffic.not_before.fetch_max(clock::now() + wait, Ordering::Relaxed);
        }
        Ok(response)
    }
}

/// Who writes to HDFS deletes what has the name of an object, before its parts get it. Nothing has
/// it; and a DELETE whose reply was lost may be applied when the object is there.
fn clears_name(method: &http::Method, uri: &http::Uri) -> bool {
    method == http::Method::DELETE && uri.path().rsplit('/').nth(1) != Some(PARTS_FOLDER)
}

/// What HDFS answers to such a DELETE.
fn nothing_there() -> http::Response<HttpBody> {
    let body = Buffer::from("{\"boolean\":false}");
    let bytes = body.len() as u64;
    http::Response::new(HttpBody::new(futures_util::stream::iter([Ok(body)]), Some(bytes)))
}

/// Bytes of an answer's body, as its head tells.
fn body_bytes<B>(response: &http::Response<B>) -> u64 {
    let length = response.headers().get(http::header::CONTENT_LENGTH);
    length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or_default()
}

/// What a refusal of the moment says of how long it lasts, as far as it is believed.
fn asked_patience<B>(response: &http::Response<B>) -> Option<Nanos> {
    if !matches!(response.status().as_u16(), 429 | 503) {
        return None;
    }
    let seconds = response.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?;
    let ms = seconds.trim().parse::<u64>().ok()?.saturating_mul(1_000);
    Some(ms.min(REMOTE_PATIENCE_MS_MAX) * 1_000_000)
}

/// One client for the process, or one of two: their connections are shared.
fn client(goes_elsewhere: bool) -> Result<reqwest::Client> {
    static CLIENTS: [OnceLock<Result<reqwest::Client>>; 2] = [const { OnceLock::new() }; 2];
    let redirects = || if goes_elsewhere { Policy::default() } else { at_home() };
    CLIENTS[usize::from(goes_elsewhere)].get_or_init(|| make_client(redirects())).clone()
}

/// What signs a request is for one host: another that it were sent to could use it. The client
/// knows this of standard headers alone, and stores have others, as for session tokens.
fn at_home() -> Policy {
    Policy::custom(|attempt| {
        let home = attempt.previous().first().map(|first| first.origin());
        if home == Some(attempt.url().origin()) {
            Policy::default().redirect(attempt)
        } else {
            attempt.stop()
        }
    })
}

fn make_client(redirects: Policy) -> Result<reqwest::Client> {
    let failed = |what: &dyn std::fmt::Display| {
        Error::invalid(format!("the HTTP client cannot be made: {what}"))
    };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(|e| failed(&e))?
    .with_root_certificates(system_roots())
    .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirects)
        .connect_timeout(Duration::from_millis(REMOTE_CONNECT_MS))
        .pool_idle_timeout(Duration::from_millis(REMOTE_IDLE_MS))
        .build()
        .map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_asked_for_by_refusals_of_the_moment_alone_and_ends() {
        let answer = |status: u16, after: &str| {
            let response = http::Response::builder().status(status);
            asked_patience(&response.header("Retry-After", after).body(()).unwrap())
        };
        assert_eq!(answer(503, "2"), Some(2_000_000_000));
        assert_eq!(answer(429, " 1 "), Some(1_000_000_000));
        assert_eq!(answer(200, "2"), None);
        assert_eq!(answer(503, "soon"), None);
        assert_eq!(answer(503, "99999999999999999999"), None);
        assert_eq!(answer(503, "9999999999"), Some(REMOTE_PATIENCE_MS_MAX * 1_000_000));
    }
}
