//! One client: asks for the same thing again and again, over a connection that it keeps.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};

use crate::clients::dial::{self, TlsArgs};
use crate::trouble::{OrTrouble, Result, Trouble};

/// How the City's upstreams begin their answers; their name follows.
const RESPONSE_FROM: &[u8] = b"Response from ";
/// As much of a body as is looked at; the name of a server is no longer.
const KEPT: usize = 64;

/// What is asked for, of whom, and how long an answer may take.
#[derive(Debug)]
pub struct Target {
    host: String,
    port: u16,
    path: String,
    headers: HeaderMap,
    tls: Option<TlsArgs>,
    timeout: Duration,
}

impl Target {
    /// Reads a URL.
    pub fn new(
        url: &Uri,
        headers: Vec<(HeaderName, HeaderValue)>,
        tls: TlsArgs,
        timeout: Duration,
    ) -> Result<Target> {
        let wrong = |why: &str| {
            Trouble::new(format!("'{url}' {why}")).remedy("write it as http://172.28.0.10:6170/").status(2)
        };
        let authority = url.authority().ok_or_else(|| wrong("is no URL"))?;
        let (tls, usual_port) = match url.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(tls), 443),
            _ => return Err(wrong("is neither http nor https")),
        };
        let mut all = HeaderMap::new();
        let host = HeaderValue::from_str(authority.as_str());
        all.insert(header::HOST, host.or_trouble(|| format!("'{authority}' cannot be a Host"))?);
        all.insert(header::USER_AGENT, HeaderValue::from_static("city-load"));
        for (name, value) in headers {
            if matches!(name, header::HOST | header::USER_AGENT) {
                all.insert(name, value);
            } else {
                all.append(name, value);
            }
        }
        Ok(Target {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(usual_port),
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers: all,
            tls,
            timeout,
        })
    }

    async fn connect(&self) -> Outcome<SendRequest<Empty<Bytes>>> {
        let nobody = || Failure::NoName(self.host.clone());
        let addresses: Vec<_> =
            lookup_host((self.host.as_str(), self.port)).await.map_err(|_| nobody())?.collect();
        let stream =
            TcpStream::connect(&addresses[..]).await.map_err(|error| Failure::of_connecting(&error))?;
        // Without it a request would wait for an acknowledgement of the one before; failing changes no answer.
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn dial::Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let address = format!("{}:{}", self.host, self.port);
                let shaken = dial::tls(stream, &address, tls, &["http/1.1"]).await;
                Box::new(shaken.map_err(|trouble| Failure::Other(trouble.to_string()))?.0)
            }
        };
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::of_http(&error))?;
        // Whatever ends the connection ends the request on it too, and is told there.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// An answer that came whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Which server gave it, if it says so: by its body, or by `X-Served-By`.
    pub server: Option<String>,
}

/// Why there was no whole answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The name has no address.
    NoName(String),
    /// Nobody listens there.
    Refused,
    /// The network knows no way.
    NoRoute,
    /// The time was up.
    Late(Duration),
    /// The connection ended before the answer was whole.
    Closed,
    /// The connection was reset.
    Reset,
    /// What came was no HTTP.
    NoHttp,
    /// Anything else, in words.
    Other(String),
}

impl Failure {
    fn of_connecting(error: &std::io::Error) -> Failure {
        match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Failure::NoRoute,
            ErrorKind::ConnectionReset => Failure::Reset,
            _ => Failure::Other(error.to_string()),
        }
    }

    fn of_http(error: &hyper::Error) -> Failure {
        let below = std::error::Error::source(error).and_then(|below| below.downcast_ref::<std::io::Error>());
        match below.map(std::io::Error::kind) {
            Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Failure::Reset,
            Some(ErrorKind::UnexpectedEof) => Failure::Closed,
            _ if error.is_parse() => Failure::NoHttp,
            _ if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => Failure::Closed,
            _ => Failure::Other(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoName(host) => write!(f, "no address for {host}"),
            Failure::Refused => f.write_str("connection refused"),
            Failure::NoRoute => f.write_str("no route to the host"),
            Failure::Late(limit) => write!(f, "no answer within {}", humantime::format_duration(*limit)),
            Failure::Closed => f.write_str("connection closed before the answer was whole"),
            Failure::Reset => f.write_str("connection reset"),
            Failure::NoHttp => f.write_str("the answer is no HTTP"),
            Failure::Other(what) => f.write_str(what),
        }
    }
}

/// What came of one attempt.
pub type Outcome<T = Answer> = std::result::Result<T, Failure>;

/// One client.
#[derive(Debug)]
pub struct Client {
    target: Arc<Target>,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(target: Arc<Target>) -> Client {
        Client { target, connection: None }
    }

    /// Asks once.
    pub async fn ask(&mut self) -> Outcome {
        let limit = self.target.timeout;
        tokio::time::timeout(limit, self.exchange()).await.unwrap_or(Err(Failure::Late(limit)))
    }

    async fn exchange(&mut self) -> Outcome {
        // Taken, not borrowed: what is broken off must not be used again.
        if let Some(kept) = self.connection.take() {
            match self.over(kept).await {
                // The server may close a kept connection whenever it likes. Every client then makes a new one.
                Err(Failure::Closed | Failure::Reset) => {}
                ended => return ended,
            }
        }
        let fresh = self.target.connect().await?;
        self.over(fresh).await
    }

    async fn over(&mut self, mut connection: SendRequest<Empty<Bytes>>) -> Outcome {
        let failed = |error: hyper::Error| Failure::of_http(&error);
        connection.ready().await.map_err(failed)?;
        let mut request = Request::new(Empty::new());
        // A path that was part of a URL is one by itself.
        *request.uri_mut() = self.target.path.parse().unwrap_or_default();
        *request.headers_mut() = self.target.headers.clone();
        let (head, mut body) = connection.send_request(request).await.map_err(failed)?.into_parts();
        let mut beginning = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.map_err(failed)?.data_ref() {
                let room = KEPT - beginning.len();
                beginning.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        self.connection = Some(connection);
        Ok(Answer { status: head.status, server: server(&head.headers, &beginning) })
    }
}

fn server(headers: &HeaderMap, beginning: &[u8]) -> Option<String> {
    let name = match beginning.strip_prefix(RESPONSE_FROM) {
        Some(rest) => rest.split(|byte| *byte == b'\n').next()?,
        None => headers.get("x-served-by")?.as_bytes(),
    };
    let name = String::from_utf8_lossy(name.trim_ascii()).replace(|c: char| c.is_control(), "?");
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_body_or_by_a_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(server(&headers, b"Response from BLUE\n").as_deref(), Some("BLUE"));
        assert_eq!(server(&headers, b"Hello"), None);
        headers.insert("x-served-by", HeaderValue::from_static("green-1"));
        assert_eq!(server(&headers, b"Hello").as_deref(), Some("green-1"));
        assert_eq!(server(&headers, b"Response from \x1b[2J").as_deref(), Some("?[2J"));
    }

    #[test]
    fn a_url_is_http_or_https() {
        let tls = || TlsArgs { ca: "".into(), sni: None, cert: None, key: None };
        let target = |url: &str| Target::new(&url.parse().unwrap(), vec![], tls(), Duration::from_secs(1));
        let plain = target("http://[::1]:6183/a?b").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.path.as_str()), ("::1", 6183, "/a?b"));
        assert_eq!(target("https://dev.pingora.local").unwrap().port, 443);
        for wrong in ["172.28.0.10:6170", "/tea", "ftp://dev/", "ws://dev/"] {
            assert_eq!(target(wrong).unwrap_err().status, 2, "{wrong}");
        }
    }
}
