//! What the workspace is built from: licences, versions and sources that `deny.toml` allows.
//! `cargo deny check` looks at advisories too.

use std::path::Path;
use std::process::Command;

use semver::{Version, VersionReq};
use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member of the workspace")
}

fn rules() -> toml::Table {
    std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()
}

/// Every package of the lock file that some target or feature needs.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn names(list: &toml::Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// What a package says of its licence is met by these alone.
fn is_met(licence: &str, allowed: &[&str]) -> bool {
    let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
    expression.is_ok_and(|expression| {
        expression.evaluate(|required| {
            let id = required.license.id().map(|id| id.name);
            id.is_some_and(|id| allowed.contains(&id))
        })
    })
}

/// True if `banned`, such as `bytes:<1.11.1`, means this package.
fn is_banned(banned: &str, name: &str, version: &str) -> bool {
    let (package, versions) = banned.split_once(':').expect("a package and its versions");
    let versions = VersionReq::parse(versions).unwrap();
    package == name && versions.matches(&Version::parse(version).unwrap())
}

#[test]
fn every_package_is_allowed() {
    let rules = rules();
    let licences = &rules["licenses"];
    let exceptions = licences["exceptions"].as_array().unwrap();
    let packages = packages();
    assert!(packages.len() > 100, "{}", packages.len());
    for package in &packages {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        let mut allowed = names(&licences["allow"]);
        for exception in exceptions.iter().filter(|e| e["crate"].as_str() == Some(name)) {
            allowed.extend(names(&exception["allow"]));
        }
        assert!(is_met(text("license"), &allowed), "{name}: licence {}", text("license"));
        for banned in rules["bans"]["deny"].as_array().unwrap() {
            let banned = banned["crate"].as_str().unwrap();
            assert!(!is_banned(banned, name, version), "{name} {version}: {banned} is banned");
        }
        let source = package["source"].as_str();
        assert!(source.is_none_or(|source| source == CRATES_IO), "{name}: from {source:?}");
    }
    println!("{} packages", packages.len());
}

#[test]
fn what_is_not_allowed_is_found() {
    let allowed = ["MIT", "Apache-2.0"];
    for licence in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "MIT AND Apache-2.0"] {
        assert!(is_met(licence, &allowed), "{licence}");
    }
    for licence in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND BSD-3-Clause"] {
        assert!(!is_met(licence, &allowed), "{licence}");
    }
    assert!(is_banned("bytes:<1.11.1", "bytes", "1.11.0"));
    assert!(!is_banned("bytes:<1.11.1", "bytes", "1.11.1"));
    assert!(!is_banned("bytes:<1.11.1", "lz4_flex", "0.1.0"));
}
