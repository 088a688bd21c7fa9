//! Talks to a WebSocket server, and prints what it says.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, Request, Uri};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::dial::{self, TlsArgs};
use crate::trouble::{OrTrouble, Result, Trouble};

/// How long connecting may take, and how long the server may take to say goodbye.
const CONNECT: Duration = Duration::from_secs(5);

/// What is said.
#[derive(Debug)]
pub struct Script {
    /// In this order.
    pub say: Vec<Say>,
    /// The time between two of them.
    pub interval: Duration,
    /// Texts are cut into frames of this size.
    pub fragment: Option<usize>,
    /// How many messages to wait for before closing.
    pub expect: usize,
    /// How long to wait for the next of them.
    pub patience: Duration,
    /// How long to stay connected after them.
    pub hold: Duration,
    /// The code to close with.
    pub close: u16,
}

/// One thing to say.
#[derive(Debug, Clone)]
pub enum Say {
    /// A text message.
    Text(String),
    /// A binary message of this size.
    Binary(usize),
    /// A ping.
    Ping,
}

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Everything came, and both sides said goodbye.
    Good,
    /// Something was missing; what, has been printed.
    Bad,
}

/// Connects to `ws://` or `wss://`, plays the script and prints what the server says.
pub async fn play(
    url: &Uri,
    headers: &[(HeaderName, HeaderValue)],
    tls: &TlsArgs,
    script: &Script,
    out: &mut impl Write,
) -> Result<End> {
    let (request, address, secure) = request(url, headers)?;
    let stream = dial::tcp(&address, CONNECT).await?;
    let stream: Box<dyn dial::Stream> = if secure {
        Box::new(dial::tls(stream, &address, tls, &["http/1.1"]).await?.0)
    } else {
        Box::new(stream)
    };
    let shaken = timeout(CONNECT, tokio_tungstenite::client_async(request, stream)).await;
    let shaken = shaken.map_err(|_| Trouble::new(format!("{address} does not answer the handshake")))?;
    let talked = match shaken {
        Ok((socket, _)) => Talk { socket, out, heard: 0 }.play(script).await,
        Err(Error::Http(response)) => {
            writeln!(out, "{:?} {}", response.version(), response.status()).map(|()| End::Bad)
        }
        Err(error) => return Err(Trouble::new(format!("no WebSocket with {address}")).cause(error)),
    };
    talked.or_trouble(|| "cannot print what came".into())
}

fn request(url: &Uri, headers: &[(HeaderName, HeaderValue)]) -> Result<(Request<()>, String, bool)> {
    let wrong =
        || Trouble::new(format!("'{url}' is no WebSocket address")).remedy("write ws://dev:6167/").status(2);
    let secure = match url.scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        _ => return Err(wrong()),
    };
    let host = url.host().ok_or_else(wrong)?;
    let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let mut request = url.into_client_request().map_err(|_| wrong())?;
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    Ok((request, format!("{host}:{port}"), secure))
}

struct Talk<'a, W> {
    socket: WebSocketStream<Box<dyn dial::Stream>>,
    out: &'a mut W,
    heard: usize,
}

/// What listening came to.
enum Heard {
    /// As many messages as were wanted.
    Enough,
    /// The time is over.
    Time,
    /// The connection is, well or badly.
    Over(End),
}

