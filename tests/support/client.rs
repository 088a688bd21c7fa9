//! A client that sends bytes as they are given.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    /// What came behind the head, until the connection was closed.
    pub body: String,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }
}

/// `GET` of a target as it is written here.
pub fn get(address: SocketAddr, target: &str) -> Answer {
    exchange(address, &format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
}

/// `GET` with headers, each a line without its end.
pub fn get_with(address: SocketAddr, target: &str, headers: &[&str]) -> Answer {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    exchange(address, &format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n"))
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
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("the gateway reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the gateway answers, and closes");

    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(&bytes) else {
        panic!("no answer: {:?}", String::from_utf8_lossy(&bytes));
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer {
        status: head.code.expect("a complete head has a status"),
        headers: head.headers.iter().map(|h| (h.name.to_string(), text(h.value))).collect(),
        body: text(&bytes[length..]),
    }
}
