//! Credentials that the host gives: by options, or when it is asked. They have the names by which
//! the tools of a store know them in the environment. Nothing here is ever shown.

use std::collections::BTreeMap;
use std::fmt;

use crate::io::host::lent::Lent;
use crate::limits::CREDENTIALS_BYTES_MAX;
use crate::types::nearest::nearest;
use crate::types::{Error, Result};

/// What nobody else may know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the client of a store.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// Names that stores know.
pub const NAMES: [&str; 10] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "HADOOP_USER_NAME",
    "WEBHDFS_DELEGATION_TOKEN",
];

/// Credentials by name. Where some are given, the environment is not asked for any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(BTreeMap<&'static str, Secret>);

impl Given {
    /// Adds one.
    ///
    /// # Errors
    /// `Invalid` for a name that no store knows, for an empty value and for a name that stands
    /// twice; never with the value.
    pub fn set(&mut self, name: &str, value: Secret) -> Result<()> {
        let Some(known) = NAMES.iter().find(|known| **known == name) else {
            let hint = nearest(name, NAMES).map_or_else(
                || format!("there are {}", NAMES.join(", ")),
                |near| format!("did you mean {near}?"),
            );
            let name: String = name.chars().take(64).collect();
            return Err(Error::invalid(format!("no credential is called {name:?}; {hint}")));
        };
        if value.0.is_empty() {
            return Err(Error::invalid(format!("the credential {known} is empty")));
        }
        if self.0.insert(known, value).is_some() {
            return Err(Error::invalid(format!("the credential {known} stands twice")));
        }
        Ok(())
    }

    /// Reads lines `NAME = value`; empty lines are skipped.
    ///
    /// # Errors
    /// As `set`; `Invalid` for other text, for none and for too much.
    pub fn parse(text: &[u8]) -> Result<Self> {
        if text.len() > CREDENTIALS_BYTES_MAX {
            let what = format!("credentials of more than {CREDENTIALS_BYTES_MAX} bytes");
            return Err(Error::invalid(what));
        }
        let text = std::str::from_utf8(text)
            .map_err(|_| Error::invalid("credentials that are not UTF-8"))?;
        let mut given = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once('=').ok_or_else(|| {
                Error::invalid("credentials are lines `NAME = value`, and one has no =")
            })?;
            given.set(name.trim(), Secret::new(value.trim()))?;
        }
        if given.is_empty() {
            return Err(Error::invalid("no credentials"));
        }
        Ok(given)
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names that are given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::expose)
    }
}

/// Credentials, and how long they last.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The credentials.
    pub given: Given,
    /// When they end, seconds since 1970; `None` if that is not known: they are asked for again
    /// when the store refuses them.
    pub expires_s: Option<i64>,
}

/// Where the host has credentials from. Threads call it that are no shard's, one at a time for each
/// engine, and it may block. It is asked when the first are needed, a little before they end, and
/// when the store refuses them.
pub trait CredentialSource: Send + Sync {
    /// Credentials for a root, `s3://bucket/prefix/`.
    ///
    /// # Errors
    /// The refusal. Those of before serve on while they last; where there are none, the request is
    /// tried again after `Io`, and ends with any other.
    fn credentials(&self, place: &str) -> Result<Lease>;
}

/// Sources of credentials that the host lends to the engines of this process.
pub static SOURCES: Lent<dyn CredentialSource> = Lent::new("source of credentials");

/// Who an engine is to its store.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Whoever the environment says, as the url chooses.
    #[default]
    Environment,
    /// Whoever these credentials say.
    Given(Given),
    /// Whoever the source of this name says (`SOURCES`).
    Source(String),
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
