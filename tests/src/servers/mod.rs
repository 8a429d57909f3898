//! Real object stores for tests, which `tests/servers/install.sh` installs: each on a port of the
//! loopback interface, with its data in a folder that goes with it.

use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

mod process;

use aquifer::io::host::credentials::{Given, Secret};

use crate::http;
use process::Process;

/// A start takes seconds: who waits for this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at whether a server answers.
const LOOK: Duration = Duration::from_millis(50);
/// Another process may take the port that was free: another one is tried then.
const STARTS_MAX: usize = 3;

/// The account that Azurite has, with the key that its documentation gives.
const AZURE: Credentials = Credentials {
    user: "devstoreaccount1",
    secret: "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6\
        tq/K1SZFPTOtr/KBHBeksoGMGw==",
};
/// Lets anybody do everything with that account until the year 2999: parameters, and their
/// HMAC-SHA-256 with its key.
pub const AZURE_SIGNED: &str = "sv=2019-12-12&ss=b&srt=sco&sp=rwdlac&se=2999-01-01T00:00:00Z\
    &spr=https,http&sig=Zs1etPpWl4TsuXv7%2FvZ87gGTpDSZ5QAPQg%2BHGVodQEQ%3D";

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Azure Blob Storage.
    Azurite,
    /// Google Cloud Storage, in memory. Takes requests without credentials.
    FakeGcs,
    /// HDFS by WebHDFS. Takes requests without credentials.
    Hdfs,
    /// S3 as a single writer of a name sees it, under races too.
    Minio,
    /// S3, but several writers may win the race to create a name.
    S3s,
}

/// All of them.
pub const KINDS: [Kind; 5] = [Kind::Azurite, Kind::FakeGcs, Kind::Hdfs, Kind::Minio, Kind::S3s];

/// Who is let in. Made up for tests, or empty where the server asks for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Access key, account or user.
    pub user: &'static str,
    /// Secret key, or key of the account.
    pub secret: &'static str,
}

