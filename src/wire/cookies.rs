//! Cookies in one line. HTTP/2 may send each by itself, and HTTP/1 has one list of them (RFC 9113, section 8.2.3):
//! of several lines, many servers read the first or the last.

use http::{HeaderValue, header};
use pingora::http::RequestHeader;
use pingora::prelude::*;

/// Joins them, where there are several lines.
///
/// # Errors
/// Never for what clients can send: what fits into header lines fits into one.
pub fn join(request: &mut RequestHeader) -> Result<()> {
    let mut lines = request.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(_)) = (lines.next(), lines.next()) else { return Ok(()) };
    let mut all = first.as_bytes().to_vec();
    for line in request.headers.get_all(header::COOKIE).iter().skip(1) {
        all.extend(b"; ");
        all.extend(line.as_bytes());
    }
    let all = HeaderValue::from_bytes(&all).or_err(InvalidHTTPHeader, "joining cookies")?;
    request.insert_header(header::COOKIE, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_line_of_cookies() {
        for (lines, joined) in [
            (&[][..], &[][..]),
            (&["a=1"], &["a=1"]),
            (&["a=1; b=2"], &["a=1; b=2"]),
            (&["a=1", "b=2", "c=3"], &["a=1; b=2; c=3"]),
        ] {
            let mut request = RequestHeader::build("GET", b"/", None).expect("it is a request");
            for line in lines {
                request.append_header("Cookie", *line).expect("it is a header");
            }
            join(&mut request).expect("it fits");
            let left: Vec<_> = request.headers.get_all("Cookie").iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(left, joined.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
        }
    }
}
