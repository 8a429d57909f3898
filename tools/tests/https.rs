//! A store behind https whose certificate the system does not know, through the real binary.

use std::path::Path;
use std::process::{Command, Output};

use aquifer_tests::servers::{self, Credentials};
use serde_json::Value;

/// What the command says with these certificates beside the system's, or without any.
fn aquifer(who: Credentials, trusted: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    command.env("AWS_ACCESS_KEY_ID", who.user).env("AWS_SECRET_ACCESS_KEY", who.secret);
    command.env("SSL_CERT_FILE", trusted);
    command.args(args).output().unwrap()
}

#[test]
fn a_store_behind_https_is_read_on_the_ring_by_those_who_trust_it() {
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (ours, other) = (made("127.0.0.1"), made("127.0.0.1"));
    let key = ours.signing_key.serialize_pem();
    let Some(server) = servers::told(servers::start_tls(&ours.cert.pem(), &key)) else { return };
    server.create_bucket("https");
    let who = server.kind.credentials();
    let folder = tempfile::tempdir().unwrap();
    let [trusted, strange, json, dir] =
        ["trusted", "strange", "json", "dir"].map(|name| folder.path().join(name));
    std::fs::write(&trusted, ours.cert.pem()).unwrap();
    std::fs::write(&strange, other.cert.pem()).unwrap();
    let url = format!("s3://https/state?endpoint=https://{}", server.address);

    let refused = aquifer(who, &strange, &["probe", &url]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("certificate"), "{said}");
    let lost = aquifer(who, &folder.path().join("lost"), &["probe", &url]);
    let said = String::from_utf8_lossy(&lost.stderr);
    assert!(said.contains("lost") && said.contains("SSL_CERT_FILE"), "{said}");

    let (report, dir) = (json.to_str().unwrap(), dir.to_str().unwrap());
    let data = ["--records", "6K", "--value-size", "16K", "--memory", "48M", "--dir", dir];
    let run = ["bench", "load,get", "--seconds", "1", "--warmup", "0", "--dfs", &url];
    let output = aquifer(who, &trusted, &[&run[..], &data, &["--json", report]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let gets = report["phases"].as_array().unwrap().iter().find(|phase| phase["name"] == "get");
    let counters = &gets.unwrap()["counters"];
    assert!(counters["ring_gets"].as_u64().unwrap() > 0, "{counters}");
}
