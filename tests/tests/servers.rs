//! The servers of the fixtures do what stores are asked for, each by its own protocol.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aquifer_tests::http;
use aquifer_tests::proxy::{Fault, Proxy, Rule};
use aquifer_tests::servers::{self, Kind, Server};
use opendal::services::{Azblob, Gcs, S3, Webhdfs};
use opendal::{ErrorKind, HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::task::JoinSet;

/// Writers that race for a name.
const WRITERS: usize = 8;
/// Names that they race for.
const ROUNDS: usize = 10;
/// Of a signed target.
const HOUR: Duration = Duration::from_secs(3600);

/// A client of a bucket, at the endpoint of the server or of a proxy in front of it.
fn client(kind: Kind, endpoint: &str, bucket: &str) -> Operator {
    let servers::Credentials { user, secret } = kind.credentials();
    let operator = match kind {
        Kind::Azurite => Operator::new(
            Azblob::default()
                .endpoint(&format!("{endpoint}/{user}"))
                .container(bucket)
                .account_name(user)
                .account_key(secret),
        ),
        Kind::FakeGcs => Operator::new(
            Gcs::default()
                .endpoint(endpoint)
                .bucket(bucket)
                .skip_signature()
                .disable_vm_metadata()
                .disable_config_load(),
        ),
        Kind::Hdfs => Operator::new(
            Webhdfs::default().endpoint(endpoint).root(&format!("/{bucket}")).user_name(user),
        ),
        Kind::Minio | Kind::S3s => Operator::new(
            S3::default()
                .endpoint(endpoint)
                .bucket(bucket)
                .region("us-east-1")
                .access_key_id(user)
                .secret_access_key(secret)
                .disable_config_load()
                .disable_ec2_metadata(),
        ),
    };
    // Connections of its own: those of one runtime are of no use to another.
    let http = HttpTransporter::new(ReqwestTransport::new(reqwest::Client::new()));
    operator.unwrap().with_context(OperationContext::new().with_http_transport(http))
}

fn run<T>(work: impl Future<Output = T>) -> T {
    // What the HTTP client asks for even without https; the first one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

/// A server that runs, with a bucket of this name.
fn server(kind: Kind, bucket: &str) -> Option<&'static Server> {
    let server = servers::told(servers::shared(kind))?;
    server.create_bucket(bucket);
    Some(server)
}

fn body() -> Vec<u8> {
    (0..100_000_u32).map(|at| (at % 251) as u8).collect()
}

/// Put, get, range, list and delete.
async fn stores_objects(operator: &Operator) {
    operator.write("folder/a", body()).await.unwrap();
    operator.write("folder/b", "b").await.unwrap();
    assert!(operator.read("folder/a").await.unwrap().to_vec() == body());
    let range = operator.read_with("folder/a").range(70_000..70_100).await.unwrap();
    assert_eq!(range.to_vec(), body()[70_000..70_100]);
    assert_eq!(operator.stat("folder/a").await.unwrap().content_length(), 100_000);
    assert_eq!(names(operator).await, ["folder/a", "folder/b"]);
    operator.delete("folder/a").await.unwrap();
    let error = operator.read("folder/a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(names(operator).await, ["folder/b"]);
}

/// The objects of the folder.
async fn names(operator: &Operator) -> Vec<String> {
    let entries = operator.list("folder/").await.unwrap();
    let files = entries.iter().filter(|entry| entry.metadata().is_file());
    let names: BTreeSet<String> = files.map(|entry| entry.path().to_owned()).collect();
    names.into_iter().collect()
}

/// A get without a client answers a range with 206. `target` is of an object that holds `body`.
fn answers_206(server: &Server, target: &str) {
    let headers = ["Range: bytes=70000-70099"];
    let reply = http::ask(&server.address, "GET", target, &headers, b"").unwrap();
    assert_eq!(reply.status, 206, "{}", String::from_utf8_lossy(&reply.body));
    assert_eq!(reply.header("content-range"), Some("bytes 70000-70099/100000"));
    assert!(reply.body == body()[70_000..70_100], "{} bytes", reply.body.len());
}

/// A target that is signed for an hour.
async fn signed(operator: &Operator, path: &str) -> String {
    let request = operator.presign_read(path, HOUR).await.unwrap();
    request.uri().path_and_query().unwrap().to_string()
}

/// How many of the writers that race create each name; each writes something else, and the object
/// is what one that was told yes has written.
async fn winners(operator: &Operator) -> Vec<usize> {
    let mut counts = Vec::new();
    for round in 0..ROUNDS {
        let path = format!("race/{round}");
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (operator, path) = (operator.clone(), path.clone());
            writers.spawn(async move {
                let told = operator.write_with(&path, vec![writer as u8; 1000]).if_not_exists(true);
                match told.await {
                    Ok(_) => Some(writer),
                    Err(error) if error.kind() == ErrorKind::ConditionNotMatch => None,
                    Err(error) => panic!("{error}"),
                }
            });
        }
        let told: Vec<usize> = writers.join_all().await.into_iter().flatten().collect();
        let object = operator.read(&path).await.unwrap().to_vec();
        assert!(told.iter().any(|writer| object == vec![*writer as u8; 1000]), "{told:?}");
        counts.push(told.len());
    }
    counts
}

#[test]
fn minio() {
    let Some(server) = server(Kind::Minio, "objects") else { return };
    run(async {
        let operator = client(server.kind, &server.endpoint(), "objects");
        stores_objects(&operator).await;
        operator.write("a", body()).await.unwrap();
        answers_206(server, &signed(&operator, "a").await);
    });
}

#[test]
fn minio_lets_one_writer_create_a_name() {
    let Some(server) = server(Kind::Minio, "races") else { return };
    run(async {
        let operator = client(server.kind, &server.endpoint(), "races");
        assert_eq!(winners(&operator).await, [1; ROUNDS]);
    });
}

#[test]
fn minio_checks_signatures() {
    let Some(server) = server(Kind::Minio, "signatures") else { return };
    run(async {
        let operator = client(server.kind, &server.endpoint(), "signatures");
        operator.write("a", "a").await.unwrap();
        operator.write("b", "b").await.unwrap();
        let other = signed(&operator, "a").await.replace("/a?", "/b?");
        assert_eq!(http::ask(&server.address, "GET", &other, &[], b"").unwrap().status, 403);
    });
}

#[test]
fn s3s() {
    let Some(server) = server(Kind::S3s, "objects") else { return };
    run(async {
        let operator = client(server.kind, &server.endpoint(), "objects");
        stores_objects(&operator).await;
        operator.write("a", body()).await.unwrap();
        answers_206(server, &signed(&operator, "a").await);
        // It is known to let several win.
        let winners = winners(&operator).await;
        assert!(winners.iter().all(|count| *count >= 1), "{winners:?}");
    });
}

#[test]
fn fake_gcs() {
    let Some(server) = server(Kind::FakeGcs, "objects") else { return };
    run(async {
        let operator = client(server.kind, &server.endpoint(), "objects");
        stores_objects(&operator).await;
        operator.write("a", body()).await.unwrap();
        answers_206(server, "/storage/v1/b/objects/o/a?alt=media");
    });
}

#[test]
fn azurite() {
    let Some(server) = server(Kind::Azurite, "objects") else { return };
    run(async {
        let operator = client(server.kind, &server.endpoint(), "objects");
        stores_objects(&operator).await;
        operator.write("a", body()).await.unwrap();
        let user = server.kind.credentials().user;
        let signed = servers::AZURE_SIGNED;
        answers_206(server, &format!("/{user}/objects/a?{signed}"));
    });
}

#[test]
fn hdfs() {
    let Some(server) = server(Kind::Hdfs, "objects") else { return };
    run(async {
        let operator = client(server.kind, &server.endpoint(), "objects");
        stores_objects(&operator).await;
    });
}

#[test]
fn a_client_reads_through_the_proxy_what_it_wrote() {
    let Some(server) = server(Kind::Minio, "proxied") else { return };
    let proxy = Proxy::new(&server.address, 1);
    run(async {
        let operator = client(server.kind, &proxy.endpoint(), "proxied");
        stores_objects(&operator).await;
        assert_eq!(winners(&operator).await, [1; ROUNDS]);
        proxy.rule(Rule::new(Fault::LoseReply).method("PUT").path("/lost"));
        operator.write("lost", "a").await.unwrap_err();
        assert_eq!(operator.read("lost").await.unwrap().to_vec(), b"a");
    });
    let counts = proxy.counts();
    assert_eq!(counts.faults_of("lose reply"), counts.requests_of("PUT") - 82);
}

#[test]
fn a_dropped_server_is_gone_with_its_folder() {
    let Some(server) = servers::told(servers::start(Kind::S3s)) else { return };
    server.create_bucket("objects");
    let (address, folder) = (server.address.clone(), server.folder().to_owned());
    assert!(folder.join("data/objects").is_dir());
    drop(server);
    assert!(!folder.exists());
    http::ask(&address, "GET", "/", &[], b"").unwrap_err();
}

/// Has the process of another test start a server and die.
const DIES: &str = "AQUIFER_TESTS_DIES";

#[test]
fn a_server_dies_with_its_process() {
    if std::env::var_os(DIES).is_some() {
        let server = servers::start(Kind::S3s).unwrap();
        println!("{} {}", server.address, server.folder().display());
        std::process::abort();
    }
    let Some(_) = servers::told(servers::shared(Kind::S3s)) else { return };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_dies_with_its_process", "--nocapture"])
        .env(DIES, "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find(|line| line.starts_with("127.0.0.1:")).expect(&said);
    let (address, folder) = line.split_once(' ').unwrap();
    // Its keeper holds the output until it is done.
    http::ask(address, "GET", "/", &[], b"").unwrap_err();
    assert!(!Path::new(folder).exists());
}