/// Why a server was not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRun(String);

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kind {
    /// As `install.sh` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Azurite => "azurite",
            Self::FakeGcs => "fake-gcs-server",
            Self::Hdfs => "hdfs",
            Self::Minio => "minio",
            Self::S3s => "s3s-fs",
        }
    }

    /// Who is let in.
    #[must_use]
    pub fn credentials(self) -> Credentials {
        match self {
            Self::Azurite => AZURE,
            Self::FakeGcs => Credentials { user: "", secret: "" },
            Self::Hdfs => Credentials { user: "aquifer", secret: "" },
            Self::Minio | Self::S3s => {
                Credentials { user: "aquifer-tests", secret: "only-for-tests-on-loopback" }
            }
        }
    }

    /// The same, as clients call it.
    #[must_use]
    pub fn variables(self, who: Credentials) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Azurite => vec![("AZURE_STORAGE_KEY", who.secret)],
            // It lets everybody in who says something that its protocol knows.
            Self::FakeGcs => vec![("GOOGLE_OAUTH_ACCESS_TOKEN", "a-token")],
            Self::Hdfs => vec![("HADOOP_USER_NAME", who.user)],
            Self::Minio | Self::S3s => {
                vec![("AWS_ACCESS_KEY_ID", who.user), ("AWS_SECRET_ACCESS_KEY", who.secret)]
            }
        }
    }

    /// The same, as a host gives it to an engine.
    #[must_use]
    pub fn given(self, who: Credentials) -> Given {
        let mut given = Given::default();
        for (name, value) in self.variables(who) {
            given.set(name, Secret::new(value)).expect("a name that stores know");
        }
        given
    }

    /// The url of a root in a bucket, at the endpoint of the server or of a proxy in front of it.
    /// It names nobody.
    ///
    /// # Panics
    /// If the endpoint is not of http.
    #[must_use]
    pub fn url(self, endpoint: &str, bucket: &str) -> String {
        let user = self.credentials().user;
        match self {
            Self::Azurite => format!("abfs://{bucket}@{user}/state?endpoint={endpoint}/{user}"),
            Self::FakeGcs => format!("gs://{bucket}/state?endpoint={endpoint}"),
            Self::Hdfs => {
                let address = endpoint.strip_prefix("http://").expect("an endpoint");
                format!("webhdfs://{address}/{bucket}/state?")
            }
            Self::Minio | Self::S3s => format!("s3://{bucket}/state?endpoint={endpoint}"),
        }
    }

    fn command(self, servers: &Path, data: PathBuf, who: Credentials, port: u16) -> Command {
        let program = |name: &str| Command::new(servers.join("bin").join(name));
        let (Credentials { user, secret }, port) = (who, port.to_string());
        match self {
            Self::Azurite => {
                let mut node = Command::new("node");
                node.arg(servers.join("azurite/node_modules/azurite/dist/src/blob/main.js"));
                node.args(["--blobHost", "127.0.0.1", "--blobPort", &port, "--location"]).arg(data);
                node.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
                node
            }
            Self::FakeGcs => {
                let mut gcs = program("fake-gcs-server");
                gcs.args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port]);
                gcs.args(["-backend", "memory", "-log-level", "warn"]);
                // Of any port, so that a proxy may stand before it.
                gcs.args(["-public-host", "127.0.0.1"]);
                gcs
            }
            Self::Hdfs => {
                let mut java = Command::new("java");
                let classes = [servers.join("hdfs/classes"), servers.join("hdfs/lib/*")];
                java.arg("-cp").arg(std::env::join_paths(classes).expect("no colons"));
                // It runs too briefly to be worth more of a compiler.
                java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "HdfsServer"])
                    .arg(data)
                    .arg(port);
                java
            }
            Self::Minio => {
                let mut minio = program("minio");
                minio.args(["server", "--address", &format!("127.0.0.1:{port}")]);
                // Without certificates in there it speaks without TLS.
                minio.arg("--certs-dir").arg(data.with_file_name("certs")).arg(data);
                minio.env("MINIO_ROOT_USER", user).env("MINIO_ROOT_PASSWORD", secret);
                minio.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
                minio
            }
            Self::S3s => {
                let mut s3s = program("s3s-fs");
                s3s.args(["--host", "127.0.0.1", "--port", &port]);
                s3s.args(["--access-key", user, "--secret-key", secret]).arg(data);
                s3s
            }
        }
    }

    /// What answers with which status when the server is ready.
    fn ready(self) -> (&'static str, u16) {
        match self {
            Self::Azurite => ("/devstoreaccount1?comp=list", 403),
            Self::FakeGcs => ("/storage/v1/b", 200),
            Self::Hdfs => ("/webhdfs/v1/ready?op=GETFILESTATUS", 200),
            // Its own page says so before it takes objects.
            Self::Minio | Self::S3s => ("/", 403),
        }
    }
}

/// A server that runs until it is dropped, or this process ends.
#[derive(Debug)]
pub struct Server {
    /// What it is.
    pub kind: Kind,
    /// Such as `127.0.0.1:9000`.
    pub address: String,
    folder: PathBuf,
    _process: Process,
}

impl Server {
    /// Such as `http://127.0.0.1:9000`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Of its data, in `data`, and of what it said, in `log`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a bucket, which Azure calls a container and HDFS a folder.
    ///
    /// # Panics
    /// If the server refuses, as it may if there is one of that name.
    pub fn create_bucket(&self, name: &str) {
        let json = format!("{{\"name\": \"{name}\"}}");
        let (method, target, body) = match self.kind {
            Kind::Azurite => {
                let Credentials { user, .. } = AZURE;
                ("PUT", format!("/{user}/{name}?restype=container&{AZURE_SIGNED}"), "")
            }
            Kind::FakeGcs => ("POST", "/storage/v1/b?project=tests".to_owned(), json.as_str()),
            Kind::Hdfs => ("PUT", format!("/webhdfs/v1/{name}?op=MKDIRS"), ""),
            // A folder of a disk is a bucket to both.
            Kind::Minio | Kind::S3s => {
                std::fs::create_dir(self.folder.join("data").join(name)).expect("a new bucket");
                return;
            }
        };
        let reply = http::ask(&self.address, method, &target, &[], body.as_bytes());
        let reply = reply.expect("the server answers");
        let told = String::from_utf8_lossy(&reply.body);
        assert!(matches!(reply.status, 200 | 201), "{}: {} {told}", self.kind.name(), reply.status);
    }
}

