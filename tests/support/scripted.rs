//! An upstream that keeps what it received byte by byte, and answers with the bytes that it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub head: String,
    /// Without the framing.
    pub body: Vec<u8>,
    /// What came behind the head, with the framing.
    pub wire: Vec<u8>,
    /// Which of the connections.
    pub connection: usize,
}

impl Received {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

type Script = dyn Fn(&Received) -> Vec<u8> + Send + Sync;

/// A server on loopback with a thread for each connection.
pub struct Scripted {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
}

impl Scripted {
    /// Answers each request with what the script says. An answer with `Connection: close` is the last; after one
    /// of 101, everything is sent back.
    pub fn start(script: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (journal, script): (_, Arc<Script>) = (seen.clone(), Arc::new(script));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (journal, script) = (journal.clone(), script.clone());
                thread::spawn(move || stream.map(|stream| serve(stream, connection, &journal, &*script)));
            }
        });
        Scripted { address, seen }
    }

    /// Answers everything with 200 and a body of two bytes.
    pub fn plain() -> Scripted {
        Scripted::start(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Received> {
        self.seen.lock().expect("nobody panicked").clone()
    }
}

/// `None` when the connection is over.
fn serve(
    mut stream: TcpStream,
    connection: usize,
    seen: &Mutex<Vec<Received>>,
    script: &Script,
) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let end = read_until(&mut stream, &mut buffer, |bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4))?;
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let mut received = Received { head, body: Vec::new(), wire: Vec::new(), connection };
        if received.header("Expect") == Some("100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        if let Some(length) = received.header("Content-Length").and_then(|length| length.parse().ok()) {
            read_until(&mut stream, &mut buffer, |bytes| (bytes.len() >= length).then_some(length))?;
            received.body = buffer.drain(..length).collect();
            received.wire = received.body.clone();
        } else if received.header("Transfer-Encoding").is_some() {
            loop {
                let line = read_until(&mut stream, &mut buffer, |bytes| find(bytes, b"\r\n"))?;
                let size = usize::from_str_radix(std::str::from_utf8(&buffer[..line]).ok()?, 16).ok()?;
                let all = line + 2 + size + 2;
                read_until(&mut stream, &mut buffer, |bytes| (bytes.len() >= all).then_some(all))?;
                received.body.extend(&buffer[line + 2..line + 2 + size]);
                received.wire.extend(buffer.drain(..all));
                if size == 0 {
                    break;
                }
            }
        }
        seen.lock().expect("nobody panicked").push(received.clone());
        let answer = script(&received);
        stream.write_all(&answer).ok()?;
        if answer.starts_with(b"HTTP/1.1 101") {
            stream.write_all(&buffer).ok()?;
            let mut piece = [0; 1024];
            loop {
                let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
                stream.write_all(&piece[..read]).ok()?;
            }
        }
        if find(&answer, b"Connection: close").is_some() {
            return None;
        }
    }
}

fn read_until(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    done: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    loop {
        if let Some(at) = done(buffer) {
            return Some(at);
        }
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        buffer.extend(&piece[..read]);
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
