//! Random bytes, methods and headers for the ports of an example: it must live through them and go on answering.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

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

/// What is sent over one connection: a request that may be malformed in any of its parts, or plain bytes.
fn message(dice: &mut Rng) -> Vec<u8> {
    if dice.u8(..4) == 0 {
        return bytes(dice, 600);
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

fn bytes(dice: &mut Rng, longest: usize) -> Vec<u8> {
    (0..dice.usize(..longest)).map(|_| dice.u8(..)).collect()
}

fn one_of<'a>(dice: &mut Rng, words: &[&'a str]) -> &'a str {
    words[dice.usize(..words.len())]
}

/// Sends all of it, and in the end one well-formed request, which must be answered or refused in time.
pub fn make(address: SocketAddr, seed: u64) -> Result {
    let end = Instant::now() + WHOLE;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut dice = Rng::with_seed(seed.wrapping_add(client as u64));
                for _ in 0..ROUNDS / CLIENTS {
                    // That a connection is refused or reset is the example's right; that it stays there is seen
                    // at the end.
                    let _ = exchange(address, &message(&mut dice), PATIENCE);
                    if Instant::now() >= end {
                        break;
                    }
                }
            });
        }
    });
    let last = b"GET / HTTP/1.1\r\nHost: dev.pingora.local\r\nConnection: close\r\n\r\n";
    let answered =
        exchange(address, last, LAST).or_trouble(|| format!("{address} no longer accepts connections"))?;
    if answered {
        return Ok(());
    }
    Err(Trouble::new(format!("{address} accepts connections and no longer answers")))
}

/// Sends a message and reads once. True if something came back, or the connection was closed.
fn exchange(address: SocketAddr, message: &[u8], patience: Duration) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    // Closed while this is being sent: an answer too.
    if stream.write_all(message).is_err() {
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
        let server = thread::spawn(move || {
            for stream in listener.incoming().take(ROUNDS + 1) {
                drop(stream);
            }
        });
        make(address, 1).unwrap();
        server.join().unwrap();
        assert!(make(address, 1).unwrap_err().to_string().contains("no longer accepts connections"));
    }
}