/// Starts a server of its own for the caller.
///
/// # Errors
/// If it is not installed.
///
/// # Panics
/// If it is installed and does not start.
pub fn start(kind: Kind) -> Result<Server, NotRun> {
    let servers = installed(kind)?;
    for _ in 0..STARTS_MAX {
        if let Some(server) = attempt(kind, &servers, None, kind.credentials(), None) {
            return Ok(server);
        }
    }
    panic!("{} does not start; what it said stands above", kind.name());
}

/// Starts a MinIO of its own for the caller that speaks TLS alone, with this certificate and key,
/// both PEM. It may not be ready yet.
///
/// # Errors
/// If it is not installed.
///
/// # Panics
/// If it is installed and does not start.
pub fn start_tls(certificate: &str, key: &str) -> Result<Server, NotRun> {
    let (kind, servers) = (Kind::Minio, installed(Kind::Minio)?);
    let tls = Some((certificate, key));
    let mut attempts =
        (0..STARTS_MAX).map(|_| attempt(kind, &servers, None, kind.credentials(), tls));
    Ok(attempts.find_map(|server| server).expect("it starts as without TLS"))
}

/// Starts a server on the data of another, which lets in somebody else.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn start_beside(other: &Server, who: Credentials) -> Server {
    let servers = installed(other.kind).expect("the other runs");
    let data = other.folder.join("data");
    let mut attempts =
        (0..STARTS_MAX).map(|_| attempt(other.kind, &servers, Some(&data), who, None));
    attempts.find_map(|server| server).expect("it starts as the other did")
}

/// The server of its kind that all tests of this process share.
///
/// # Errors
/// If it is not installed.
///
/// # Panics
/// If it is installed and does not start.
pub fn shared(kind: Kind) -> Result<&'static Server, NotRun> {
    static SERVERS: [OnceLock<Result<Server, NotRun>>; KINDS.len()] =
        [const { OnceLock::new() }; KINDS.len()];
    SERVERS[kind as usize].get_or_init(|| start(kind)).as_ref().map_err(Clone::clone)
}

/// What was started, or nothing and a line that says so, which `./test` sums up.
pub fn told<T>(started: Result<T, NotRun>) -> Option<T> {
    started.inspect_err(|why| crate::not_run(why)).ok()
}

/// The folder of `install.sh`, if what is asked for was installed there.
fn installed(kind: Kind) -> Result<PathBuf, NotRun> {
    let stamp = format!("{}.version", kind.name());
    let folders: Vec<PathBuf> = if let Some(folder) = std::env::var_os("AQUIFER_SERVERS") {
        vec![folder.into()]
    } else {
        // Where cargo builds, which is above the program that runs.
        let program = std::env::current_exe().expect("a program");
        program.ancestors().map(|folder| folder.join("servers")).collect()
    };
    let found = folders.into_iter().find(|folder| folder.join(&stamp).is_file());
    let why = || NotRun(format!("{}: not installed by tests/servers/install.sh", kind.name()));
    found.ok_or_else(why)
}

fn attempt(
    kind: Kind,
    servers: &Path,
    data: Option<&Path>,
    who: Credentials,
    tls: Option<(&str, &str)>,
) -> Option<Server> {
    let folder = tempfile::Builder::new().prefix("data.").tempdir_in(servers).expect("a folder");
    let certs = folder.path().join("certs");
    for new in [&folder.path().join("data"), &certs] {
        std::fs::create_dir(new).expect("a folder");
    }
    if let Some((certificate, key)) = tls {
        std::fs::write(certs.join("public.crt"), certificate).expect("a certificate");
        std::fs::write(certs.join("private.key"), key).expect("its key");
    }
    // Free until somebody takes it: this asks the system for one and lets it go.
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let address = format!("127.0.0.1:{port}");
    let data = data.map_or_else(|| folder.path().join("data"), Path::to_owned);
    let command = kind.command(servers, data, who, port);
    // From here on the keeper removes the folder.
    let folder = folder.keep();
    let mut process = Process::start(&command, &folder).expect("a shell");
    let (target, mut status) = kind.ready();
    if tls.is_some() {
        // What it says to those who do not.
        status = 400;
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if process.ended().is_some() {
            return None;
        }
        if http::ask(&address, "GET", target, &[], b"").is_ok_and(|reply| reply.status == status) {
            return Some(Server { kind, address, folder, _process: process });
        }
        std::thread::sleep(LOOK);
    }
    panic!("{} does not answer {target} with {status}", kind.name());
}
