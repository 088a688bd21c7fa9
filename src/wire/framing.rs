//! Where requests begin and end in what an HTTP/1 client sends, and whether their chunks are framed as they must be.
//!
//! Pingora reads the bodies, and frames them anew: no chunk of a client's reaches an upstream as it was. But version
//! 0.9.1 reads more than RFC 9112, section 7.1 permits. A chunk size without a digit is 0 to it, so it ends the body;
//! an extension may hold any bytes but CR, also LF and NUL; trailers may be any lines. A proxy before us that reads
//! these in another way sees other requests in the same bytes, and the difference is a smuggled request. So whoever
//! reads the connection shows here what was read, from the end of one request to the end of the next, and chunks are
//! judged before Pingora sees them.

use std::mem;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::header;
use memchr::{memchr, memchr_iter};
use pingora::http::RequestHeader;

use super::present::Present;

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";
/// The longest line with a chunk's size and extensions, in bytes: Pingora's limit too.
const LINE: usize = 8 * 1024;
/// The longest trailers, in bytes: Pingora's limit too.
const TRAILERS: usize = 64 * 1024;
/// With how many lines.
const FIELDS: usize = 100;

/// Why a body in chunks is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChunk {
    /// RFC 9112, section 7.1: hexadecimal digits, at least one.
    #[error("a chunk's size is not a number")]
    Size,
    /// RFC 9112, section 2.2: some end the line here, and others do not.
    #[error("a line in front of a chunk has a byte that ends it for some, or does not end in CRLF")]
    Line,
    /// Nobody needs so long an extension.
    #[error("a line in front of a chunk, or the trailers, are too long")]
    Long,
    /// RFC 9112, section 7.1.2: they are header lines.
    #[error("the trailers are not header lines")]
    Trailers,
}

/// How much a request has behind its head (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes, or none.
    Length(u64),
    /// Chunks, of which the last is empty.
    Chunked,
}

impl Body {
    /// Of a head that has been [checked](super::head::check), and with what it came.
    pub fn of(request: &RequestHeader, present: Present) -> Body {
        if present.contains(Present::CODING) {
            return Body::Chunked;
        }
        if !present.contains(Present::LENGTH) {
            return Body::Length(0);
        }
        let length = request.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        // They are digits. Of more than there are bytes in the world, none is the last.
        Body::Length(length.and_then(|length| length.parse().ok()).unwrap_or(u64::MAX))
    }
}

/// Where a client is in what it sends.
///
/// Nearly always that is a head and nothing else, at once, and then nothing behind it. For this, one byte is enough:
/// all else would be more code than a request has time for.
#[derive(Debug, Default)]
pub struct Framing {
    /// Only one thread at a time reads a connection, or answers it: relaxed is enough.
    quick: AtomicU8,
    /// Where [`READER`] knows.
    reader: Mutex<Reader>,
}

/// In no request of HTTP/1 that is known.
const ELSEWHERE: u8 = 0;
/// Before a head, of which nothing was read.
const BEFORE: u8 = 1;
/// Behind a head that was read whole.
const BEHIND: u8 = 2;
const READER: u8 = 3;

impl Framing {
    /// The client speaks HTTP/1: its first request is waited for.
    pub fn start(&self) {
        self.quick.store(BEFORE, Relaxed);
    }

    /// What comes from here on is no request.
    pub fn leave(&self) {
        if self.quick.swap(ELSEWHERE, Relaxed) == READER {
            *self.reader() = Reader::default();
        }
    }

    /// A head is complete: the first that was read and has not begun yet.
    ///
    /// # Errors
    /// What is wrong with the part of its body that has come along.
    pub fn begin(&self, body: Body) -> Result<(), BadChunk> {
        match self.quick.load(Relaxed) {
            ELSEWHERE => Ok(()),
            BEHIND if body == Body::Length(0) => {
                self.quick.store(BEFORE, Relaxed);
                Ok(())
            }
            quick => self.ask(quick, |reader| reader.begin(body)),
        }
    }

