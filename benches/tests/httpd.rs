//! The server of ranged GETs answers as an object store does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(folder: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_httpd"));
        command.arg("--dir").arg(folder).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let address = url.trim().strip_prefix("http://").unwrap().to_owned();
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// One request on a connection that lives on; the status, the head and the body.
fn ask(stream: &mut BufReader<TcpStream>, request: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let head = format!("{request}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head[9..12].parse().unwrap(), head, body)
}

#[test]
fn objects_are_put_got_by_range_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut stream = BufReader::new(TcpStream::connect(&server.address).unwrap());
    let object: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    assert_eq!(ask(&mut stream, "GET /a/b HTTP/1.1", b"").0, 404);
    assert_eq!(ask(&mut stream, "PUT /a/b HTTP/1.1\r\nIf-None-Match: *", &object).0, 200);
    assert_eq!(ask(&mut stream, "PUT /a/b HTTP/1.1\r\nIf-None-Match: *", b"other").0, 412);
    assert_eq!(ask(&mut stream, "GET /a/b?query HTTP/1.1", b"").2, object);
    let range = "GET /a/b HTTP/1.1\r\nRange: bytes=4096-8191";
    let (status, head, body) = ask(&mut stream, range, b"");
    assert_eq!((status, &body[..]), (206, &object[4096..8192]));
    assert!(head.contains("Content-Range: bytes 4096-8191/100000\r\n"), "{head}");
    let (status, head, body) =
        ask(&mut stream, "GET /a/b HTTP/1.1\r\nRange: bytes=99990-100010", b"");
    assert_eq!((status, &body[..]), (206, &object[99_990..]));
    assert!(head.contains("Content-Range: bytes 99990-99999/100000\r\n"), "{head}");
    let past = "GET /a/b HTTP/1.1\r\nRange: bytes=100000-100010";
    assert_eq!(ask(&mut stream, past, b"").0, 416);
    assert_eq!(ask(&mut stream, "PUT /a/b HTTP/1.1", b"other").0, 200);
    assert_eq!(ask(&mut stream, "GET /a/b HTTP/1.1", b"").2, b"other");
    assert_eq!(ask(&mut stream, "DELETE /a/b HTTP/1.1", b"").0, 204);
    assert_eq!(ask(&mut stream, "GET /a/b HTTP/1.1", b"").0, 404);
    for path in ["/../a", "/a/../../b", "/"] {
        assert_eq!(ask(&mut stream, &format!("PUT {path} HTTP/1.1"), b"x").0, 400, "{path}");
    }
}
