//! Follows the requests on an HTTP/1 connection by their bytes alone.
//!
//! hyper lower-cases the names of headers and takes the target apart. What arrived, to the byte, can only be
//! told by looking at the wire beside it.

use std::mem;

use super::journal::Head;
use super::wire::Wire;

/// hyper gives up a little earlier than this.
const LONGEST_HEAD: usize = 512 * 1024;
const MOST_HEADERS: usize = 256;
const LONGEST_CHUNK_LINE: usize = 16 * 1024;

/// Something that the wire told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A request begins.
    Head(Head),
    /// This many more bytes of its body have arrived.
    Body(u64),
    /// It is whole.
    End,
    /// What began here is no valid HTTP, or its body is not; nothing after it on this connection is either.
    Invalid(Vec<u8>),
}

/// Where in the stream of requests the connection is.
#[derive(Debug)]
pub struct Follower {
    place: Place,
    /// Bytes of a head, a chunk's size or a trailer of which more must come.
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Head,
    Sized(u64),
    ChunkSize,
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    Trailers,
    /// Lost: the rest cannot be told apart.
    Lost,
}

impl Follower {
    /// At the beginning of a connection.
    pub fn new() -> Follower {
        Follower { place: Place::Head, held: Vec::new() }
    }

    /// Takes the next bytes from the wire and tells what they mean.
    pub fn feed(&mut self, bytes: &[u8], tell: &mut impl FnMut(Event)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.place {
                Place::Head => self.head(rest, tell),
                Place::Sized(left) => self.some_body(left, rest, tell),
                Place::Chunk(left) => self.some_body(left, rest, tell),
                Place::ChunkSize => self.chunk_size(rest, tell),
                Place::ChunkEnd => self.line(rest, tell, |line, _| match line {
                    [] => Some(Place::ChunkSize),
                    _ => None,
                }),
                Place::Trailers => self.line(rest, tell, |line, tell| match line {
                    [] => {
                        tell(Event::End);
                        Some(Place::Head)
                    }
                    _ => Some(Place::Trailers),
                }),
                Place::Lost => return,
            };
        }
    }

    /// The connection has ended: what there was of a head that never became whole.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let begun = matches!(self.place, Place::Head) && !self.held.is_empty();
        self.place = Place::Lost;
        begun.then(|| mem::take(&mut self.held))
    }

    fn head<'a>(&mut self, bytes: &'a [u8], tell: &mut impl FnMut(Event)) -> &'a [u8] {
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&self.held) {
            Ok(httparse::Status::Complete(length)) => {
                let head = head_of(&request);
                let framing = framing(&head);
                self.held.clear();
                tell(Event::Head(head));
                match framing {
                    Some(Place::Head) => {
                        tell(Event::End);
                        self.place = Place::Head;
                    }
                    Some(place) => self.place = place,
                    None => self.lose(Vec::new(), tell),
                }
                &bytes[length - before..]
            }
            Ok(httparse::Status::Partial) if self.held.len() <= LONGEST_HEAD => &[],
            Ok(httparse::Status::Partial) | Err(_) => {
                let held = mem::take(&mut self.held);
                self.lose(held, tell);
                &[]
            }
        }
    }

    fn some_body<'a>(&mut self, left: u64, bytes: &'a [u8], tell: &mut impl FnMut(Event)) -> &'a [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        tell(Event::Body(here as u64));
        let left = left - here as u64;
        self.place = match (self.place, left) {
            (Place::Sized(_), 0) => {
                tell(Event::End);
                Place::Head
            }
            (Place::Sized(_), left) => Place::Sized(left),
            (_, 0) => Place::ChunkEnd,
            (_, left) => Place::Chunk(left),
        };
        &bytes[here..]
    }

    fn chunk_size<'a>(&mut self, bytes: &'a [u8], tell: &mut impl FnMut(Event)) -> &'a [u8] {
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        match httparse::parse_chunk_size(&self.held) {
            Ok(httparse::Status::Complete((length, size))) => {
                self.held.clear();
                self.place = if size == 0 { Place::Trailers } else { Place::Chunk(size) };
                &bytes[length - before..]
            }
            Ok(httparse::Status::Partial) if self.held.len() <= LONGEST_CHUNK_LINE => &[],
            _ => {
                self.lose(Vec::new(), tell);
                &[]
            }
        }
    }

    /// Collects a line and asks where it leads; nowhere means that the body is no valid HTTP.
    fn line<'a, T: FnMut(Event)>(
        &mut self,
        bytes: &'a [u8],
        tell: &mut T,
        leads_to: impl FnOnce(&[u8], &mut T) -> Option<Place>,
    ) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        self.held.extend_from_slice(&bytes[..taken]);
        if end.is_some() {
            let line = mem::take(&mut self.held);
            match leads_to(line.trim_ascii_end(), tell) {
                Some(place) => self.place = place,
                None => self.lose(Vec::new(), tell),
            }
        } else if self.held.len() > LONGEST_CHUNK_LINE {
            self.lose(Vec::new(), tell);
        }
        &bytes[taken..]
    }

    fn lose(&mut self, bytes: Vec<u8>, tell: &mut impl FnMut(Event)) {
        self.place = Place::Lost;
        self.held = Vec::new();
        tell(Event::Invalid(bytes));
    }
}

