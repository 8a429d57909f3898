//! Which store, reached by HTTP or lent by the host, and where in it: what a url says of that.

use std::net::IpAddr;

use crate::types::{Error, Result};

/// Protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `s3://bucket/prefix`: Amazon S3, and what speaks its protocol.
    S3,
    /// `gs://bucket/prefix`: Google Cloud Storage.
    Gs,
    /// `abfs://container@account/prefix`: Azure blob storage.
    Abfs,
    /// `webhdfs://host:port/prefix`: HDFS by its REST protocol.
    WebHdfs,
    /// `host://name/prefix`: a file system that the host of this process lends (`io/host/`).
    Host,
}

impl Scheme {
    /// The scheme of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "s3" => Self::S3,
            "gs" => Self::Gs,
            "abfs" => Self::Abfs,
            "webhdfs" => Self::WebHdfs,
            "host" => Self::Host,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Abfs => "abfs",
            Self::WebHdfs => "webhdfs",
            Self::Host => "host",
        }
    }
}

/// Where credentials come from. They are never in a url.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// The environment and the files it names, as the store's own tools read them.
    #[default]
    Environment,
    /// As `Environment`, and the metadata service of the machine, which is asked over the network.
    Instance,
    /// None: the store lets everybody in.
    Anonymous,
}

/// A root in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePlace {
    /// The protocol.
    pub scheme: Scheme,
    /// Bucket, container, host and port of HDFS, or the name of a host's file system.
    pub bucket: String,
    /// The account of a container; empty elsewhere.
    pub account: String,
    /// The prefix of all names, from a slash to a slash.
    pub root: String,
    /// Where the protocol is spoken, if not where everybody expects it.
    pub endpoint: Option<String>,
    /// The region of a bucket.
    pub region: Option<String>,
    /// The user of HDFS.
    pub user: Option<String>,
    /// Where credentials come from.
    pub credentials: Credentials,
    /// State and credentials may cross a network as they are.
    pub plaintext: bool,
    /// Each upload says its CRC-32C, and the store refuses other bytes.
    pub checksum: bool,
}

impl RemotePlace {
    /// Reads what follows `scheme://`, up to the query.
    ///
    /// # Errors
    /// `Invalid`, without the part that may be a password.
    pub fn parse(scheme: Scheme, rest: &str) -> Result<Self> {
        let name = scheme.name();
        let wrong = |why: &str| Error::invalid(format!("DFS url {name}://: {why}"));
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, account) = match (scheme, authority.split_once('@')) {
            (Scheme::Abfs, Some((container, account))) => {
                // Hadoop writes the host of the account.
                (container, account.split('.').next().unwrap_or(account))
            }
            (Scheme::Abfs, None) => {
                return Err(wrong("write the account too, as in abfs://container@account/prefix"));
            }
            (_, Some(_)) => {
                return Err(wrong(
                    "user names and passwords belong into the environment, not here",
                ));
            }
            (_, None) => (authority, ""),
        };
        if bucket.is_empty() {
            return Err(wrong(match scheme {
                Scheme::WebHdfs => "it names no host, as in webhdfs://namenode:9870/prefix",
                Scheme::Host => "it names no file system, as in host://name/prefix",
                _ => "it names no bucket, as in s3://bucket/prefix",
            }));
        }
        let (place, path) = match scheme {
            Scheme::Host => ("the name of a file system", "path"),
            Scheme::WebHdfs => ("a host", "prefix"),
            Scheme::Abfs => ("a container", "prefix"),
            Scheme::S3 | Scheme::Gs => ("a bucket", "prefix"),
        };
        // A host has a port, or is an address of IPv6.
        let more = if matches!(scheme, Scheme::WebHdfs | Scheme::Host) { "-_.:[]" } else { "-_." };
        let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        if !bucket.chars().all(allowed) {
            return Err(wrong(&format!("{place} is of letters, digits, - _ and .")));
        }
        if !account.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(wrong("an account is of letters and digits"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/=+@,".contains(c);
        if !prefix.chars().all(plain) {
            let what = format!("the {path} behind it is of letters, digits, - _ . ~ = + @ , and /");
            return Err(wrong(&what));
        }
        let steps: Vec<&str> = prefix.split('/').filter(|step| !step.is_empty()).collect();
        if steps.iter().any(|&step| step == "." || step == "..") {
            return Err(wrong(&format!("a {path} goes down only: . and .. are no steps of it")));
        }
        let mut root = String::from("/");
        for step in steps {
            root.push_str(step);
            root.push('/');
        }
        Ok(Self {
            scheme,
            bucket: bucket.to_owned(),
            account: account.to_owned(),
            root,
            endpoint: None,
            region: None,
            user: None,
            credentials: Credentials::default(),
            plaintext: false,
            checksum: false,
        })
    }

    /// Names of its parameters.
    #[must_use]
    pub fn parameters(&self) -> &'static [&'static str] {
        match self.scheme {
            Scheme::S3 => &["endpoint", "region", "credentials", "plaintext", "checksum"],
            Scheme::Gs | Scheme::Abfs => &["endpoint", "credentials", "plaintext"],
            Scheme::WebHdfs => &["endpoint", "user", "plaintext"],
            Scheme::Host => &["plaintext"],
        }
    }