    /// Bytes were read.
    ///
    /// # Errors
    /// What is wrong with the chunks in them.
    pub fn read(&self, bytes: &[u8]) -> Result<(), BadChunk> {
        match self.quick.load(Relaxed) {
            ELSEWHERE => Ok(()),
            BEFORE if end_of_head(bytes) == Some(bytes.len()) => {
                self.quick.store(BEHIND, Relaxed);
                Ok(())
            }
            quick => self.ask(quick, |reader| reader.read(bytes)),
        }
    }

    #[cold]
    fn ask(
        &self,
        quick: u8,
        question: impl FnOnce(&mut Reader) -> Result<(), BadChunk>,
    ) -> Result<(), BadChunk> {
        let mut reader = self.reader();
        if quick != READER {
            *reader = Reader { headless: quick == BEHIND, ..Reader::default() };
        }
        let found = question(&mut reader);
        self.quick.store(if reader.is_before() { BEFORE } else { READER }, Relaxed);
        found
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same, whatever the client sends.
#[derive(Debug, Default)]
struct Reader {
    at: At,
    /// What was read behind the last body whose end is known: Pingora has the same bytes.
    kept: Vec<u8>,
    /// Whether the head in front of it was left out.
    headless: bool,
}

#[derive(Debug, Default)]
enum At {
    /// In a head, or before it.
    #[default]
    Head,
    /// In a body, with so many bytes to come.
    Body(u64),
    /// In a body of chunks.
    Chunks(Box<Chunks>),
}

impl Reader {
    fn is_before(&self) -> bool {
        matches!(self.at, At::Head) && self.kept.is_empty() && !self.headless
    }

    /// The head is the first of what was kept.
    fn begin(&mut self, body: Body) -> Result<(), BadChunk> {
        let kept = mem::take(&mut self.kept);
        let head = if mem::take(&mut self.headless) { 0 } else { end_of_head(&kept).unwrap_or(kept.len()) };
        self.at = match body {
            Body::Length(length) => At::Body(length),
            Body::Chunked => At::Chunks(Box::default()),
        };
        self.read(&kept[head..])
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), BadChunk> {
        let behind = match &mut self.at {
            At::Head => bytes,
            At::Body(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= here as u64;
                if *left > 0 {
                    return Ok(());
                }
                &bytes[here..]
            }
            At::Chunks(chunks) => {
                let here = chunks.read(bytes)?;
                if chunks.part != Part::End {
                    return Ok(());
                }
                &bytes[here..]
            }
        };
        self.at = At::Head;
        self.kept.extend_from_slice(behind);
        Ok(())
    }
}

/// Where the first head ends. RFC 9112, section 2.2: empty lines before it do not count.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    memchr_iter(b'\n', bytes).map(|at| at + 1).find(|&end| end > begin && bytes[..end].ends_with(END))
}

/// A body of chunks, up to where it was read.
#[derive(Debug, Default)]
struct Chunks {
    part: Part,
    /// The line, or the trailers, so far.
    text: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Size,
    /// Bytes of a chunk, with the CRLF behind it, which Pingora looks at.
    Data(usize),
    Trailers,
    End,
}

impl Chunks {
    /// How many of the bytes belong to it.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let here = match &mut self.part {
                Part::End => break,
                Part::Data(left) => {
                    let here = rest.len().min(*left);
                    *left -= here;
                    if *left == 0 {
                        self.part = Part::Size;
                    }
                    here
                }
                Part::Size | Part::Trailers => {
                    let here = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                    self.text.extend_from_slice(&rest[..here]);
                    self.read_text()?;
                    here
                }
            };
            rest = &rest[here..];
        }
        Ok(bytes.len() - rest.len())
    }

    /// One more piece of text, perhaps with the end of a line.
    fn read_text(&mut self) -> Result<(), BadChunk> {
        let (most, is_size) = match self.part {
            Part::Size => (LINE, true),
            _ => (TRAILERS, false),
        };
        if self.text.len() > most {
            return Err(BadChunk::Long);
        }
        if self.text.last() != Some(&b'\n') {
            return Ok(());
        }
        if !self.text.ends_with(b"\r\n") {
            return Err(BadChunk::Line);
        }
        if is_size {
            self.part = match size(&self.text)? {
                0 => Part::Trailers,
                size => Part::Data(size.saturating_add(b"\r\n".len())),
            };
            self.text.clear();
        } else if self.text == b"\r\n" || self.text.ends_with(END) {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS];
            httparse::parse_headers(&self.text, &mut fields).map_err(|_| BadChunk::Trailers)?;
            self.part = Part::End;
        }
        Ok(())
    }
}

