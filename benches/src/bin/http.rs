//! What a ranged GET costs its client: the ring's connections beside reqwest on a tokio runtime of
//! one thread, in turns, against `httpd` in a process of its own. CPU is that of this process.
//! Without TLS also what it costs at least: as many bytes sent and received by sockets that block,
//! with nothing parsed, copied or waited for together.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aquifer::io::OpenObject;
use aquifer::io::clock;
use aquifer::io::http::target::{Endpoint, Target};
use aquifer::io::http::tls::{Tls, Trust};
use aquifer::io::read_driver::{IoKind, ReadDriver};
use aquifer::io::reads::{Read, Wait};
use aquifer::io::ring_open::RingMode;
use aquifer::io::values::{IoDone, ObjectSlot};
use aquifer::mem::pool::Pool;
use aquifer::mem::slab::Token;
use aquifer_benches::samples::{mixed, object_name};
use aquifer_tools::figure::Figure;
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

#[derive(Debug, Parser)]
#[command(about = "Ranged GETs: the ring's connections beside reqwest")]
struct Args {
    /// Requests in flight.
    #[arg(long, value_delimiter = ',', default_value = "64,256")]
    depths: Vec<usize>,
    /// Bytes of a request.
    #[arg(long, value_delimiter = ',', default_value = "4096,16384")]
    bytes: Vec<usize>,
    /// Latency of the server, milliseconds.
    #[arg(long, value_delimiter = ',', default_value = "0,2")]
    latencies_ms: Vec<u64>,
    /// Rounds, each of both in turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Requests of each in a round.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Without reqwest.
    #[arg(long)]
    alone: bool,
    /// The ring of a shard in its host's poll instead of one on a core of its own.
    #[arg(long)]
    inline: bool,
}

/// MiB of the object that is read.
const OBJECT_MIB: usize = 64;

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let words = (OBJECT_MIB << 20) as u64 / 8;
    let bytes: Vec<u8> = (0..words).flat_map(|i| mixed(i).to_le_bytes()).collect();
    std::fs::write(folder.path().join("object"), bytes)?;
    let certificate = folder.path().join("certificate.pem");
    println!("CPU us a GET (min median max)  1000/s");
    println!("scheme ms  bytes depth   {:^30}   {:^30}   bare sockets", "ring", "reqwest");
    for &latency_ms in &args.latencies_ms {
        for tls in [None, Some(certificate.as_path())] {
            let server = Server::start(folder.path(), latency_ms, tls)?;
            let mut ring = Ring::open(&server, args.inline)?;
            let reqwest = Reqwest::open(&server)?;
            for (&bytes, &depth) in
                args.bytes.iter().flat_map(|b| args.depths.iter().map(move |d| (b, d)))
            {
                let mut ours = |requests| ring.gets(bytes, depth, requests);
                let mut theirs = |requests| reqwest.gets(bytes, depth, requests);
                let bare = tls.is_none().then(|| Bare::open(&server, depth)).transpose()?;
                let mut least = bare.map(|mut bare| move |requests| bare.gets(bytes, requests));
                let mut arms: [Option<&mut Gets<'_>>; 3] = [Some(&mut ours), None, None];
                if !args.alone {
                    arms[1] = Some(&mut theirs);
                }
                arms[2] = least.as_mut().map(|least| least as _);
                let [ours, theirs, least] = compare(&args, depth, arms)?;
                let place = format!("{:>6} {latency_ms:>2} {bytes:>6} {depth:>5}", server.scheme);
                println!("{place}   {ours}   {theirs}   {least}");
            }
        }
    }
    Ok(())
}

/// Makes so many GETs.
type Gets<'a> = dyn FnMut(usize) -> Result<()> + 'a;

