//! A client of HTTP/2 that sends frames as they are given, right or wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// As it goes over the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block without compression (RFC 7541, section 6.2.2), so that any text can be in it.
pub fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("it is short")], text.as_bytes()].concat();
    lines.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A connection.
pub struct H2Client(TcpStream);

impl H2Client {
    /// With these settings, as they go over the wire.
    pub fn connect(address: SocketAddr, settings: &[u8]) -> H2Client {
        let mut stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, settings)].concat();
        stream.write_all(&hello).expect("the gateway reads");
        H2Client(stream)
    }

    /// What follows on a connection on which both sides have begun; of a server just as well.
    pub fn on(stream: TcpStream) -> H2Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        H2Client(stream)
    }

    /// Whether the gateway still takes them.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// The next frame. `None` if the connection is closed.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("it is short")];
        self.read(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("neither a frame nor an end"),
            Err(_) => None,
        }
    }

    /// Frames until one is what is looked for, which is the last, or until the connection is closed.
    pub fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next() {
            let found = wanted(&frame);
            frames.push(frame);
            if found {
                break;
            }
        }
        frames
    }

    /// How the stream ends: with the end of an answer, a reset, or the connection.
    pub fn end_of(&mut self, stream: u32) -> Ending {
        let ends = |frame: &Frame| {
            frame.kind == GOAWAY
                || frame.stream == stream
                    && (frame.kind == RST_STREAM
                        || matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0)
        };
        match self.until(ends).pop() {
            Some(Frame { kind: GOAWAY, payload, .. }) => Ending::GoAway(payload[7]),
            Some(Frame { kind: RST_STREAM, payload, .. }) => Ending::Reset(payload[3]),
            Some(frame) if ends(&frame) => Ending::Answer,
            _ => Ending::Closed,
        }
    }
}

/// With their codes (RFC 9113, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Answer,
    Reset(u8),
    GoAway(u8),
    Closed,
}
