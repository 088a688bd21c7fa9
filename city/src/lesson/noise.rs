//! Random bytes, methods, headers and frames for the ports of an example: it must live through them and go on
//! answering. A port that speaks TLS gets half of them inside TLS, and the other half instead of it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::clients::dial;
use crate::map::DOMAIN;
use crate::trouble::{OrTrouble, Result, Trouble};

/// How many connections are made, by how many clients at once.
const ROUNDS: usize = 1000;
const CLIENTS: usize = 8;
/// How long one connection may take; most are answered or closed at once.
const PATIENCE: Duration = Duration::from_millis(30);
/// How long the last, well-formed request may take: an example may work two seconds on a request, and some do.
const LAST: Duration = Duration::from_secs(6);
/// The longest that the whole of it may take.
const WHOLE: Duration = Duration::from_secs(25);

const METHODS: [&str; 12] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE", "BREW", "get", "A\tB"];
const TARGETS: [&str; 12] =
    ["/", "/blue", "//", "/../..", "/%00", "/%zz", "*", "http://x/", "?a=b&&=", "/a b", "", "/\u{fc}"];
const HEADERS: [&str; 18] = [
    "Host: x",
    "Host: ",
    "Host: a\r\nHost: b",
    "Content-Length: 5",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "Connection: close",
    "Connection: upgrade",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "Cookie: session-id=",
    "Authorization: Basic =",
    "Authorization: x",
    "Range: bytes=5-1",
    "no colon",
    ": empty",
    "X: \u{1}\u{7f}",
];

/// What a client of HTTP/2 begins with (RFC 9113, section 3.4), and settings that change nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What is sent over one connection: a request that may be malformed in any of its parts, HTTP/2 that goes wrong
/// after a good beginning, or plain bytes.
fn message(dice: &mut Rng) -> Vec<u8> {
    match dice.u8(..8) {
        0 | 1 => return bytes(dice, 600),
        2 => return frames(dice),
        _ => {}
    }
    let version = one_of(dice, &["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "HTTP/1.1 x"]);
    let mut text =
        format!("{} {} {version}\r\n", one_of(dice, &METHODS), one_of(dice, &TARGETS)).into_bytes();
    for _ in 0..dice.u8(..6) {
        text.extend_from_slice(one_of(dice, &HEADERS).as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    if dice.u8(..8) > 0 {
        text.extend_from_slice(b"\r\n");
        text.extend(bytes(dice, 200));
    }
    text
}

/// The preface, and frames whose lengths are right and nothing else (RFC 9113, section 4.1).
fn frames(dice: &mut Rng) -> Vec<u8> {
    let mut text = PREFACE.to_vec();
    for _ in 0..dice.u8(1..5) {
        let payload = bytes(dice, 60);
        text.extend([0, 0, payload.len() as u8, dice.u8(..12), dice.u8(..), 0, 0, 0, dice.u8(..4)]);
        text.extend(payload);
    }
    text
}

fn bytes(dice: &mut Rng, longest: usize) -> Vec<u8> {
    (0..dice.usize(..longest)).map(|_| dice.u8(..)).collect()
}

fn one_of<'a>(dice: &mut Rng, words: &[&'a str]) -> &'a str {
    words[dice.usize(..words.len())]
}

/// Sends all of it, and in the end one well-formed request, which must be answered or refused in time.
pub fn make(address: SocketAddr, seed: u64) -> Result {
    let tls = tls_of(address);
    let end = Instant::now() + WHOLE;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let tls = tls.as_ref();
            scope.spawn(move || {
                let mut dice = Rng::with_seed(seed.wrapping_add(client as u64));
                for _ in 0..ROUNDS / CLIENTS {
                    let inside = tls.filter(|_| dice.bool());
                    // That a connection is refused or reset is the example's right; that it stays there is seen
                    // at the end.
                    let _ = exchange(address, inside, &message(&mut dice), PATIENCE);
                    if Instant::now() >= end {
                        break;
                    }
                }
            });
        }
    });
    let last = b"GET / HTTP/1.1\r\nHost: dev.pingora.local\r\nConnection: close\r\n\r\n";
    let answered = exchange(address, tls.as_ref(), last, LAST)
        .or_trouble(|| format!("{address} no longer accepts connections"))?;
    if answered {
        return Ok(());
    }
    Err(Trouble::new(format!("{address} accepts connections and no longer answers")))
}

/// How to speak TLS with a port, if it does: it shakes hands with a client who trusts the City's authority.
fn tls_of(address: SocketAddr) -> Option<Arc<ClientConfig>> {
    let tls = Arc::new(dial::config(Path::new(dial::CA)).ok()?);
    let mut stream = connect(address, LAST).ok()?;
    let mut connection = session(&tls).ok()?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).ok()?;
    }
    Some(tls)
}

fn session(tls: &Arc<ClientConfig>) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(format!("dev.{DOMAIN}")).map_err(io::Error::other)?;
    ClientConnection::new(tls.clone(), name).map_err(io::Error::other)
}

fn connect(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    Ok(stream)
}

/// Sends a message and reads once. True if something came back, or the connection was closed.
fn exchange(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    message: &[u8],
    patience: Duration,
) -> io::Result<bool> {
    let Some(tls) = tls else { return say(connect(address, patience)?, message) };
    // A handshake is work: it gets more time than the answer to what follows it.
    let mut stream = StreamOwned::new(session(tls)?, connect(address, LAST)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    stream.sock.set_read_timeout(Some(patience))?;
    say(stream, message)
}

fn say(mut stream: impl Read + Write, message: &[u8]) -> io::Result<bool> {
    // Closed while this is being sent: an answer too.
    if stream.write_all(message).and_then(|()| stream.flush()).is_err() {
        return Ok(true);
    }
    match stream.read(&mut [0; 1024]) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Ok(false)
        }
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_seed_makes_the_same_noise_again() {
        let noise = |seed| {
            let mut dice = Rng::with_seed(seed);
            (0..50).map(|_| message(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(noise(7), noise(7));
        assert_ne!(noise(7), noise(9));
    }

    #[test]
    fn a_server_that_closes_lives_and_one_that_is_gone_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let server = thread::spawn({
            let over = over.clone();
            move || listener.incoming().take_while(|_| !over.load(Ordering::Relaxed)).for_each(drop)
        });
        make(address, 1).unwrap();
        over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(address).unwrap());
        server.join().unwrap();
        assert!(make(address, 1).unwrap_err().to_string().contains("no longer accepts connections"));
    }
}