fn compare(args: &Args, depth: usize, mut arms: [Option<&mut Gets<'_>>; 3]) -> Result<[String; 3]> {
    let mut figures: [Vec<(f64, f64)>; 3] = Default::default();
    // Connections are made before anything is measured.
    for arm in arms.iter_mut().flatten() {
        arm(depth * 4)?;
    }
    for round in 0..args.rounds {
        for turn in 0..arms.len() {
            let at = (turn + round) % arms.len();
            let Some(arm) = &mut arms[at] else { continue };
            let start = (Instant::now(), cpu_us());
            arm(args.requests)?;
            let gets = args.requests as f64;
            let rate = gets / start.0.elapsed().as_secs_f64() / 1000.0;
            figures[at].push(((cpu_us() - start.1) / gets, rate));
        }
    }
    Ok(figures.map(|figures| {
        if figures.is_empty() {
            return format!("{:30}", "");
        }
        let cpu = Figure::of(figures.iter().map(|f| f.0).collect()).expect("a round");
        let rate = Figure::of(figures.iter().map(|f| f.1).collect()).expect("a round");
        format!("{:6.1} {:6.1} {:6.1} {:9.1}", cpu.min, cpu.median, cpu.max, rate.median)
    }))
}

// User and system time of this process.
fn cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

fn offset(number: usize, bytes: usize) -> u64 {
    let places = ((OBJECT_MIB << 20) / bytes) as u64;
    mixed(number as u64) % places * bytes as u64
}

/// `httpd` beside this program.
struct Server {
    process: Child,
    scheme: &'static str,
    address: SocketAddr,
    certificate: Option<CertificateDer<'static>>,
}

impl Server {
    fn start(folder: &Path, latency_ms: u64, certificate: Option<&Path>) -> Result<Self> {
        let program: PathBuf = std::env::current_exe()?.with_file_name("httpd");
        let mut command = Command::new(program);
        command.arg("--dir").arg(folder).arg(format!("--latency-ms={latency_ms}"));
        if let Some(path) = certificate {
            command.arg("--tls").arg(path);
        }
        let mut process = command.stdout(Stdio::piped()).spawn().context("running httpd")?;
        let mut url = String::new();
        BufReader::new(process.stdout.take().context("a pipe")?).read_line(&mut url)?;
        let (scheme, address) = url.trim().split_once("://").context("httpd tells its url")?;
        let scheme = if scheme == "https" { "https" } else { "http" };
        let certificate = certificate.map(CertificateDer::from_pem_file).transpose()?;
        Ok(Self { process, scheme, address: address.parse()?, certificate })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

struct Ring {
    driver: ReadDriver,
    pool: Pool,
    object: ObjectSlot,
    number: usize,
}

impl Ring {
    fn open(server: &Server, inline: bool) -> Result<Self> {
        let mode = if inline { RingMode::Inline } else { RingMode::Owned };
        let mut driver = ReadDriver::open(IoKind::Uring, mode)?;
        let tls = match &server.certificate {
            Some(certificate) => {
                let trust = Trust::new(std::slice::from_ref(certificate))?;
                Some(Tls::new(&trust, &server.address.ip().to_string())?)
            }
            None => None,
        };
        let endpoint = Endpoint::new(vec![server.address], &server.address.to_string(), tls)?;
        let target = Arc::new(Target::new(endpoint, "/object".into(), u64::MAX)?);
        let bytes = (OBJECT_MIB << 20) as u64;
        let object = driver.open_object(OpenObject::of_target(object_name(), target, bytes));
        Ok(Self { driver, pool: Pool::default(), object, number: 0 })
    }

    fn gets(&mut self, bytes: usize, depth: usize, requests: usize) -> Result<()> {
        let (mut sent, mut done) = (0, Vec::new());
        while sent < requests || self.driver.pending() > 0 {
            while sent < requests && self.driver.pending() < depth {
                self.submit(bytes)?;
                sent += 1;
            }
            self.driver.turn(clock::now(), Wait::Until { deadline: None }, &mut done)?;
            for answer in done.drain(..) {
                let IoDone::Read { buf, result, token, .. } = answer else { continue };
                result?;
                let first = mixed(token.0 / 8).to_le_bytes();
                ensure!(buf.bytes()[..8] == first, "other bytes than those asked for");
                self.pool.give_back(buf);
            }
        }
        Ok(())
    }

    fn submit(&mut self, bytes: usize) -> Result<()> {
        self.number += 1;
        let offset = offset(self.number, bytes);
        let (token, object, buf) = (Token(offset), self.object, self.pool.take(bytes)?);
        self.driver.submit(Read { token, object, offset, buf, again: false }, clock::now());
        Ok(())
    }
}

struct Reqwest {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    url: String,
}

impl Reqwest {
    fn open(server: &Server) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(server.certificate.iter().cloned());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client =
            reqwest::Client::builder().tls_backend_preconfigured(tls).http1_only().build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let url = format!("{}://{}/object", server.scheme, server.address);
        Ok(Self { runtime, client, url })
    }

    fn gets(&self, bytes: usize, depth: usize, requests: usize) -> Result<()> {
        self.runtime.block_on(async {
            let share = requests / depth;
            let clients: Vec<_> = (0..depth)
                .map(|at| {
                    let (client, url) = (self.client.clone(), self.url.clone());
                    tokio::spawn(async move {
                        let mut buf = vec![0; bytes];
                        for i in 0..share {
                            let first = offset(at * share + i, bytes);
                            let range = format!("bytes={first}-{}", first + bytes as u64 - 1);
                            let request = client.get(&url).header("Range", range);
                            let answer = request.send().await?.error_for_status()?;
                            buf.copy_from_slice(&answer.bytes().await?);
                            let expected = mixed(first / 8).to_le_bytes();
                            ensure!(buf[..8] == expected, "other bytes than those asked for");
                        }
                        Ok(())
                    })
                })
                .collect();
            for client in clients {
                client.await??;
            }
            Ok(())
        })
    }
}

/// Connections that block, one request in flight on each.
struct Bare {
    sockets: Vec<TcpStream>,
    host: SocketAddr,
    buf: Vec<u8>,
    number: usize,
}

impl Bare {
    fn open(server: &Server, depth: usize) -> Result<Self> {
        let connect = |_| {
            let socket = TcpStream::connect(server.address)?;
            socket.set_nodelay(true)?;
            Ok(socket)
        };
        let sockets = (0..depth).map(connect).collect::<Result<_>>()?;
        Ok(Self { sockets, host: server.address, buf: Vec::new(), number: 0 })
    }

    fn gets(&mut self, bytes: usize, requests: usize) -> Result<()> {
        let heads_max = 4096;
        self.buf.resize(bytes + heads_max, 0);
        for _ in 0..requests.div_ceil(self.sockets.len()) {
            for socket in &mut self.sockets {
                self.number += 1;
                let first = offset(self.number, bytes);
                let (host, last) = (self.host, first + bytes as u64 - 1);
                let request = format!(
                    "GET /object HTTP/1.1\r\nHost: {host}\r\nRange: bytes={first}-{last}\r\n\r\n"
                );
                socket.write_all(request.as_bytes())?;
            }
            for socket in &mut self.sockets {
                let (mut received, mut head) = (0, None);
                while head.is_none_or(|head| received < head + bytes) {
                    let read = socket.read(&mut self.buf[received..])?;
                    ensure!(read > 0, "the server closed a connection");
                    received += read;
                    let end = self.buf[..received].windows(4).position(|w| w == b"\r\n\r\n");
                    head = head.or(end.map(|at| at + 4));
                }
            }
        }
        Ok(())
    }
}
