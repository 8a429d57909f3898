//! A server for the tests: threads that answer GETs as the test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

/// What is done about a request.
pub(crate) struct Act {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

/// And after its bytes were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Next,
    Close,
    Reset,
    Hang,
}

/// The answer that a sound server gives to a GET of a range of `object`.
pub(crate) fn served(object: &[u8], offset: usize, bytes: usize) -> Vec<u8> {
    let end = offset + bytes;
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {bytes}\r\n\
         Content-Range: bytes {offset}-{}/{}\r\n\r\n",
        end - 1,
        object.len()
    );
    [head.as_bytes(), &object[offset..end]].concat()
}

type Behaviour = dyn Fn(usize, usize, usize) -> Act + Send + Sync;

/// See the module.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    // Of the number of a request, from 0, the offset and the bytes it asks for.
    behave: Box<Behaviour>,
    tls: Option<Arc<ServerConfig>>,
    connections: AtomicUsize,
    requests: AtomicUsize,
    over: AtomicBool,
}

impl Server {
    pub(crate) fn new(
        tls: Option<Arc<ServerConfig>>,
        behave: impl Fn(usize, usize, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behave: Box::new(behave),
            tls,
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let server = shared.clone();
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.over.load(Ordering::SeqCst) {
                    break;
                }
                server.connections.fetch_add(1, Ordering::SeqCst);
                let (server, stream) = (server.clone(), stream.unwrap());
                std::thread::spawn(move || server.serve(stream));
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.address);
        self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let socket = stream.try_clone().unwrap();
        match &self.tls {
            None => self.talk(stream, &socket),
            Some(config) => {
                let session = ServerConnection::new(config.clone()).unwrap();
                self.talk(StreamOwned::new(session, stream), &socket);
            }
        }
    }

    // Until the client leaves or the behaviour ends it.
    fn talk(&self, mut stream: impl Read + Write, socket: &TcpStream) {
        let (mut text, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            while !text.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => return,
                    Ok(bytes) => text.extend_from_slice(&piece[..bytes]),
                }
            }
            let request = String::from_utf8(std::mem::take(&mut text)).unwrap();
            let range = request.split("Range: bytes=").nth(1).unwrap().lines().next().unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let number = self.requests.fetch_add(1, Ordering::SeqCst);
            let Act { bytes, then } = (self.behave)(number, first, last + 1 - first);
            if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
                return;
            }
            match then {
                Then::Next => {}
                Then::Close => return,
                Then::Reset => {
                    // What was sent before shall arrive before the reset.
                    std::thread::sleep(Duration::from_millis(20));
                    SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                Then::Hang => {
                    let _until_closed = stream.read(&mut piece);
                    return;
                }
            }
        }
    }
}