impl<W: Write> Talk<'_, W> {
    async fn play(mut self, script: &Script) -> io::Result<End> {
        for (place, say) in script.say.iter().enumerate() {
            if place > 0
                && let Heard::Over(end) = self.listen(usize::MAX, script.interval).await?
            {
                return self.early(end, script);
            }
            if let Err(error) = self.say(say, script.fragment).await {
                return self.lost(&error);
            }
        }
        while self.heard < script.expect {
            match self.listen(script.expect, script.patience).await? {
                Heard::Enough => {}
                Heard::Time => {
                    writeln!(self.out, "(nothing for {})", humantime::format_duration(script.patience))?;
                    return Ok(End::Bad);
                }
                Heard::Over(end) => return self.early(end, script),
            }
        }
        if let Heard::Over(end) = self.listen(usize::MAX, script.hold).await? {
            return Ok(end);
        }
        let goodbye = CloseFrame { code: script.close.into(), reason: "".into() };
        if let Err(error) = self.socket.close(Some(goodbye)).await {
            return self.lost(&error);
        }
        match self.listen(usize::MAX, CONNECT).await? {
            Heard::Over(end) => Ok(end),
            _ => {
                writeln!(self.out, "(no goodbye within {})", humantime::format_duration(CONNECT))?;
                Ok(End::Bad)
            }
        }
    }

    /// The server closed: well done only if everything had been said and heard.
    fn early(&self, end: End, script: &Script) -> io::Result<End> {
        Ok(if self.heard < script.expect { End::Bad } else { end })
    }

    async fn say(&mut self, say: &Say, fragment: Option<usize>) -> std::result::Result<(), Error> {
        let message = match (say, fragment) {
            (Say::Text(text), None) => Message::text(text.as_str()),
            (Say::Text(text), Some(size)) => return self.say_in_frames(text, size).await,
            (Say::Binary(size), _) => Message::binary(vec![b'x'; *size]),
            (Say::Ping, _) => Message::Ping(Bytes::from_static(b"city")),
        };
        self.socket.send(message).await
    }

    async fn say_in_frames(&mut self, text: &str, size: usize) -> std::result::Result<(), Error> {
        let count = text.len().div_ceil(size).max(1);
        for place in 0..count {
            let piece = &text.as_bytes()[place * size..text.len().min((place + 1) * size)];
            let kind = if place == 0 { Data::Text } else { Data::Continue };
            let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), place + 1 == count);
            self.socket.send(Message::Frame(frame)).await?;
        }
        Ok(())
    }

    /// Prints what comes until `enough` messages have been heard or the time is over.
    async fn listen(&mut self, enough: usize, time: Duration) -> io::Result<Heard> {
        let until = Instant::now() + time;
        while self.heard < enough {
            let Ok(next) = tokio::time::timeout_at(until, self.socket.next()).await else {
                return Ok(Heard::Time);
            };
            match next {
                Some(Ok(Message::Text(text))) => writeln!(self.out, "{text}")?,
                Some(Ok(Message::Binary(bytes))) => writeln!(self.out, "(binary, {} bytes)", bytes.len())?,
                Some(Ok(Message::Pong(_))) => writeln!(self.out, "(pong)")?,
                Some(Ok(Message::Ping(_))) => {
                    writeln!(self.out, "(ping)")?;
                    continue;
                }
                Some(Ok(Message::Close(frame))) => {
                    let said = frame.map_or("without a code".into(), |frame| {
                        format!("{} {}", u16::from(frame.code), frame.reason)
                    });
                    writeln!(self.out, "(closed: {})", said.trim_end())?;
                    // What is left to do is ours: the answer goes out, and the connection ends.
                    let _ = tokio::time::timeout(CONNECT, self.socket.next()).await;
                    return Ok(Heard::Over(End::Good));
                }
                Some(Ok(Message::Frame(_))) => continue,
                Some(Err(error)) => return self.lost(&error).map(Heard::Over),
                None => return Ok(Heard::Over(End::Good)),
            }
            self.out.flush()?;
            self.heard += 1;
        }
        Ok(Heard::Enough)
    }

    fn lost(&mut self, error: &Error) -> io::Result<End> {
        let why = match error {
            Error::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => "reset".into(),
            Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed => {
                "closed without a goodbye".into()
            }
            Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ) => "closed without a goodbye".to_owned(),
            other => other.to_string(),
        };
        writeln!(self.out, "(lost: {why})")?;
        Ok(End::Bad)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn script(say: Vec<Say>) -> Script {
        Script {
            expect: say.len(),
            say,
            interval: Duration::ZERO,
            fragment: None,
            patience: CONNECT,
            hold: Duration::ZERO,
            close: 1000,
        }
    }

    fn text(text: &str) -> Say {
        Say::Text(text.into())
    }

    async fn play_with(listener: &TcpListener, script: &Script) -> (End, String) {
        let url: Uri = format!("ws://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let tls = TlsArgs { ca: "".into(), sni: None, cert: None, key: None };
        let mut out = Vec::new();
        let end = play(&url, &[], &tls, script, &mut out).await.unwrap();
        (end, String::from_utf8(out).unwrap())
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    /// Says everything back, and closes with 4000 when it hears `go`.
    async fn echo(listener: &TcpListener) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message == Message::text("go") {
                let frame = CloseFrame { code: 4000.into(), reason: "gone".into() };
                socket.close(Some(frame)).await.unwrap();
            } else if message.is_text() || message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn what_is_said_comes_back() {
        let cases = [
            (script(vec![text("a"), text("b")]), "a\nb\n(closed: 1000)\n"),
            (script(vec![Say::Binary(1000), Say::Ping]), "(binary, 1000 bytes)\n(pong)\n(closed: 1000)\n"),
            (Script { fragment: Some(2), ..script(vec![text("fünf")]) }, "fünf\n(closed: 1000)\n"),
            (Script { close: 1001, ..script(vec![]) }, "(closed: 1001)\n"),
            (Script { expect: 1, ..script(vec![text("a"), text("go")]) }, "a\n(closed: 4000 gone)\n"),
        ];
        for (script, expected) in cases {
            let listener = listener().await;
            let ((end, said), ()) = tokio::join!(play_with(&listener, &script), echo(&listener));
            assert_eq!((end, said.as_str()), (End::Good, expected));
        }
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told() {
        let listener = listener().await;
        let missing = script(vec![text("go")]);
        let ((end, said), ()) = tokio::join!(play_with(&listener, &missing), echo(&listener));
        assert_eq!((end, said.as_str()), (End::Bad, "(closed: 4000 gone)\n"));

        let patience = Duration::from_millis(20);
        let silent = Script { expect: 1, patience, ..script(vec![]) };
        let ((end, said), ()) = tokio::join!(play_with(&listener, &silent), echo(&listener));
        assert_eq!((end, said.as_str()), (End::Bad, "(nothing for 20ms)\n"));

        let refuse = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        };
        let waiting = script(vec![text("a")]);
        let ((end, said), ()) = tokio::join!(play_with(&listener, &waiting), refuse);
        assert_eq!((end, said.as_str()), (End::Bad, "HTTP/1.1 403 Forbidden\n"));

        let hang_up = async {
            let (stream, _) = listener.accept().await.unwrap();
            drop(tokio_tungstenite::accept_async(stream).await.unwrap());
        };
        let ((end, said), ()) = tokio::join!(play_with(&listener, &waiting), hang_up);
        assert_eq!(end, End::Bad);
        assert!(said.starts_with("(lost: "), "{said}");
    }
}