fn head_of(request: &httparse::Request<'_, '_>) -> Head {
    Head {
        version: if request.version == Some(0) { "HTTP/1.0" } else { "HTTP/1.1" },
        method: Wire::from(request.method.unwrap_or_default()),
        target: Wire::from(request.path.unwrap_or_default()),
        headers: request.headers.iter().map(|h| (Wire::from(h.name), Wire::from(h.value))).collect(),
    }
}

/// How the body is framed (RFC 9112 section 6.3), or nothing if hyper will refuse it.
fn framing(head: &Head) -> Option<Place> {
    let values = |name: &'static str| {
        let named = move |known: &Wire| known.bytes().eq_ignore_ascii_case(name.as_bytes());
        head.headers.iter().filter(move |(known, _)| named(known)).map(|(_, value)| value.bytes())
    };
    if let Some(codings) = values("transfer-encoding").next_back() {
        let last = codings.rsplit(|byte| *byte == b',').next()?.trim_ascii();
        let chunked = head.version == "HTTP/1.1" && last.eq_ignore_ascii_case(b"chunked");
        return chunked.then_some(Place::ChunkSize);
    }
    let mut length = None;
    for value in values("content-length") {
        let this: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
        if value.starts_with(b"+") || length.is_some_and(|other| other != this) {
            return None;
        }
        length = Some(this);
    }
    match length {
        None | Some(0) => Some(Place::Head),
        Some(length) => Some(Place::Sized(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the whole tells must not depend on how it is cut into pieces.
    fn events(bytes: &[u8]) -> Vec<Event> {
        let in_pieces_of = |size: usize| {
            let mut told: Vec<Event> = Vec::new();
            let mut follower = Follower::new();
            for piece in bytes.chunks(size) {
                follower.feed(piece, &mut |event| match (told.last_mut(), event) {
                    (Some(Event::Body(sum)), Event::Body(more)) => *sum += more,
                    (_, event) => told.push(event),
                });
            }
            told
        };
        let whole = in_pieces_of(bytes.len());
        // What is invalid is told with as much of it as had come, which does depend on the pieces.
        let invalid = whole.iter().any(|event| matches!(event, Event::Invalid(_)));
        for size in if invalid { 1..1 } else { 1..9 } {
            assert_eq!(in_pieces_of(size), whole, "in pieces of {size}");
        }
        whole
    }

    fn kinds(bytes: &[u8]) -> String {
        let kind = |event: &Event| match event {
            Event::Head(head) => format!("{} {}", head.method, head.target),
            Event::Body(bytes) => format!("body {bytes}"),
            Event::End => "end".into(),
            Event::Invalid(_) => "invalid".into(),
        };
        events(bytes).iter().map(kind).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_head_is_kept_to_the_byte() {
        let told =
            events(b"GET /a/../%2F?q=\xc3\xbc HTTP/1.1\r\nhOST: Blue\r\nX-Two:  b \r\nX-Two: \xfc\r\n\r\n");
        let Event::Head(head) = &told[0] else { panic!("no head in {told:?}") };
        assert_eq!(head.target.bytes(), "/a/../%2F?q=ü".as_bytes());
        let headers: Vec<_> = head.headers.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(headers, ["hOST=Blue", "X-Two=b", "X-Two=\\xfc"]);
    }

    #[test]
    fn bodies_end_where_they_end() {
        let cases: [(&[u8], &str); 8] = [
            (b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", "GET /1, end, GET /2, end"),
            (b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n", "PUT /, body 5, end, GET /, end"),
            (
                b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                "PUT /, body 6, end, GET /, end",
            ),
            (
                b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                "PUT /, end, GET /, end",
            ),
            // Both: the transfer coding counts (RFC 9112 section 6.3).
            (
                b"PUT / HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                "PUT /, end, GET /, end",
            ),
            (b"PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf", "PUT /, body 4"),
            (b"PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "PUT /, end"),
            (b"\r\nGET / HTTP/1.1\r\n\r\n", "GET /, end"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(kinds(bytes).replace(", body 5, body 1", ", body 6"), expected);
        }
    }

    #[test]
    fn what_is_no_http_is_told_once() {
        let cases: [(&[u8], &str); 6] = [
            (b"\x16\x03\x01\x02\x00", "invalid"),
            (b"GET / HTTP/1.1\r\n\r\nG\x00T / HTTP/1.1\r\n\r\n", "GET /, end, invalid"),
            (b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc", "PUT /, invalid"),
            (b"PUT / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", "PUT /, invalid"),
            (b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\na", "PUT /, invalid"),
            (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "PUT /, invalid"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(kinds(bytes), expected);
        }
    }

    #[test]
    fn half_a_head_is_not_lost() {
        let mut follower = Follower::new();
        follower.feed(b"GET / HT", &mut |event| panic!("{event:?}"));
        assert_eq!(follower.finish().as_deref(), Some(&b"GET / HT"[..]));
        assert_eq!(follower.finish(), None);
    }
}
