//! Which operation a request of a store's client is: the protocols say it in different places.

use http::{Method, Uri};

use crate::io::requests::Operation;

/// The operation of a request.
pub(super) fn operation(method: &Method, uri: &Uri) -> Operation {
    let query = uri.query().unwrap_or_default();
    let has = |name: &str| {
        query.split('&').any(|pair| {
            pair.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    };
    let says = |pair: &str| query.split('&').any(|other| other.eq_ignore_ascii_case(pair));
    match method.as_str() {
        "HEAD" => Operation::Head,
        "DELETE" => Operation::Delete,
        // S3, Azure and HDFS list so.
        "GET" if says("list-type=2") || says("comp=list") || says("op=LISTSTATUS") => {
            Operation::List
        }
        "GET" if says("op=LISTSTATUS_BATCH") => Operation::List,
        "GET" if says("op=GETFILESTATUS") => Operation::Head,
        // Google's API names an object behind `/o/`; what it tells of one is no object.
        "GET" if uri.path().starts_with("/storage/v1/b/") => match uri.path().ends_with("/o") {
            true => Operation::List,
            false if says("alt=media") => Operation::Get,
            false => Operation::Head,
        },
        "GET" => Operation::Get,
        "POST" if says("comp=batch") || has("delete") || uri.path().contains("/batch/") => {
            Operation::Delete
        }
        "POST" if has("uploadType") => Operation::Put,
        "PUT" if !has("uploadId") && !says("comp=block") && !says("comp=blocklist") => {
            Operation::Put
        }
        // Those that begin, bring and join parts, also of HDFS.
        _ => Operation::Part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_their_protocols_mean() {
        use Operation::{Delete, Get, Head, List, Part, Put};
        let cases = [
            ("GET", "/b/r/a", Get),
            ("GET", "/b?list-type=2&prefix=r%2F", List),
            ("GET", "/b/r/list-type=2", Get),
            ("HEAD", "/b/r/a", Head),
            ("PUT", "/b/r/a", Put),
            ("POST", "/b/r/a?uploads", Part),
            ("PUT", "/b/r/a?partNumber=1&uploadId=x", Part),
            ("POST", "/b/r/a?uploadId=x", Part),
            ("DELETE", "/b/r/a?uploadId=x", Delete),
            ("DELETE", "/b/r/a", Delete),
            ("POST", "/b?delete", Delete),
            ("GET", "/c?restype=container&comp=list", List),
            ("PUT", "/c/a?comp=block&blockid=1", Part),
            ("PUT", "/c/a?comp=blocklist", Part),
            ("PUT", "/c/a", Put),
            ("GET", "/storage/v1/b/bucket/o?prefix=r", List),
            ("GET", "/storage/v1/b/bucket/o/r%2Fa?alt=media", Get),
            ("GET", "/storage/v1/b/bucket/o/r%2Fa", Head),
            ("POST", "/upload/storage/v1/b/bucket/o?uploadType=media&name=a", Put),
            ("GET", "/webhdfs/v1/a?op=OPEN&offset=1", Get),
            ("GET", "/webhdfs/v1/a?op=LISTSTATUS", List),
            ("GET", "/webhdfs/v1/a?op=GETFILESTATUS&user.name=u", Head),
            ("PUT", "/webhdfs/v1/a?op=CREATE", Put),
            ("POST", "/webhdfs/v1/a?op=CONCAT", Part),
        ];
        for (method, target, expected) in cases {
            let uri: Uri = format!("http://store{target}").parse().unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(operation(&method, &uri), expected, "{method} {target}");
        }
    }
}
