//! The thread of a proxy: connections, requests, and what their faults do.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::Counts;
use super::reply::{Reply, Sent};
use super::rules::{Asked, Fault, Rules};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Headers between two neighbours, which the next connection has its own of.
const HOP: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::EXPECT, header::UPGRADE];

/// What WebHDFS answers instead of a redirect, if it is asked for that.
const LOCATION_JSON: &str = "{\"Location\":\"";

/// Whether connections are to be accepted, and where to say that it is done.
#[derive(Debug)]
pub(super) struct Gate {
    pub open: bool,
    pub done: mpsc::Sender<()>,
}

/// What the thread and its owner share.
#[derive(Debug)]
pub(super) struct Shared {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub rules: Rules,
    pub counts: Counts,
    /// Who is behind it.
    pub server: String,
    /// How requests name it, if not as they were sent.
    pub name: Option<String>,
    /// Other hosts that the server redirected to.
    others: HashSet<String>,
    /// The first reply to each request that [`Fault::Stale`] met.
    pub stale: HashMap<(Method, String, Option<HeaderValue>), Reply>,
}

/// A request, read whole.
#[derive(Clone, Debug)]
struct Whole {
    head: Parts,
    body: Bytes,
    /// Who is to answer it.
    host: String,
    /// The path with its parameters, as the host is asked.
    target: String,
}

impl Whole {
    fn asked(&self) -> Asked<'_> {
        Asked { method: self.head.method.as_str(), target: &self.target }
    }
}

impl Shared {
    pub fn new(server: &str, address: SocketAddr, seed: u64) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let (rules, counts) = (Rules::new(seed), Counts::default());
        let (others, stale) = (HashSet::new(), HashMap::new());
        let server = server.to_owned();
        let state = Mutex::new(State { rules, counts, server, name: None, others, stale });
        Self { address, client, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    fn count(&self, fault: &Fault) {
        *self.state().counts.faults.entry(fault.name()).or_default() += 1;
    }

    /// Sends a request to the server and reads the reply whole.
    async fn forward(&self, whole: &Whole) -> Reply {
        let mut request = Request::new(Full::new(whole.body.clone()));
        *request.method_mut() = whole.head.method.clone();
        let uri = format!("http://{}{}", whole.host, whole.target);
        *request.uri_mut() = uri.parse().expect("it was one");
        *request.headers_mut() = whole.head.headers.clone();
        HOP.iter().for_each(|name| drop(request.headers_mut().remove(name)));
        if let Some(name) = &self.state().name {
            let name = HeaderValue::try_from(name).expect("a host");
            request.headers_mut().insert(header::HOST, name);
        }
        let failed = |error: String| {
            let body = Bytes::from(format!("the server behind the proxy: {error}"));
            Reply { body, ..Reply::new(StatusCode::BAD_GATEWAY) }
        };
        let (head, body) = match self.client.request(request).await {
            Ok(response) => response.into_parts(),
            Err(error) => return failed(error.to_string()),
        };
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return failed(error.to_string()),
        };
        if head.status.is_success() && whole.head.method == Method::PUT {
            self.state().rules.written(&whole.asked());
        }
        let mut headers = head.headers;
        HOP.iter().for_each(|name| drop(headers.remove(name)));
        let mut reply = Reply { status: head.status, headers, body };
        self.draw_redirect(&mut reply);
        reply
    }

    /// Has a redirect to another host lead through the proxy too.
    fn draw_redirect(&self, reply: &mut Reply) {
        let location = reply.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        if reply.status.is_redirection()
            && let Some(drawn) = location.and_then(|location| self.drawn(location))
        {
            let drawn = HeaderValue::try_from(drawn).expect("a header before");
            reply.headers.insert(header::LOCATION, drawn);
        }
        let text = std::str::from_utf8(&reply.body).unwrap_or_default();
        let location = text.strip_prefix(LOCATION_JSON);
        if let Some(drawn) = location.and_then(|location| self.drawn(location)) {
            reply.body = format!("{LOCATION_JSON}{drawn}").into();
            reply.headers.insert(header::CONTENT_LENGTH, reply.body.len().into());
        }
    }

    fn drawn(&self, location: &str) -> Option<String> {
        let (host, rest) = location.strip_prefix("http://")?.split_once('/')?;
        self.state().others.insert(host.to_owned());
        Some(format!("http://{}/@{host}/{rest}", self.address))
    }

    /// The host that is meant by a target, and its own target.
    fn host_of<'a>(&self, target: &'a str) -> (String, &'a str) {
        let state = self.state();
        let other = target.strip_prefix("/@").and_then(|rest| rest.split_once('/'));
        match other {
            Some((host, _)) if state.others.contains(host) => {
                (host.to_owned(), &target["/@".len() + host.len()..])
            }
            _ => (state.server.clone(), target),
        }
    }

    /// Sends it once more, or for the first time, after a while.
    fn forward_later(self: &Arc<Self>, whole: Whole, delay: Duration) {
        self.state().counts.late += 1;
        let shared = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            shared.forward(&whole).await;
            shared.state().counts.late -= 1;
        });
    }
}

/// A socket of this address that others of the same address may join.
pub(super) fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of every socket");
    socket.bind(address).expect("a free port of the loopback interface");
    socket
}

pub(super) fn listen(address: SocketAddr) -> TcpListener {
    socket(address).listen(BACKLOG).expect("nobody else listens on it")
}

