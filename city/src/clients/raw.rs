//! Sends bytes exactly as given, in given pieces, and shows what comes back.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::dial::Stream;

/// What is sent, and how.
#[derive(Debug)]
pub struct Script {
    /// Each is a write, and so a TCP segment, of its own.
    pub pieces: Vec<Vec<u8>>,
    /// How often the last one is sent.
    pub repeat: u64,
    /// How long to wait between two of them.
    pub pause: Duration,
    /// Whether the sending side is closed after the last.
    pub half_close: bool,
    /// How long silence may last before we leave.
    pub patience: Duration,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The server closed the connection.
    Closed,
    /// The server reset it.
    Reset,
    /// Nothing came for this long.
    Silence(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("(closed by the server)"),
            End::Reset => f.write_str("(reset by the server)"),
            End::Silence(patience) => write!(f, "(nothing for {})", humantime::format_duration(*patience)),
        }
    }
}

/// Plays the script over a connection and shows what comes back, while it comes.
pub async fn play(stream: Box<dyn Stream>, script: &Script, out: &mut impl Write) -> io::Result<End> {
    let (mut reader, writer) = tokio::io::split(stream);
    let sending = send(writer, script);
    tokio::pin!(sending);
    let mut sent = false;
    let mut shown = Shown::default();
    let mut buffer = vec![0; 16 * 1024];
    let end = loop {
        tokio::select! {
            // A server that wants no more says so on the other side: a failed write is not the end.
            // The writer lives on in here; dropping it would close nothing, but it may yet be needed.
            _writer = &mut sending, if !sent => sent = true,
            read = reader.read(&mut buffer) => match read {
                Ok(0) => break End::Closed,
                Ok(count) => shown.show(&buffer[..count], out)?,
                Err(error) if is_close(&error) => break End::Closed,
                Err(_) => break End::Reset,
            },
            () = tokio::time::sleep(script.patience), if sent => break End::Silence(script.patience),
        }
    };
    shown.finish(out)?;
    Ok(end)
}

/// TLS without a goodbye.
fn is_close(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

async fn send<W: AsyncWrite + Unpin>(mut writer: W, script: &Script) -> W {
    let last = script.pieces.len().saturating_sub(1);
    'all: for (place, piece) in script.pieces.iter().enumerate() {
        for time in 0..if place == last { script.repeat } else { 1 } {
            if place + usize::from(time > 0) > 0 {
                tokio::time::sleep(script.pause).await;
            }
            if writer.write_all(piece).await.is_err() || writer.flush().await.is_err() {
                break 'all;
            }
        }
    }
    if script.half_close {
        // If the server is gone already, reading tells.
        let _ = writer.shutdown().await;
    }
    writer
}

/// Shows bytes as text: CRLF as a line end, other control characters and what is no UTF-8 as `\xNN`.
#[derive(Debug, Default)]
struct Shown {
    /// A carriage return, or the beginning of a character, of which the rest must come.
    held: Vec<u8>,
    in_line: bool,
}

impl Shown {
    fn show(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        let whole = self.held.len() - unfinished(&self.held);
        let bytes: Vec<u8> = self.held.drain(..whole).collect();
        self.write(&bytes, out)?;
        out.flush()
    }

    fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.held);
        self.write(&bytes, out)?;
        if self.in_line {
            writeln!(out)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid().replace("\r\n", "\n");
            for c in valid.chars() {
                if c.is_control() && c != '\n' && c != '\t' {
                    c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text += &format!("\\x{byte:02x}"));
                } else {
                    text.push(c);
                }
            }
            chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
        }
        if let Some(last) = text.chars().last() {
            self.in_line = last != '\n';
        }
        out.write_all(text.as_bytes())
    }
}

/// How many bytes at the end wait for more: a carriage return, or part of a character.
fn unfinished(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\r'] => 1,
        _ => match std::str::from_utf8(&bytes[bytes.len().saturating_sub(3)..]) {
            Err(error) if error.error_len().is_none() => bytes.len().min(3) - error.valid_up_to(),
            _ => 0,
        },
    }
}

/// Reads the escapes of a piece: `\r \n \t \0 \\` and `\xNN`.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16)
                    .ok()
                    .filter(|_| digits.len() == 2 && digits.chars().all(|c| c.is_ascii_hexdigit()))
                    .ok_or_else(|| format!("'\\x{digits}' is no byte: two hexadecimal digits follow \\x"))?
            }
            other => {
                let shown = other.map_or(String::new(), String::from);
                return Err(format!("'\\{shown}' is no escape: there are \\r \\n \\t \\0 \\\\ and \\xNN"));
            }
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read() {
        assert_eq!(unescape(r"GET / HTTP/1.1\r\n\xff\0\\ü").unwrap(), b"GET / HTTP/1.1\r\n\xff\0\\\xc3\xbc");
        for wrong in [r"\q", r"\x1", r"\xgg", "\\", r"\x+1"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_comes_back_is_shown_the_same_however_it_is_cut() {
        let bytes = "HTTP/1.1 200 OK\r\n\r\nü\x1b[2J\r€".as_bytes();
        for size in 1..bytes.len() {
            let mut shown = Shown::default();
            let mut out = Vec::new();
            for piece in bytes.chunks(size) {
                shown.show(piece, &mut out).unwrap();
            }
            shown.finish(&mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), "HTTP/1.1 200 OK\n\nü\\x1b[2J\\x0d€\n", "{size}");
        }
    }
}
