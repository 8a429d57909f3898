//! What a store's refusal is to the engine. Texts are kept short and lose what may be secret:
//! targets of requests can be signed, and some stores repeat them.

use crate::limits::REMOTE_ERROR_CHARS_MAX;
use crate::types::Error;
use crate::types::error::ErrorKind;

/// What the client says where it has nothing to sign with.
const NO_CREDENTIALS: &str = "failed to load signing credential";
/// What it says of a certificate it does not take.
const NOT_TRUSTED: &str = "invalid peer certificate";
/// And of a server that answers something else than TLS.
const NO_TLS: &str = "InvalidContentType";

/// An operation that failed.
pub(super) struct Failed<'a> {
    pub(super) operation: &'static str,
    pub(super) label: &'a str,
    pub(super) path: String,
}

impl Failed<'_> {
    /// The error for what the client says.
    pub(super) fn error(&self, error: &opendal::Error) -> Error {
        let Self { operation, label, path } = self;
        let mut cause = error.message().to_owned();
        let mut source = std::error::Error::source(error);
        while let Some(deeper) = source {
            cause = format!("{cause}: {deeper}");
            source = deeper.source();
        }
        let (mut kind, mut remedy) = class(error.kind());
        // The parts of an upload may be missing, after a reply that was lost: it begins anew.
        if kind == ErrorKind::MissingObject && ["create", "put", "write"].contains(operation) {
            kind = ErrorKind::Io;
        }
        let missing = matches!(kind, ErrorKind::MissingObject | ErrorKind::Invalid);
        if missing && *operation == "list" {
            remedy = "; a folder that is not there is listed as empty: see that the bucket or \
                      container is there";
        }
        if cause.contains(NO_CREDENTIALS) {
            remedy = "; none were found, or half of a pair: give the host's, or set those of the \
                      store's own tools, such as AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY";
        }
        if cause.contains(NOT_TRUSTED) {
            remedy = "; have an authority that the system trusts sign it, or name a file with that \
                      of the server in SSL_CERT_FILE";
        } else if cause.contains(NO_TLS) {
            remedy = "; if it speaks no TLS, its endpoint begins with http:";
        }
        let cause = match plain(&cause) {
            none if none.is_empty() => format!("{:?}", error.kind()),
            cause => cause,
        };
        Error::new(kind, format!("{operation} of {label}{path}: {cause}{remedy}"))
    }

    /// The error for an answer that makes no sense; it may be another one next time.
    pub(super) fn answered(&self, what: impl std::fmt::Display) -> Error {
        let Self { operation, label, path } = self;
        Error::new(
            ErrorKind::Io,
            format!("{operation} of {label}{path}: the store answered {what}"),
        )
    }
}

/// The class of a client's error, and what may help.
fn class(kind: opendal::ErrorKind) -> (ErrorKind, &'static str) {
    use opendal::ErrorKind as Kind;
    match kind {
        Kind::NotFound => (ErrorKind::MissingObject, ""),
        Kind::ConfigInvalid => (ErrorKind::Invalid, ""),
        Kind::Unsupported => (ErrorKind::Unsupported, ""),
        // Credentials are renewed, policies spread: what is refused now may be allowed soon.
        Kind::PermissionDenied => {
            (ErrorKind::Io, "; see that the credentials are those of this store and not expired")
        }
        _ => (ErrorKind::Io, ""),
    }
}

/// The text without what may be secret, on one line, and not too long: queries of urls, names and
/// passwords before their hosts, and what is called a token, a signature and the like.
pub(crate) fn plain(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "\"'<>(),;".contains(c);
    let mut out = String::new();
    let mut next = Next::Shown;
    for piece in text.split_inclusive(ends) {
        let end = piece.chars().next_back().filter(|c| ends(*c));
        let word = &piece[..piece.len() - end.map_or(0, char::len_utf8)];
        let hidden = next == Next::Hidden && !matches!(word, "" | ":" | "=");
        let shown = if hidden { "..." } else { without_secrets(word) };
        // `//name:password@host`.
        let (scheme, rest) = shown.split_at(shown.find("//").map_or(0, |at| at + 2));
        let host = rest.split('/').next().and_then(|authority| authority.rfind('@'));
        let rest = &rest[host.filter(|_| !scheme.is_empty()).map_or(0, |at| at + 1)..];
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        out.extend(scheme.chars().chain(rest.chars()).chain(end).map(plain));
        next = next.behind(word, end);
        if out.len() >= REMOTE_ERROR_CHARS_MAX {
            let whole = (0..=REMOTE_ERROR_CHARS_MAX).rev().find(|&at| out.is_char_boundary(at));
            out.truncate(whole.unwrap_or(0));
            out.push_str(" ...");
            break;
        }
    }
    out
}

/// What the words before a word say of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Shown,
    // Hidden behind a colon: it was a secret's name in quotes.
    Named,
    Hidden,
}

impl Next {
    fn behind(self, word: &str, end: Option<char>) -> Self {
        match (self, word) {
            (Self::Hidden, "" | ":" | "=") | (Self::Named, ":" | "=") => return Self::Hidden,
            // The word that says how one may enter: the secret follows.
            (Self::Hidden, _) if is_scheme(word) => return Self::Hidden,
            _ if is_scheme(word) => return Self::Hidden,
            _ => {}
        }
        let name = word.trim_end_matches([':', '=']);
        match end {
            _ if !is_secret(name) => Self::Shown,
            Some('>') => Self::Hidden,
            _ if name.len() < word.len() => Self::Hidden,
            Some('"' | '\'') => Self::Named,
            _ => Self::Shown,
        }
    }
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Ends of names of what nobody else may know.
const SECRETS: [&str; 9] = [
    "token",
    "signature",
    "sig",
    "secret",
    "password",
    "key",
    "keyid",
    "credential",
    "authorization",
];

// `X-Amz-Security-Token`, `access_token`, `delegation`, `Token-0`.
fn is_secret(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphabetic);
    let letters: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    letters == "delegation" || SECRETS.iter().any(|end| letters.ends_with(end))
}

// A word up to its query, which may be written with %, or up to the value of a secret.
fn without_secrets(word: &str) -> &str {
    let query = word.find('?').into_iter().chain(word.find("%3F")).chain(word.find("%3f")).min();
    let word = &word[..query.unwrap_or(word.len())];
    let value = word.match_indices('=').find(|(at, _)| {
        let name = word[..*at].rsplit(['&', '/', ':']).next();
        name.is_some_and(is_secret)
    });
    value.map_or(word, |(at, _)| &word[..=at])
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