    /// Takes a parameter; false if there is none of this name.
    ///
    /// # Errors
    /// `Invalid` for its value.
    pub fn set(&mut self, url: &str, name: &str, value: &str) -> Result<bool> {
        if !self.parameters().contains(&name) {
            return Ok(false);
        }
        let wrong = |why| Error::invalid(format!("DFS url {url}: {name} {why}"));
        let owned = || Some(value.to_owned());
        match name {
            "endpoint" => self.endpoint = Some(endpoint(value).map_err(wrong)?),
            "region" if value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
                self.region = owned();
            }
            "region" => return Err(wrong("is of letters, digits and -")),
            "user" => self.user = owned(),
            "plaintext" if value == "allowed" => self.plaintext = true,
            "plaintext" => return Err(wrong("is allowed, or left out")),
            "checksum" if value == "crc32c" => self.checksum = true,
            "checksum" => return Err(wrong("is crc32c, or left out")),
            _ => {
                self.credentials = match value {
                    "environment" => Credentials::Environment,
                    "instance" => Credentials::Instance,
                    "anonymous" => Credentials::Anonymous,
                    _ => return Err(wrong("is none of environment, instance, anonymous")),
                };
            }
        }
        Ok(true)
    }

    /// Where the protocol is spoken, if the url decides that.
    #[must_use]
    pub fn speaks_at(&self) -> Option<String> {
        let namenode = || format!("http://{}", self.bucket);
        let is_hdfs = self.scheme == Scheme::WebHdfs;
        self.endpoint.clone().or_else(|| is_hdfs.then(namenode))
    }

    /// That it crosses no network unencrypted, unless that is allowed.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check_plaintext(&self) -> Result<()> {
        let plain = self.speaks_at().filter(|at| at.starts_with("http://"));
        let Some(at) = plain.filter(|at| !self.plaintext && !is_loopback(at)) else {
            return Ok(());
        };
        Err(Error::invalid(format!(
            "DFS url {}: {at} is reached unencrypted, and everybody on the way reads the state; \
             name an endpoint of https, or add plaintext=allowed where the network is your own",
            self.label()
        )))
    }

    /// How it is called in texts.
    #[must_use]
    pub fn label(&self) -> String {
        let Self { scheme, bucket, account, root, .. } = self;
        let at = if account.is_empty() { "" } else { "@" };
        format!("{}://{bucket}{at}{account}{root}", scheme.name())
    }
}

pub(super) fn is_loopback(endpoint: &str) -> bool {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_local = |address: IpAddr| address.is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_local)
}

fn endpoint(value: &str) -> std::result::Result<String, &'static str> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains(['@', '%']) {
        return Err("holds a user name; credentials belong into the environment");
    }
    let known = scheme == "http" || scheme == "https";
    if !known || host.is_empty() || value.contains(['?', '#', ' ']) {
        return Err("is no endpoint, as in https://host:9000");
    }
    Ok(value.trim_end_matches('/').to_owned())
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
