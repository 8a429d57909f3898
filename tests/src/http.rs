//! A request over a connection of its own, and what came back byte by byte: whole replies, and
//! broken ones.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Who waits for this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came back before the connection ended.
#[derive(Clone, Debug)]
pub struct Reply {
    /// From its first line.
    pub status: u16,
    /// The bytes behind the head, as they were sent.
    pub body: Vec<u8>,
    head: String,
}

impl Reply {
    /// The value of a header; its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.to_ascii_lowercase() == name).map(|(_, v)| v.trim()).next()
    }
}

/// Sends a request to an address such as `127.0.0.1:80`, and reads until the connection ends.
/// `headers` are lines without their ends.
///
/// # Errors
/// If it cannot be sent, or the connection ends by a reset or before the head of a reply did.
pub fn ask(
    address: &str,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &[u8],
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n").into_bytes();
    let length = format!("Content-Length: {}", body.len());
    for line in headers.iter().copied().chain([length.as_str(), "Connection: close", ""]) {
        request.extend_from_slice(line.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no whole reply"))
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body: bytes[end + 4..].to_vec(), head })
}