/// Serves until the owner of the gate is gone.
pub(super) async fn run(
    shared: &Arc<Shared>,
    listener: TcpListener,
    mut gates: UnboundedReceiver<Gate>,
) {
    let address = listener.local_addr().expect("it is bound");
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            gate = gates.recv() => {
                let Some(Gate { open, done }) = gate else { return };
                if open {
                    listener = listener.or_else(|| Some(listen(address)));
                } else {
                    listener = None;
                    connections.shutdown().await;
                }
                // Who asked waits for it.
                let _ = done.send(());
            }
            Some(stream) = accept(listener.as_ref()) => {
                shared.state().counts.connections += 1;
                connections.spawn(connection(stream, shared.clone()));
                while connections.try_join_next().is_some() {}
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).expect("an option of every connection");
    let reset = Arc::new(Notify::new());
    let service = service_fn(|request| answer(request, shared.clone(), reset.clone()));
    let mut served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Its error is a fault of ours, or the client's end.
        _ = &mut served => {}
        () = reset.notified() => {
            let stream = served.into_parts().io.into_inner();
            // Closed with this it sends a reset.
            stream.set_zero_linger().expect("an option of every connection");
        }
    }
}

/// The connection ends without a reply.
fn cut() -> io::Error {
    io::Error::other("the proxy ends the connection")
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    reset: Arc<Notify>,
) -> io::Result<Response<Sent>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let (host, target) = shared.host_of(target);
    let (host, target) = (host.to_owned(), target.to_owned());
    let whole = Whole { head, body, host, target };
    let faults = {
        let mut state = shared.state();
        *state.counts.requests.entry(whole.head.method.to_string()).or_default() += 1;
        state.rules.faults_of(&whole.asked())
    };
    for fault in faults {
        if fault != Fault::Stale {
            shared.count(&fault);
        }
        if let Fault::Delay(time) = fault {
            tokio::time::sleep(time).await;
            continue;
        }
        return faulty(fault, whole, &shared, &reset).await;
    }
    Ok(shared.forward(&whole).await.sent())
}

async fn faulty(
    fault: Fault,
    whole: Whole,
    shared: &Arc<Shared>,
    reset: &Notify,
) -> io::Result<Response<Sent>> {
    match fault {
        Fault::Delay(_) => unreachable!("it was met before"),
        Fault::Answer { status, retry_after } => {
            let mut reply = Reply::new(StatusCode::from_u16(status).map_err(io::Error::other)?);
            reply.headers.extend(retry_after.map(|time| (header::RETRY_AFTER, time.into())));
            Ok(reply.sent())
        }
        Fault::Flip => Ok(shared.forward(&flipped(whole)).await.sent()),
        Fault::ErrorInside(code) => {
            let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
            let body = format!("{head}\n<Error><Code>{code}</Code></Error>").into();
            Ok(Reply { body, ..Reply::new(StatusCode::OK) }.sent())
        }
        Fault::Redirect(host) => {
            let mut reply = Reply::new(StatusCode::TEMPORARY_REDIRECT);
            let location = format!("http://{host}{}", whole.target);
            let location = HeaderValue::try_from(location).map_err(io::Error::other)?;
            reply.headers.insert(header::LOCATION, location);
            Ok(reply.sent())
        }
        Fault::Reset => Ok(reset_now(reset).await),
        Fault::ApplyLate(delay) => {
            shared.forward_later(whole, delay);
            Ok(reset_now(reset).await)
        }
        Fault::LoseReply => {
            shared.forward(&whole).await;
            Err(cut())
        }
        Fault::ApplyAgain(delay) => {
            let reply = shared.forward(&whole).await;
            shared.forward_later(whole, delay);
            Ok(reply.sent())
        }
        Fault::Truncate(bytes) => Ok(shared.forward(&whole).await.truncated(bytes)),
        Fault::WholeBody => Ok(whole_body(whole, shared).await.sent()),
        Fault::WrongRange { shift, honest } => {
            Ok(shared.forward(&whole).await.rotated(shift, honest).sent())
        }
        Fault::Stale => {
            let range = whole.head.headers.get(header::RANGE).cloned();
            let key = (whole.head.method.clone(), whole.target.clone(), range);
            let first = shared.state().stale.get(&key).cloned();
            if let Some(reply) = first {
                shared.count(&Fault::Stale);
                return Ok(reply.sent());
            }
            let reply = shared.forward(&whole).await;
            shared.state().stale.insert(key, reply.clone());
            Ok(reply.sent())
        }
    }
}

fn flipped(mut whole: Whole) -> Whole {
    let mut body = whole.body.to_vec();
    let middle = body.len() / 2;
    body.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
    whole.body = body.into();
    whole
}

/// Has the connection reset and never answers.
async fn reset_now<T>(reset: &Notify) -> T {
    reset.notify_one();
    std::future::pending().await
}

/// The reply to the request without its range.
async fn whole_body(whole: Whole, shared: &Shared) -> Reply {
    let mut wider = whole.clone();
    wider.head.headers.remove(header::RANGE);
    if let Some((path, parameters)) = whole.target.split_once('?') {
        // WebHDFS asks by parameters.
        let range = |part: &&str| part.starts_with("offset=") || part.starts_with("length=");
        let kept: Vec<&str> = parameters.split('&').filter(|part| !range(part)).collect();
        wider.target = format!("{path}?{}", kept.join("&"));
    }
    let reply = shared.forward(&wider).await;
    if reply.status == StatusCode::FORBIDDEN {
        return shared.forward(&whole).await.padded();
    }
    reply
}
