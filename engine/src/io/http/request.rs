//! The bytes of a GET. What a target may be made of is checked when it is made, so none can add a
//! line.

use std::io::Write;

use crate::io::http::response::Asked;
use crate::io::http::target::Target;

/// Appends the request for a range of a target.
pub(crate) fn write(target: &Target, asked: Asked, out: &mut Vec<u8>) {
    let (path, host) = (&target.path_and_query, &target.endpoint.host);
    let (first, last) = (asked.offset, asked.offset + asked.bytes - 1);
    write!(out, "GET {path} HTTP/1.1\r\nHost: {host}\r\nRange: bytes={first}-{last}\r\n\r\n")
        .expect("a vector takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::http::target::tests::target;

    #[test]
    fn a_request_asks_for_its_range() {
        let mut out = b"before".to_vec();
        let asked = Asked { offset: 8192, bytes: 4096 };
        write(&target("/bucket/key?signature=x").unwrap(), asked, &mut out);
        let text = "beforeGET /bucket/key?signature=x HTTP/1.1\r\nHost: store.example:9\r\n\
                    Range: bytes=8192-12287\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
