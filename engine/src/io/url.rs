//! Urls of a DFS: `file:///path`, a bare path, `memory://name`, each with injected faults as
//! query parameters.

use std::path::PathBuf;

use crate::limits::INJECTED_LATENCY_NS_MAX;
use crate::types::{Error, Nanos, Result};

/// Schemes that `parse` knows.
const SCHEMES: [&str; 2] = ["file", "memory"];
/// Query parameters that `parse` knows.
const PARAMETERS: [&str; 3] = ["latency", "fail", "seed"];

/// Where the objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of a file system.
    Folder(PathBuf),
    /// Memory of this process, by name.
    Memory(String),
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

/// Takes a url apart. Pure.
///
/// # Errors
/// `Invalid`, naming what is known and what was probably meant.
pub fn parse(url: &str) -> Result<DfsUrl> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut parsed = DfsUrl { place: place(url, base)?, latency: 0, fail: 0.0, seed: None };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "latency" => parsed.latency = latency(url, value)?,
            "fail" => parsed.fail = probability(url, value)?,
            "seed" => {
                parsed.seed = Some(value.parse().map_err(|_| {
                    Error::invalid(format!("DFS url {url}: seed={value} is not a whole number"))
                })?);
            }
            _ => return Err(unknown(url, "parameter", name, &PARAMETERS)),
        }
    }
    Ok(parsed)
}

fn place(url: &str, base: &str) -> Result<Place> {
    let Some((scheme, rest)) = base.split_once("://") else {
        // `file:/path` is how Java prints a file url.
        let path =
            base.strip_prefix("file:").map_or_else(|| Ok(base.to_owned()), |p| decode(url, p))?;
        if let Some(name) = base.strip_prefix("memory:") {
            return Err(Error::invalid(format!(
                "DFS url {url}: write memory://{name}; a path that begins so is ./{base}"
            )));
        }
        return folder(url, &path);
    };
    match scheme {
        "file" if rest.starts_with('/') => folder(url, &decode(url, rest)?),
        "file" => match rest.strip_prefix("localhost/") {
            Some(path) => folder(url, &format!("/{}", decode(url, path)?)),
            None => Err(Error::invalid(format!(
                "DFS url {url}: a file url has three slashes, as in file:///{rest}; a relative \
                 path is written without file://"
            ))),
        },
        "memory" if rest.is_empty() => Err(Error::invalid(format!(
            "DFS url {url}: memory:// needs a name, as in memory://test"
        ))),
        "memory" => Ok(Place::Memory(rest.to_owned())),
        _ => Err(unknown(url, "scheme", scheme, &SCHEMES)),
    }
}

fn folder(url: &str, path: &str) -> Result<Place> {
    if path.is_empty() {
        return Err(Error::invalid(format!(
            "DFS url '{url}' names no folder; write file:///path, a path, or memory://name"
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
    let nearest = known.iter().min_by_key(|k| distance(name, k)).expect("some are known");
    let hint = if distance(name, nearest) <= 2 {
        format!("; did you mean {nearest}?")
    } else {
        String::new()
    };
    Error::invalid(format!(
        "DFS url {url}: unknown {what} '{name}'; known: {}{hint}",
        known.join(", ")
    ))
}

/// Edits that turn one word into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
