//! The server of metrics: one thread that answers `GET /metrics`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use aquifer::shard::source::StatisticsSource;
use serde::{Deserialize, Serialize};
use tiny_http::{Header, Method, Request, Response};

use super::openmetrics;
use crate::as_text;

/// The type that the text is served under.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where metrics are served: `PORT` of this machine alone, or `IP:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(SocketAddr);

as_text!(Address);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.trim_start_matches(':').parse() {
            return Ok(Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        text.parse().map(Self).map_err(|_| {
            format!("'{text}' is no address: use PORT for this machine alone, or IP:PORT")
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

type Followed = Arc<Mutex<Option<StatisticsSource>>>;

/// See the module. Dropping it ends the thread.
pub(super) struct Server {
    http: Arc<tiny_http::Server>,
    followed: Followed,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(address: Address) -> Result<Self> {
        let http = tiny_http::Server::http(address.0).map_err(|error| {
            anyhow!(
                "metrics on {address}: {error}; name another port with --metrics-addr, 0 for any"
            )
        })?;
        eprintln!("metrics on http://{}/metrics", http.server_addr());
        let (http, followed) = (Arc::new(http), Followed::default());
        let (serves, follows) = (Arc::clone(&http), Arc::clone(&followed));
        let serve = move || {
            for request in serves.incoming_requests() {
                // Whoever asked has gone: nobody misses the answer.
                let _unheard = answer(request, &follows);
            }
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
        Ok(Self { http, followed, thread: Some(thread) })
    }

    pub(super) fn follow(&self, source: StatisticsSource) {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }
}

fn answer(request: Request, followed: &Followed) -> std::io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request
            .respond(Response::from_string("only GET is answered\n").with_status_code(405));
    }
    if request.url().split('?').next() != Some("/metrics") {
        return request.respond(Response::from_string("see /metrics\n").with_status_code(404));
    }
    let source = followed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(source) = source else {
        return request.respond(Response::from_string("no engine is open\n").with_status_code(503));
    };
    let text = openmetrics::render(&source.statistics());
    let kind = Header::from_bytes("Content-Type", OPENMETRICS).expect("it is a header");
    request.respond(Response::from_string(text).with_header(kind))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.http.unblock();
        if let Some(thread) = self.thread.take() {
            // A panic has printed itself.
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_machine_alone() {
        let parsed = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        assert_eq!(parsed("9100").unwrap(), "127.0.0.1:9100");
        assert_eq!(parsed(":9100").unwrap(), "127.0.0.1:9100");
        assert_eq!(parsed("0.0.0.0:80").unwrap(), "0.0.0.0:80");
        assert_eq!(parsed("[::1]:80").unwrap(), "[::1]:80");
        assert!(parsed("70000").unwrap_err().contains("is no address"));
        assert!(parsed("localhost").is_err());
    }

    #[test]
    fn a_taken_port_is_an_error_with_a_remedy() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address(taken.local_addr().unwrap());
        let Err(error) = Server::start(address) else { panic!("it starts") };
        assert!(error.to_string().contains("name another port"), "{error}");
    }
}
