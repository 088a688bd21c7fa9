//! advanced: the same site over plain HTTP, TLS, cleartext HTTP/2 and mutual TLS.
//!
//! nginx is the other implementation of this host (in Docker, and with `--nginx`): what this one answers,
//! that one answers too.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::http::{Answer, Asked};
use super::port::{Port, Speaks};
use super::tls::{Settings, Terminator};
use crate::trouble::Result;

/// What `/cache-control` carries to be asked again by.
const ETAG: &str = "\"city-1\"";

const HTTPS: Settings =
    Settings { certificate: "wildcard", expired: false, alpn: &[b"h2", b"http/1.1"], asks_clients: false };

const HTTP_TEXT: &str = "Response from Advanced Upstream (HTTP)\n";
const HTTPS_TEXT: &str = "Response from Advanced Upstream (HTTPS + HTTP/2)\n";
const H2C_TEXT: &str = "Response from Advanced Upstream (H2C - Cleartext HTTP/2)\n";
const MUTUAL_TEXT: &str = "Response from mTLS Protected Upstream. Hello, Authenticated Client!\n";

/// Its ports.
pub fn ports(keys: &Path) -> Result<Vec<Port>> {
    let tls = |settings| Terminator::new(keys, settings).map(Some);
    let site = |text| Speaks::Site(Arc::new(move |asked: &Asked<'_>| answer(asked, text)));
    Ok(vec![
        Port {
            number: 80,
            about: "HTTP",
            tls: None,
            speaks: Speaks::http1(|asked| answer(asked, HTTP_TEXT)),
        },
        Port { number: 443, about: "HTTPS + h2", tls: tls(HTTPS)?, speaks: site(HTTPS_TEXT) },
        Port {
            number: 8081,
            about: "h2c",
            tls: None,
            speaks: Speaks::http2(|asked| answer(asked, H2C_TEXT)),
        },
        Port {
            number: 8443,
            about: "mTLS",
            tls: tls(Settings { asks_clients: true, ..HTTPS })?,
            speaks: Speaks::Site(Arc::new(mutual)),
        },
        Port {
            number: 8444,
            about: "HTTPS with an expired certificate",
            tls: tls(Settings { certificate: "expired", expired: true, ..HTTPS })?,
            speaks: site(HTTPS_TEXT),
        },
        Port {
            number: 8445,
            about: "HTTPS with a certificate of a foreign CA",
            tls: tls(Settings { certificate: "foreign", ..HTTPS })?,
            speaks: site(HTTPS_TEXT),
        },
    ])
}

fn answer(asked: &Asked<'_>, text: &'static str) -> Answer {
    let mut answer = Answer::text(text);
    match asked.path {
        "/cache-control" => {
            answer.headers.extend([("cache-control", "public, max-age=60"), ("etag", ETAG)]);
            if has_etag(asked.headers) {
                answer.status = StatusCode::NOT_MODIFIED;
            }
        }
        "/trailers" => {
            let trailers = [("x-city-trailer".parse(), HeaderValue::from_static("end"))];
            let trailers = trailers.into_iter().filter_map(|(name, value)| Some((name.ok()?, value)));
            answer.trailers = Some(trailers.collect::<HeaderMap>());
        }
        _ => {}
    }
    answer
}

/// Whether the client says that it has this very thing (RFC 9110 section 13.1.2, weak comparison).
fn has_etag(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == ETAG)
}

fn mutual(asked: &Asked<'_>) -> Answer {
    let client = asked.record.request.tls.as_ref().and_then(|tls| tls.client.as_ref());
    match client {
        Some(client) if client.trusted => answer(asked, MUTUAL_TEXT),
        Some(_) => refused(
            asked,
            "<html><head><title>400 The SSL certificate error</title></head>\n\
             <body><center><h1>400 Bad Request</h1></center>\n\
             <center>The SSL certificate error</center></body></html>\n",
        ),
        None => refused(
            asked,
            "<html><head><title>400 No required SSL certificate was sent</title></head>\n\
             <body><center><h1>400 Bad Request</h1></center>\n\
             <center>No required SSL certificate was sent</center></body></html>\n",
        ),
    }
}

/// As nginx does it: a page, and the connection is closed.
fn refused(asked: &Asked<'_>, page: &'static str) -> Answer {
    let mut headers = vec![("content-type", "text/html")];
    if asked.record.request.version == "HTTP/1.1" {
        headers.push(("connection", "close"));
    }
    Answer { status: StatusCode::BAD_REQUEST, headers, body: page.into(), trailers: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_known_in_every_form() {
        let knows = |value: &'static str| {
            has_etag(&HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(value))]))
        };
        assert!(knows("\"city-1\"") && knows("W/\"city-1\"") && knows("\"x\", \"city-1\"") && knows("*"));
        assert!(!knows("\"city-2\"") && !knows("city-1"));
        assert!(!has_etag(&HeaderMap::new()));
    }
}
