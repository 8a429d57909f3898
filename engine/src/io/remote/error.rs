//! What a store's refusal is to the engine. Texts are kept short and lose what may be secret:
//! targets of requests can be signed, and some stores repeat them.

use crate::limits::REMOTE_ERROR_CHARS_MAX;
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName};

/// An operation that failed.
pub(super) struct Failed<'a> {
    pub(super) operation: &'static str,
    pub(super) label: &'a str,
    pub(super) name: ObjectName,
}

impl Failed<'_> {
    /// The error for what the client says.
    pub(super) fn error(&self, error: &opendal::Error) -> Error {
        let Self { operation, label, name } = self;
        let mut cause = error.message().to_owned();
        let mut source = std::error::Error::source(error);
        while let Some(deeper) = source {
            cause = format!("{cause}: {deeper}");
            source = deeper.source();
        }
        let (kind, remedy) = class(error.kind());
        let cause = match plain(&cause) {
            none if none.is_empty() => format!("{:?}", error.kind()),
            cause => cause,
        };
        Error::new(kind, format!("{operation} of {label}{name}: {cause}{remedy}"))
    }

    /// The error for an answer that makes no sense; it may be another one next time.
    pub(super) fn answered(&self, what: impl std::fmt::Display) -> Error {
        let Self { operation, label, name } = self;
        Error::new(
            ErrorKind::Io,
            format!("{operation} of {label}{name}: the store answered {what}"),
        )
    }
}

/// The class of a client's error, and what may help.
pub(super) fn class(kind: opendal::ErrorKind) -> (ErrorKind, &'static str) {
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

/// The text without queries of urls, on one line, and not too long.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut in_query = false;
    for c in text.chars() {
        let ends = c.is_whitespace() || "\"'<>)},;".contains(c);
        in_query = (in_query || c == '?') && !ends;
        if !in_query {
            out.push(if c.is_control() { ' ' } else { c });
        }
        if out.len() >= REMOTE_ERROR_CHARS_MAX {
            out.push_str(" ...");
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_loses_signed_targets_and_its_length() {
        let text = "sending to (http://h/b/o?X-Amz-Signature=abc&x=1): refused,\nonce";
        assert_eq!(plain(text), "sending to (http://h/b/o): refused, once");
        assert!(plain(&"x".repeat(10_000)).len() <= REMOTE_ERROR_CHARS_MAX + 4);
    }
}