/// The size that a line says, which ends in CRLF.
fn size(line: &[u8]) -> Result<usize, BadChunk> {
    let ends_it = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if line[..line.len() - b"\r\n".len()].iter().any(ends_it) {
        return Err(BadChunk::Line);
    }
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((_, size))) if line[0].is_ascii_hexdigit() => {
            Ok(usize::try_from(size).unwrap_or(usize::MAX))
        }
        _ => Err(BadChunk::Size),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

    /// What is wrong with a request of these chunks, read in these pieces, and whether it is over.
    fn follow(pieces: &[&[u8]]) -> (Result<(), BadChunk>, bool) {
        let framing = Framing::default();
        framing.start();
        let mut read = Vec::new();
        for piece in pieces {
            let was_head = read.len() < HEAD.len();
            read.extend_from_slice(piece);
            let mut found = framing.read(piece);
            if was_head && read.len() >= HEAD.len() {
                found = found.and_then(|()| framing.begin(Body::Chunked));
            }
            if found.is_err() {
                return (found, false);
            }
        }
        (Ok(()), framing.quick.load(Relaxed) == BEFORE)
    }

    fn whole(body: &[u8]) -> Vec<u8> {
        [HEAD, body].concat()
    }

    #[test]
    fn chunks_are_framed_as_they_must_be() {
        for (body, expected) in [
            (&b"0\r\n\r\n"[..], Ok(())),
            (b"3\r\nabc\r\n0\r\n\r\n", Ok(())),
            (b"00A\r\n0123456789\r\n000\r\n\r\n", Ok(())),
            (b"3;a=\"b c\";d\r\nabc\r\n0;\r\n\r\n", Ok(())),
            (b"3 ; a\r\nabc\r\n0\r\n\r\n", Ok(())),
            // Old programs fill a size up to a width, and everybody reads it in one way.
            (b"3  \r\nabc\r\n0\r\n\r\n", Ok(())),
            (b"2\r\n\n\n\r\n0\r\n\r\n", Ok(())),
            (b"0\r\nX-Sum: 1\r\nY:\r\n\r\n", Ok(())),
            (b"\r\n\r\n", Err(BadChunk::Size)),
            (b";a\r\n\r\n", Err(BadChunk::Size)),
            (b" 3\r\nabc\r\n0\r\n\r\n", Err(BadChunk::Size)),
            (b"3 3\r\nabc\r\n0\r\n\r\n", Err(BadChunk::Size)),
            (b"0x3\r\nabc\r\n0\r\n\r\n", Err(BadChunk::Size)),
            (b"+3\r\nabc\r\n0\r\n\r\n", Err(BadChunk::Size)),
            (b"10000000000000000\r\n", Err(BadChunk::Size)),
            (b"3\nabc\r\n0\r\n\r\n", Err(BadChunk::Line)),
            (b"3;a\nabc\r\n0\r\n\r\n", Err(BadChunk::Line)),
            (b"3;\rabc\r\n0\r\n\r\n", Err(BadChunk::Line)),
            (b"3;a\0\r\nabc\r\n0\r\n\r\n", Err(BadChunk::Line)),
            (b"0\r\nX-Sum: 1\nY: 2\r\n\r\n", Err(BadChunk::Line)),
            (b"0\r\n\n", Err(BadChunk::Line)),
            (b"0\r\nGET / HTTP/1.1\r\n\r\n", Err(BadChunk::Trailers)),
            (b"0\r\nX-Sum : 1\r\n\r\n", Err(BadChunk::Trailers)),
            (b"0\r\nX-Sum: 1\r\n 2\r\n\r\n", Err(BadChunk::Trailers)),
        ] {
            let bytes = whole(body);
            let text = body.escape_ascii();
            assert_eq!(follow(&[&bytes]), (expected, expected.is_ok()), "{text}");
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(follow(&single).0, expected, "{text}, byte by byte");
        }
    }

    #[test]
    fn nobody_sends_lines_without_end() {
        for (begin, most) in [(&b"3;"[..], LINE), (b"0\r\nX: ", TRAILERS)] {
            let short = [whole(begin), vec![b'a'; most / 2]].concat();
            assert_eq!(follow(&[&short]), (Ok(()), false));
            let long = [whole(begin), vec![b'a'; most + 1]].concat();
            assert_eq!(follow(&[&long]).0, Err(BadChunk::Long));
            let single: Vec<&[u8]> = long.chunks(1).collect();
            assert_eq!(follow(&single).0, Err(BadChunk::Long));
        }
    }

    /// Requests that come at once are told apart.
    #[test]
    fn each_request_begins_where_the_last_one_ended() {
        let bytes = b"GET /1 HTTP/1.1\r\n\r\n\
            POST /2 HTTP/1.1\r\nContent-Length: 5\r\n\r\n\r\n\r\n1\
            \r\nPOST /3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
            GET /4 HTTP/1.1\r\n\r\n\
            POST /5 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;\n";
        let bodies = [Body::Length(0), Body::Length(5), Body::Chunked, Body::Length(0), Body::Chunked];
        for size in 1..=bytes.len() {
            let framing = Framing::default();
            framing.start();
            let mut left = bytes.chunks(size);
            let mut known: Vec<u8> = Vec::new();
            let mut found = Vec::new();
            for body in bodies {
                // As whoever parses heads: it reads until one is complete.
                let end = loop {
                    if let Some(end) = end_of_head(&known) {
                        break end;
                    }
                    let piece = left.next().expect("there is one more head");
                    framing.read(piece).expect("only the last is wrong");
                    known.extend_from_slice(piece);
                };
                known.drain(..end);
                found.push(framing.begin(body));
                let length = match body {
                    Body::Length(length) => length as usize,
                    Body::Chunked => b"3\r\nabc\r\n0\r\n\r\n".len(),
                };
                while known.len() < length {
                    let Some(piece) = left.next() else { break };
                    found.push(framing.read(piece));
                    known.extend_from_slice(piece);
                }
                known.drain(..length.min(known.len()));
            }
            let wrong = found.iter().position(Result::is_err);
            assert_eq!(wrong, Some(found.len() - 1), "in pieces of {size}: {found:?}");
            assert_eq!(found.last(), Some(&Err(BadChunk::Line)), "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_request_is_not_kept() {
        let framing = Framing::default();
        let kept = || framing.reader().kept.len();
        framing.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("nobody judges it");
        framing.start();
        framing.read(b"GET / HTTP/1.1\r\n\r\n").expect("it is a head");
        framing.begin(Body::Length(0)).expect("it has no body");
        assert_eq!(kept(), 0);
        framing.read(b"3;\n").expect("it may become a head");
        assert_eq!(kept(), 3);
        framing.leave();
        framing.read(b"3;\n").expect("nobody judges it");
        assert_eq!(kept(), 0);
    }

    proptest! {
        /// However the bytes come, the verdict is the same.
        #[test]
        fn pieces_change_nothing(
            body in "([0-3;]|\r\n|\n|a){0,24}",
            cuts in prop::collection::vec(0usize..48, 0..4),
        ) {
            let bytes = whole(body.as_bytes());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut begin = 0;
            let pieces: Vec<&[u8]> = cuts
                .into_iter()
                .map(|end| &bytes[mem::replace(&mut begin, end)..end])
                .collect();
            prop_assert_eq!(follow(&pieces), follow(&[&bytes]));
        }
    }
}
