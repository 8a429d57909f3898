//! A faulty HTTP/1.1 proxy on the loopback interface in front of one server: requests pass to it
//! unchanged, but for those that a rule meets, and so do those to hosts that it redirects to.
//! Requests and replies are held in memory whole.

mod reply;
mod rules;
mod serve;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use rules::{Fault, Rule};

/// What went through since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: u64,
    /// Requests by method, those that met a fault among them.
    pub requests: BTreeMap<String, u64>,
    /// Faults by [`Fault::name`].
    pub faults: BTreeMap<&'static str, u64>,
    /// Requests that [`Fault::ApplyLate`] and [`Fault::ApplyAgain`] have yet to apply.
    pub late: u64,
}

impl Counts {
    /// Requests of a method.
    #[must_use]
    pub fn requests_of(&self, method: &str) -> u64 {
        self.requests.get(method).copied().unwrap_or(0)
    }

    /// Faults of a name.
    #[must_use]
    pub fn faults_of(&self, name: &str) -> u64 {
        self.faults.get(name).copied().unwrap_or(0)
    }
}

/// See the module. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<serve::Shared>,
    gates: Option<UnboundedSender<serve::Gate>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy in front of a server such as `127.0.0.1:9000`, whose chances follow from the seed.
    ///
    /// # Panics
    /// If the system gives no port or thread.
    #[must_use]
    pub fn new(server: &str, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (held, address) = hold_port(&runtime);
        let shared = Arc::new(serve::Shared::new(server, address, seed));
        let (gates, asked) = unbounded_channel();
        let listener = {
            let _context = runtime.enter();
            serve::listen(address)
        };
        let served = shared.clone();
        let thread = std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            runtime.block_on(serve::run(&served, listener, asked));
            drop(held);
        });
        Self { address, shared, gates: Some(gates), thread: Some(thread.expect("a thread")) }
    }

    /// Such as `127.0.0.1:9001`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Such as `http://127.0.0.1:9001`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets a rule behind those there are.
    pub fn rule(&self, rule: Rule) {
        self.shared.state().rules.push(rule);
    }

    /// From now on another server is behind it.
    pub fn stand_before(&self, server: &str) {
        self.shared.state().server = server.to_owned();
    }

    /// From now on requests name the server so, whatever they were sent to.
    pub fn call_it(&self, host: &str) {
        self.shared.state().name = Some(host.to_owned());
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        state.rules.clear();
        state.stale.clear();
    }

    /// What went through.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts.clone()
    }

    /// Ends all connections and refuses others until [`Self::restore`]. The port stays its own.
    pub fn outage(&self) {
        self.gate(false);
    }

    /// Accepts connections again.
    pub fn restore(&self) {
        self.gate(true);
    }

    fn gate(&self, open: bool) {
        let (done, waits) = mpsc::channel();
        let gates = self.gates.as_ref().expect("until the drop");
        gates.send(serve::Gate { open, done }).expect("the thread lives");
        waits.recv().expect("the thread lives");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.gates.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("it is joined once").expect("the proxy does not panic");
        }
    }
}

/// A port, and a socket that keeps it from others while nothing listens on it.
fn hold_port(runtime: &Runtime) -> (TcpSocket, SocketAddr) {
    let _context = runtime.enter();
    let socket = serve::socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}
