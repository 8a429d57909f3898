//! A connection between an engine and a compactor: sealed frames over TCP, every call with a
//! deadline. It blocks; each end has a thread for it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use crate::io::sealed::{
    self, GREETING_BYTES, HEAD_BYTES, Opener, Sealed, Sealer, Secret, Side, check_greeting,
};
use crate::io::{clock, sys};
use crate::limits::SECRET_BYTES_MAX;
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

/// The variable that holds the secret where no file does.
pub const SECRET_VARIABLE: &str = "AQUIFER_COMPACTOR_SECRET";

/// The secret that a file holds, or the environment where no file is named.
///
/// # Errors
/// `Invalid` if there is none, or one that is too short; the file system's refusal.
pub fn read_secret(file: Option<&Path>) -> Result<Secret> {
    let Some(path) = file else {
        let held = std::env::var(SECRET_VARIABLE).map_err(|_| {
            Error::invalid(format!(
                "compactors take a secret: name its file, or set {SECRET_VARIABLE}; `openssl rand \
                 -hex 32` makes one"
            ))
        })?;
        return Secret::new(held.as_bytes());
    };
    let refused = |cause: io::Error| {
        Error::invalid(format!("the secret of compactors, {}: {cause}", path.display()))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(refused)?;
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() > SECRET_BYTES_MAX {
        let what = format!("it is longer than {SECRET_BYTES_MAX} bytes, and no secret");
        return Err(refused(io::Error::new(io::ErrorKind::FileTooLarge, what)));
    }
    Secret::new(&bytes)
}

/// Listens for engines.
///
/// # Errors
/// The system's refusal.
pub fn listen(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|cause| {
        Error::invalid(format!(
            "listening on {address}: {cause}; name an address of this machine and a free port, \
             such as 127.0.0.1:7070"
        ))
    })
}

/// See the module.
pub struct Wire {
    stream: TcpStream,
    sealer: Sealer,
    opener: Opener,
}

impl Wire {
    /// Connects to a compactor and greets.
    ///
    /// # Errors
    /// It does not answer until the deadline, or is none, or of another version.
    pub fn connect(address: &str, secret: &Secret, deadline: Nanos) -> Result<Self> {
        let mut failure = failed(&io::Error::new(io::ErrorKind::NotFound, "it has no address"));
        let found = resolve(address, deadline)?;
        for (at, untried) in found.iter().zip((1..=found.len() as u32).rev()) {
            // One that does not answer leaves the others their share.
            match TcpStream::connect_timeout(at, left(deadline)? / untried) {
                Ok(stream) => return Self::greet(stream, secret, Side::Engine, deadline),
                Err(cause) => failure = failed(&cause),
            }
        }
        Err(failure)
    }

    /// Greets an engine that has connected.
    ///
    /// # Errors
    /// As `connect`.
    pub fn accept(stream: TcpStream, secret: &Secret, deadline: Nanos) -> Result<Self> {
        Self::greet(stream, secret, Side::Compactor, deadline)
    }

    fn greet(stream: TcpStream, secret: &Secret, side: Side, deadline: Nanos) -> Result<Self> {
        let mut random = [0; 32];
        sys::random_bytes(&mut random)?;
        let own = sealed::greeting(random);
        // Frames are small, and the other side waits for each.
        stream.set_nodelay(true).map_err(|cause| failed(&cause))?;
        write(&stream, &own, deadline)?;
        let mut other = [0; GREETING_BYTES];
        read(&stream, &mut other, deadline)?;
        check_greeting(&other)?;
        let (sealer, opener) = match side {
            Side::Engine => sealed::keys(secret, side, &own, &other),
            Side::Compactor => sealed::keys(secret, side, &other, &own),
        };
        Ok(Self { stream, sealer, opener })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The other side takes no more; `TooLarge` beyond the limit of frames.
    pub fn send(&mut self, message: &[u8], deadline: Nanos) -> Result<()> {
        let frame = self.sealer.seal(message)?;
        write(&self.stream, &frame, deadline)
    }

    /// The next message; the other side has the secret.
    ///
    /// # Errors
    /// None came until the deadline, or the connection ended, or it was no message.
    pub fn receive(&mut self, deadline: Nanos) -> Result<Vec<u8>> {
        let mut head = [0; HEAD_BYTES];
        read(&self.stream, &mut head, deadline)?;
        let mut body = vec![0; sealed::sealed_bytes(head)?];
        read(&self.stream, &mut body, deadline)?;
        self.opener.open(Sealed(body))
    }

    /// Ends the connection.
    pub fn close(self) {
        // Its only failure is a connection that has ended.
        let _ended = self.stream.shutdown(Shutdown::Both);
    }
}

fn resolve(address: &str, deadline: Nanos) -> Result<Vec<SocketAddr>> {
    if let Ok(at) = address.parse() {
        return Ok(vec![at]);
    }
    let name = address.to_owned();
    in_time(deadline, move || name.to_socket_addrs().map(Vec::from_iter))
}

// A system that looks up a name takes as long as its configuration says: a thread waits for it.
fn in_time<T: Send + 'static>(
    deadline: Nanos,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, outcome) = mpsc::channel();
    std::thread::Builder::new()
        .name("aquifer-name".to_owned())
        .spawn(move || sender.send(call()))
        .map_err(|cause| sys::no_thread("looking up the name of a compactor", &cause))?;
    let ended = outcome.recv_timeout(left(deadline)?);
    ended.map_err(|_| late())?.map_err(|cause| failed(&cause))
}

// How long a call may still take.
fn left(deadline: Nanos) -> Result<Duration> {
    let left = deadline.saturating_sub(clock::now());
    if left == 0 { Err(late()) } else { Ok(Duration::from_nanos(left)) }
}

fn late() -> Error {
    Error::new(ErrorKind::Io, "it said nothing in time: see that it runs and can be reached")
}

fn failed(cause: &io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            Error::new(ErrorKind::Io, "it ended the connection: see its log")
        }
        _ => Error::new(ErrorKind::Io, format!("{cause}: see that it runs and can be reached")),
    }
}

fn read(mut stream: &TcpStream, mut out: &mut [u8], deadline: Nanos) -> Result<()> {
    while !out.is_empty() {
        let timeout = Some(left(deadline)?);
        let taken = stream.set_read_timeout(timeout).and_then(|()| stream.read(out));
        match taken {
            Ok(0) => return Err(failed(&io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => out = &mut out[count..],
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(failed(&cause)),
        }
    }
    Ok(())
}

fn write(mut stream: &TcpStream, mut bytes: &[u8], deadline: Nanos) -> Result<()> {
    while !bytes.is_empty() {
        let timeout = Some(left(deadline)?);
        let taken = stream.set_write_timeout(timeout).and_then(|()| stream.write(bytes));
        match taken {
            Ok(count) => bytes = &bytes[count..],
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(failed(&cause)),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
