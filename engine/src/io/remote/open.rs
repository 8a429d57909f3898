//! Which client speaks to a store, with which credentials.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use opendal::layers::{RetryEvent, RetryLayer, TimeoutLayer};
use opendal::services::{Azblob, Gcs, S3, Webhdfs};
use opendal::{Builder, HttpTransporter, OperationContext, Operator};
use reqsign_aws_v4::Credential as AwsCredential;
use reqsign_core::{Context, ProvideCredential, ProvideCredentialChain};

use crate::io::host::credentials::Given;
use crate::io::http::tls::tell_untrusted;
use crate::io::remote::error::plain;
use crate::io::remote::place::{Credentials, RemotePlace, Scheme};
use crate::io::remote::transport::{PARTS_FOLDER, Traffic, Transport};
use crate::limits::{
    REMOTE_PART_RETRY_MS, REMOTE_PART_RETRY_MS_MAX, REMOTE_PART_TRIES_MAX, REMOTE_TIMEOUT_MS,
};
use crate::types::{Error, Result};

/// The client of a root, and the same one that tries again what failed for the moment.
pub(super) fn operators(
    place: &RemotePlace,
    traffic: &Arc<Traffic>,
    given: &Given,
    refused: &Arc<AtomicBool>,
) -> Result<(Operator, Operator)> {
    let names = names(place.scheme);
    if let Some(other) = given.names().find(|name| !names.contains(name)) {
        let (label, scheme, names) = (place.label(), place.scheme.name(), names.join(", "));
        return Err(Error::invalid(format!(
            "DFS url {label}: the credential {other} is none of {scheme}, which takes {names}"
        )));
    }
    let built = match place.scheme {
        Scheme::S3 => build(s3(place, given)?),
        Scheme::Gs => build(gs(place, given)),
        Scheme::Abfs => build(abfs(place, given)?),
        Scheme::WebHdfs => build(webhdfs(place, given)),
        Scheme::Host => return Err(Error::invalid("a host's file system is no store of HTTP")),
    };
    let operator = built.map_err(|e| {
        let cause = plain(e.message());
        Error::invalid(format!("DFS url {}: {cause}{}", place.label(), remedy(place)))
    })?;
    if place.speaks_at().is_none_or(|at| at.starts_with("https:")) {
        tell_untrusted();
    }
    let elsewhere = place.scheme == Scheme::WebHdfs;
    let transport = Transport::new(elsewhere, traffic.clone(), refused.clone())?;
    let parts = transport.of_parts();
    let context = |transport| {
        OperationContext::default().with_http_transport(HttpTransporter::new(transport))
    };
    let timeout = Duration::from_millis(REMOTE_TIMEOUT_MS);
    let limits = TimeoutLayer::new().with_timeout(timeout).with_io_timeout(timeout);
    let again = traffic.clone();
    let retries = RetryLayer::new().with_max_times(REMOTE_PART_TRIES_MAX).with_jitter();
    let retries = retries.with_min_delay(Duration::from_millis(REMOTE_PART_RETRY_MS));
    let retries = retries.with_max_delay(Duration::from_millis(REMOTE_PART_RETRY_MS_MAX));
    let retries = retries.with_notify(move |_: RetryEvent<'_>| again.part_failed());
    let patient = operator.clone().with_context(context(parts)).layer(limits.clone());
    Ok((operator.with_context(context(transport)).layer(limits), patient.layer(retries)))
}

/// The credentials that a protocol knows.
fn names(scheme: Scheme) -> &'static [&'static str] {
    match scheme {
        Scheme::S3 => &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
        Scheme::Gs => &["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN"],
        Scheme::Abfs => {
            &["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"]
        }
        Scheme::WebHdfs => &["HADOOP_USER_NAME", "WEBHDFS_DELEGATION_TOKEN"],
        Scheme::Host => &[],
    }
}

fn build(builder: impl Builder) -> opendal::Result<Operator> {
    Operator::new(builder)
}

fn remedy(place: &RemotePlace) -> &'static str {
    match place.scheme {
        Scheme::S3 if place.region.is_none() => "; name the region, as in ?region=eu-central-1",
        _ => "",
    }
}

/// Keys that the host gave. The client's own would be logged with what they hold.
struct Keys(AwsCredential);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys of the host")
    }
}

impl ProvideCredential for Keys {
    type Credential = AwsCredential;

    async fn provide_credential(&self, _: &Context) -> reqsign_core::Result<Option<AwsCredential>> {
        Ok(Some(self.0.clone()))
    }
}

