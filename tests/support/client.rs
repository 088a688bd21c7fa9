//! A client that sends bytes as they are given.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    /// Without the framing.
    pub body: String,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All headers of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value).collect()
    }
}

/// `GET` of a target as it is written here.
pub fn get(address: SocketAddr, target: &str) -> Answer {
    get_with(address, target, &[])
}

/// `GET` with these header lines too. Without a `Host` among them, there is one.
pub fn get_with(address: SocketAddr, target: &str, lines: &[&str]) -> Answer {
    let host = if lines.iter().any(|line| line.starts_with("Host:")) { "" } else { "Host: test\r\n" };
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    exchange(address, &format!("GET {target} HTTP/1.1\r\n{host}{lines}Connection: close\r\n\r\n"))
}

/// `POST` of a body.
pub fn post(address: SocketAddr, target: &str, body: &str) -> Answer {
    let length = body.len();
    exchange(
        address,
        &format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ),
    )
}

/// Sends a request that asks for the connection to be closed, and reads until it is.
pub fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut answers = send(address, request.as_bytes());
    assert_eq!(answers.len(), 1, "one request, one answer: {answers:?}");
    answers.remove(0)
}

/// Sends these bytes, and reads all answers until the connection is closed.
pub fn send(address: SocketAddr, bytes: &[u8]) -> Vec<Answer> {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    // Whoever refuses may close before everything is sent.
    let _ = stream.write_all(bytes);
    read_all(&mut stream)
}

/// Reads all answers until the connection is closed.
pub fn read_all(stream: &mut (impl Read + Timed)) -> Vec<Answer> {
    stream.patience();
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // What came before a reset counts; a timeout does not happen.
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "neither answered nor closed: {bytes:?}");
    }
    let mut rest = &bytes[..];
    let mut answers = Vec::new();
    while let Some(answer) = next(&mut rest) {
        answers.push(answer);
    }
    answers
}

/// Streams on which reading can give up.
pub trait Timed {
    fn patience(&self);
}

impl Timed for TcpStream {
    fn patience(&self) {
        self.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
}

impl Timed for std::os::unix::net::UnixStream {
    fn patience(&self) {
        self.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
}

fn next(rest: &mut &[u8]) -> Option<Answer> {
    if rest.is_empty() {
        return None;
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(rest) else {
        panic!("no answer: {:?}", String::from_utf8_lossy(rest));
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut answer = Answer {
        status: head.code.expect("a complete head has a status"),
        headers: head.headers.iter().map(|h| (h.name.to_string(), text(h.value))).collect(),
        body: String::new(),
    };
    *rest = &rest[length..];
    if answer.status < 200 || answer.status == 304 {
        return Some(answer);
    }
    if answer.header("Transfer-Encoding").is_some() {
        // A body that breaks off is as long as it is.
        while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = usize::from_str_radix(&text(&rest[..line]), 16).expect("it is a number");
            let end = (line + 2 + size).min(rest.len());
            answer.body += &text(&rest[line + 2..end]);
            *rest = &rest[(end + 2).min(rest.len())..];
            if size == 0 {
                break;
            }
        }
    } else {
        let length = answer.header("Content-Length").and_then(|length| length.parse().ok());
        let (body, next) = rest.split_at(length.unwrap_or(rest.len()).min(rest.len()));
        answer.body = text(body);
        *rest = next;
    }
    Some(answer)
}
