//! A server of ranged GETs over the files of a folder: HTTP/1.1 that is kept alive, latency as one
//! asks for, TLS with a certificate that it makes itself. PUT and DELETE make it a simple store of
//! objects; nobody is asked who he is. One thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Longest head of a request, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Largest object that is taken, bytes.
const OBJECT_BYTES_MAX: usize = 1 << 30;

/// What to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of the objects.
    pub folder: PathBuf,
    /// What each answer takes longer; a whole number of milliseconds, and up to one more.
    pub latency: Duration,
    /// Where to put the certificate of a server that speaks TLS.
    pub certificate: Option<PathBuf>,
}

/// Serves on `address`, for ever; tells its url on the standard output.
///
/// # Errors
/// The address is taken, or the certificate cannot be written.
pub fn run(address: &str, config: &Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = TcpListener::bind(address).await.context(address.to_owned())?;
        let tls = config.certificate.as_deref().map(acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        println!("{scheme}://{}", listener.local_addr()?);
        io::stdout().flush()?;
        let shop = Rc::new(Shop { config: config.clone(), files: RefCell::default() });
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (shop, tls) = (shop.clone(), tls.clone());
            tokio::task::spawn_local(async move {
                // Clients come and go.
                let _over = match tls {
                    None => shop.talk(stream).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => shop.talk(stream).await,
                        Err(error) => Err(error),
                    },
                };
            });
        }
    })
}

// Makes a certificate for this machine and writes it to `path`.
fn acceptor(path: &Path) -> Result<TlsAcceptor> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    fs::write(path, made.cert.pem()).with_context(|| path.display().to_string())?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

// Files that were asked for stay open.
struct Shop {
    config: Config,
    files: RefCell<HashMap<String, Rc<(File, u64)>>>,
}

/// A request without its body.
struct Request {
    method: String,
    path: String,
    range: Option<(u64, Option<u64>)>,
    body: usize,
    if_absent: bool,
    head: usize,
}

impl Shop {
    async fn talk(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let (mut input, mut out) = (Vec::with_capacity(HEAD_BYTES_MAX), Vec::new());
        loop {
            let request = loop {
                match parse(&input) {
                    Some(Ok(request)) => break request,
                    Some(Err(())) => {
                        return stream.write_all(&head("400 Bad Request", 0, "")).await;
                    }
                    None if stream.read_buf(&mut input).await? == 0 => return Ok(()),
                    None => {}
                }
            };
            let whole = request.head + request.body;
            while input.len() < whole {
                if stream.read_buf(&mut input).await? == 0 {
                    return Ok(());
                }
            }
            if !self.config.latency.is_zero() {
                tokio::time::sleep(self.config.latency).await;
            }
            out.clear();
            self.answer(&request, &input[request.head..whole], &mut out);
            input.drain(..whole);
            stream.write_all(&out).await?;
            stream.flush().await?;
        }
    }

    fn answer(&self, request: &Request, body: &[u8], out: &mut Vec<u8>) {
        let answered = match request.method.as_str() {
            "GET" | "HEAD" => self.get(request, out),
            "PUT" => self.put(request, body, out),
            "DELETE" => self.delete(request, out),
            _ => {
                out.extend(head("405 Method Not Allowed", 0, ""));
                Ok(())
            }
        };
        if let Err(error) = answered {
            let status = match error.kind() {
                io::ErrorKind::NotFound => "404 Not Found",
                io::ErrorKind::AlreadyExists => "412 Precondition Failed",
                io::ErrorKind::InvalidInput => "400 Bad Request",
                _ => "500 Internal Server Error",
            };
            out.clear();
            out.extend(head(status, 0, ""));
        }
    }

    fn get(&self, request: &Request, out: &mut Vec<u8>) -> io::Result<()> {
        let file = self.file(&request.path)?;
        let (file, bytes) = (&file.0, file.1);
        let (first, last, status) = match request.range {
            None => (0, bytes, "200 OK"),
            Some((first, _)) if first >= bytes => {
                let range = format!("Content-Range: bytes */{bytes}\r\n");
                out.extend(head("416 Range Not Satisfiable", 0, &range));
                return Ok(());
            }
            Some((first, last)) => {
                let end = last.map_or(bytes, |last| last.saturating_add(1).min(bytes));
                (first, end.max(first), "206 Partial Content")
            }
        };
        let range = match request.range {
            None => String::new(),
            Some(_) => format!("Content-Range: bytes {first}-{}/{bytes}\r\n", last - 1),
        };
        let len = usize::try_from(last - first).map_err(io::Error::other)?;
        out.extend(head(status, len, &range));
        if request.method == "GET" {
            let start = out.len();
            out.resize(start + len, 0);
            file.read_exact_at(&mut out[start..], first)?;
        }
        Ok(())
    }

    fn file(&self, path: &str) -> io::Result<Rc<(File, u64)>> {
        if let Some(file) = self.files.borrow().get(path) {
            return Ok(file.clone());
        }
        let file = File::open(self.place(path)?)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = Rc::new((file, metadata.len()));
        self.files.borrow_mut().insert(path.to_owned(), file.clone());
        Ok(file)
    }

    fn put(&self, request: &Request, body: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let place = self.place(&request.path)?;
        let folder = place.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(body)?;
        if request.if_absent {
            draft.persist_noclobber(&place)?;
        } else {
            draft.persist(&place)?;
        }
        self.files.borrow_mut().remove(&request.path);
        out.extend(head("200 OK", 0, ""));
        Ok(())
    }

    fn delete(&self, request: &Request, out: &mut Vec<u8>) -> io::Result<()> {
        fs::remove_file(self.place(&request.path)?)?;
        self.files.borrow_mut().remove(&request.path);
        out.extend(head("204 No Content", 0, ""));
        Ok(())
    }

    // The file of a path, which leads nowhere else than below the folder.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let path = Path::new(path.trim_start_matches('/'));
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || path.as_os_str().is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(self.config.folder.join(path))
    }
}

fn head(status: &str, len: usize, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{more}\r\n").into_bytes()
}

// `None` if the head is not whole.
fn parse(input: &[u8]) -> Option<std::result::Result<Request, ()>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(input) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => return None,
        _ => return Some(Err(())),
    };
    let path = parsed.path.unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let method = parsed.method.unwrap_or_default().to_owned();
    let mut request = Request { method, path, range: None, body: 0, if_absent: false, head };
    for header in &*parsed.headers {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("range") {
            request.range = range(value);
        } else if header.name.eq_ignore_ascii_case("content-length") {
            match value.parse() {
                Ok(body) if body <= OBJECT_BYTES_MAX => request.body = body,
                _ => return Some(Err(())),
            }
        } else if header.name.eq_ignore_ascii_case("if-none-match") {
            request.if_absent = value == "*";
        }
    }
    Some(Ok(request))
}

// `bytes=0-4095` or `bytes=0-`; other forms are ignored, as servers may.
fn range(value: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    let last = if last.is_empty() { None } else { Some(last.parse().ok()?) };
    last.is_none_or(|last| last >= first).then_some((first, last))
}