fn s3(place: &RemotePlace, given: &Given) -> Result<S3> {
    let mut builder = S3::default().bucket(&place.bucket).root(&place.root);
    match &place.endpoint {
        // What speaks the protocol elsewhere mostly has no name for each bucket, nor regions.
        Some(endpoint) => {
            builder = builder.endpoint(endpoint);
            let known = ["AWS_REGION", "AWS_DEFAULT_REGION"].map(variable);
            if known.iter().all(Option::is_none) {
                builder = builder.region("us-east-1");
            }
        }
        None if !place.bucket.contains('.') => builder = builder.enable_virtual_host_style(),
        None => {}
    }
    if let Some(region) = &place.region {
        builder = builder.region(region);
    }
    if place.checksum {
        builder = builder.checksum_algorithm("crc32c");
    }
    if !given.is_empty() {
        let keys = given.get("AWS_ACCESS_KEY_ID").zip(given.get("AWS_SECRET_ACCESS_KEY"));
        let (id, secret) = keys.ok_or_else(|| {
            let (label, names) = (place.label(), given.names().collect::<Vec<_>>().join(", "));
            Error::invalid(format!(
                "DFS url {label}: the host gives {names} alone: give AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, which belong together"
            ))
        })?;
        let token = given.get("AWS_SESSION_TOKEN");
        let keys = Keys(AwsCredential {
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: token.map(str::to_owned),
            expires_in: None,
        });
        builder = builder.credential_provider_chain(ProvideCredentialChain::new().push(keys));
    }
    Ok(match place.credentials {
        Credentials::Environment => builder.disable_ec2_metadata(),
        Credentials::Instance => builder,
        Credentials::Anonymous => builder.disable_ec2_metadata().skip_signature(),
    })
}

fn gs(place: &RemotePlace, given: &Given) -> Gcs {
    let mut builder = Gcs::default().bucket(&place.bucket).root(&place.root);
    if let Some(endpoint) = &place.endpoint {
        builder = builder.endpoint(endpoint);
    }
    if let Some(token) = given.get("GOOGLE_OAUTH_ACCESS_TOKEN") {
        builder = builder.token(token.to_owned());
    } else if let Some(file) = given.get("GOOGLE_APPLICATION_CREDENTIALS") {
        builder = builder.credential_path(file);
    }
    match place.credentials {
        Credentials::Environment => builder.disable_vm_metadata(),
        Credentials::Instance => builder,
        Credentials::Anonymous => builder.disable_vm_metadata().skip_signature(),
    }
}

fn abfs(place: &RemotePlace, given: &Given) -> Result<Azblob> {
    let account = &place.account;
    let endpoint = || format!("https://{account}.blob.core.windows.net");
    let endpoint = place.endpoint.clone().unwrap_or_else(endpoint);
    let builder = Azblob::default()
        .container(&place.bucket)
        .account_name(account)
        .root(&place.root)
        .endpoint(&endpoint);
    let find = |name| credential(given, name);
    let key = find("AZURE_STORAGE_ACCOUNT_KEY").or_else(|| find("AZURE_STORAGE_KEY"));
    Ok(match (place.credentials, key, find("AZURE_STORAGE_SAS_TOKEN")) {
        (Credentials::Anonymous, ..) => builder.skip_signature(),
        (Credentials::Instance, ..) => builder,
        (_, Some(key), _) => builder.account_key(&key),
        // Azure shows them as the query of a url, and files end with a line.
        (_, None, Some(token)) => builder.sas_token(token.trim().trim_start_matches('?')),
        // Without either the client would ask the machine's metadata service.
        (_, None, None) => {
            return Err(Error::invalid(format!(
                "DFS url {}: no credentials; set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or \
                 write ?credentials=instance or ?credentials=anonymous",
                place.label()
            )));
        }
    })
}

fn webhdfs(place: &RemotePlace, given: &Given) -> Webhdfs {
    let endpoint = place.speaks_at().expect("HDFS is where its url says");
    let mut builder = Webhdfs::default()
        .endpoint(&endpoint)
        .root(&place.root)
        // Parts are joined there; nobody sees them before.
        .atomic_write_dir(&format!("{PARTS_FOLDER}/"));
    if let Some(user) = place.user.clone().or_else(|| credential(given, "HADOOP_USER_NAME")) {
        builder = builder.user_name(&user);
    }
    if let Some(token) = credential(given, "WEBHDFS_DELEGATION_TOKEN") {
        builder = builder.delegation(&token);
    }
    builder
}

// Of those that are given, or of the environment if none is: never one with one of the other.
fn credential(given: &Given, name: &str) -> Option<String> {
    if given.is_empty() { variable(name) } else { given.get(name).map(str::to_owned) }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
