//! Urls of a DFS: `file:///path`, a bare path, `memory://name`, and stores that are reached by HTTP
//! or lent by the host (`remote/place.rs`), each with injected faults as query parameters.

use std::path::PathBuf;

use crate::io::remote::place::{RemotePlace, Scheme};
use crate::limits::INJECTED_LATENCY_NS_MAX;
use crate::types::nearest::nearest;
use crate::types::{Error, Nanos, Result};

/// Schemes that `parse` knows.
const SCHEMES: [&str; 7] = ["file", "memory", "s3", "gs", "abfs", "webhdfs", "host"];
/// Query parameters of every place.
const PARAMETERS: [&str; 3] = ["latency", "fail", "seed"];

/// Where the objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of a file system.
    Folder(PathBuf),
    /// Memory of this process, by name.
    Memory(String),
    /// A store that is reached by HTTP or lent by the host.
    Remote(Box<RemotePlace>),
}

impl Place {
    /// Whether it is a store that asks who somebody is.
    #[must_use]
    pub fn asks_who(&self) -> bool {
        matches!(self, Self::Remote(place) if place.scheme != Scheme::Host)
    }
}

/// A url taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct DfsUrl {
    /// Where the objects are.
    pub place: Place,
    /// `latency=2ms`: what each operation takes longer, nanoseconds.
    pub latency: Nanos,
    /// `fail=0.01`: the probability that an operation fails.
    pub fail: f64,
    /// `seed=7`: fixes which operations fail.
    pub seed: Option<u64>,
}

/// Takes a url apart. Pure. Its errors do not repeat what a url should not hold and might: user
/// names, passwords, values of parameters that are not known.
///
/// # Errors
/// `Invalid`, naming what is known and what was probably meant.
pub fn parse(url: &str) -> Result<DfsUrl> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut parsed = DfsUrl { place: place(base)?, latency: 0, fail: 0.0, seed: None };
    let url = base;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (name, &mut parsed.place) {
            ("latency", _) => parsed.latency = latency(url, value)?,
            ("fail", _) => parsed.fail = probability(url, value)?,
            ("seed", _) => {
                parsed.seed = Some(value.parse().map_err(|_| {
                    Error::invalid(format!("DFS url {url}: seed={value} is not a whole number"))
                })?);
            }
            (_, Place::Remote(place)) => {
                if !place.set(url, name, &decode(url, value)?)? {
                    let known: Vec<_> = place.parameters().iter().chain(&PARAMETERS).collect();
                    let known: Vec<&str> = known.into_iter().copied().collect();
                    return Err(remote_parameter(url, name, &known));
                }
            }
            _ => return Err(unknown(url, "parameter", name, &PARAMETERS)),
        }
    }
    if let Place::Remote(place) = &parsed.place {
        place.check_plaintext()?;
    }
    Ok(parsed)
}

/// The url of the same place without injected latency and faults.
#[must_use]
pub fn without_faults(url: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let injects = |pair: &&str| PARAMETERS.contains(&pair.split('=').next().unwrap_or_default());
    let rest: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty() && !injects(pair)).collect();
    if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) }
}

fn remote_parameter(url: &str, name: &str, known: &[&str]) -> Error {
    let secret = ["key", "secret", "token", "password", "sas"];
    if secret.iter().any(|word| name.to_ascii_lowercase().contains(word)) {
        return Error::invalid(format!(
            "DFS url {url}: '{name}' belongs into the environment, as the tools of that store \
             read it, and never into a url"
        ));
    }
    unknown(url, "parameter", name, known)
}

fn place(base: &str) -> Result<Place> {
    let Some((scheme, rest)) = base.split_once("://") else {
        // `file:/path` is how Java prints a file url.
        let path =
            base.strip_prefix("file:").map_or_else(|| Ok(base.to_owned()), |p| decode(base, p))?;
        let scheme = base.split_once(':').map(|(scheme, _)| scheme);
        if let Some(scheme) = scheme.filter(|s| *s != "file" && SCHEMES.contains(s)) {
            return Err(Error::invalid(format!(
                "DFS url {scheme}:...: two slashes follow the colon, as in {scheme}://; a path \
                 that begins so is ./{scheme}:..."
            )));
        }
        return folder(base, &path);
    };
    match scheme {
        "file" if rest.starts_with('/') => folder(base, &decode(base, rest)?),
        "file" => match rest.strip_prefix("localhost/") {
            Some(path) => folder(base, &format!("/{}", decode(base, path)?)),
            None => Err(Error::invalid(format!(
                "DFS url {base}: a file url has three slashes, as in file:///{rest}; a relative \
                 path is written without file://"
            ))),
        },
        "memory" if rest.is_empty() => Err(Error::invalid(format!(
            "DFS url {base}: memory:// needs a name, as in memory://test"
        ))),
        "memory" => Ok(Place::Memory(rest.to_owned())),
        _ => match Scheme::of(scheme) {
            Some(scheme) => Ok(Place::Remote(Box::new(RemotePlace::parse(scheme, rest)?))),
            None => Err(unknown(&format!("{scheme}://"), "scheme", scheme, &SCHEMES)),
        },
    }
}

fn folder(url: &str, path: &str) -> Result<Place> {
    if path.is_empty() {
        return Err(Error::invalid(format!(
            "DFS url '{url}' names no folder; write file:///path, a path, memory://name or \
             s3://bucket/prefix"
        )));
    }
    // Absolute from here on: the host may change its working directory.
    let path = std::path::absolute(path).map_err(|e| Error::io(format!("DFS url {url}"), &e))?;
    Ok(Place::Folder(path))
}

/// Decodes %20 and the like of a file url.
fn decode(url: &str, path: &str) -> Result<String> {
    let bad = || Error::invalid(format!("DFS url {url}: broken % escape; write % as %25"));
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(bad);
        let value = digit()? * 16 + digit()?;
        out.push(u8::try_from(value).expect("two hex digits"));
    }
    String::from_utf8(out).map_err(|_| bad())
}

fn latency(url: &str, value: &str) -> Result<Nanos> {
    let bad = |why: &str| {
        Error::invalid(format!(
            "DFS url {url}: latency={value} {why}; write a whole number and us, ms or s, as in 2ms"
        ))
    };
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let unit_ns = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return Err(bad("has no known unit")),
    };
    let number: Nanos = number.parse().map_err(|_| bad("has no number"))?;
    match number.checked_mul(unit_ns) {
        Some(ns) if ns <= INJECTED_LATENCY_NS_MAX => Ok(ns),
        _ => Err(bad("is beyond ten seconds")),
    }
}

fn probability(url: &str, value: &str) -> Result<f64> {
    value.parse().ok().filter(|p| (0.0..=1.0).contains(p)).ok_or_else(|| {
        Error::invalid(format!(
            "DFS url {url}: fail={value} is no probability; write a number from 0 to 1, as in 0.01"
        ))
    })
}

fn unknown(url: &str, what: &str, name: &str, known: &[&str]) -> Error {
    let hint = nearest(name, known.iter().copied());
    let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"));
    let known = known.join(", ");
    Error::invalid(format!("DFS url {url}: unknown {what} '{name}'; known: {known}{hint}"))
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
