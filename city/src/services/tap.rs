//! A stream that records the HTTP/1 requests that come over it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::follow::{Event, Follower};
use super::journal::{Connection, Head, Journal, Record};
use super::wire::Wire;

/// The requests of one connection that have arrived and that nobody has begun to answer.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Mutex<VecDeque<Arc<Record>>>>);

impl Arrivals {
    /// The record of the request that hyper hands out next: both see them in the order of the wire.
    pub fn next(&self) -> Option<Arc<Record>> {
        self.queue().pop_front()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream, and what has been seen on it.
pub struct Tap<S> {
    stream: S,
    follower: Follower,
    seen: Seen,
}

struct Seen {
    journal: Arc<Journal>,
    connection: Connection,
    arrivals: Arrivals,
    /// The request whose body is arriving.
    current: Option<Arc<Record>>,
    /// What hyper will refuse by itself, without asking the service.
    invalid: Option<Arc<Record>>,
}

impl<S> Tap<S> {
    /// Listens in on a stream.
    pub fn new(stream: S, journal: Arc<Journal>, connection: Connection) -> (Tap<S>, Arrivals) {
        let arrivals = Arrivals::default();
        let seen = Seen { journal, connection, arrivals: arrivals.clone(), current: None, invalid: None };
        (Tap { stream, follower: Follower::new(), seen }, arrivals)
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    fn unfinished_head(&mut self) {
        if let Some(bytes) = self.follower.finish() {
            // Dropping the record says that it broke off.
            self.seen.begin_invalid(bytes);
        }
    }
}

impl Seen {
    fn take(&mut self, event: Event) {
        match event {
            Event::Head(head) => {
                let record = self.journal.begin(&self.connection, head);
                self.arrivals.queue().push_back(Arc::clone(&record));
                self.current = Some(record);
            }
            Event::Body(bytes) => {
                if let Some(record) = &self.current {
                    record.body(bytes);
                }
            }
            Event::End => {
                if let Some(record) = self.current.take() {
                    record.complete();
                }
            }
            // A head that stands, and says nonsense about its body.
            Event::Invalid(bytes) if bytes.is_empty() => self.invalid = self.current.take(),
            Event::Invalid(bytes) => self.invalid = Some(self.begin_invalid(bytes)),
        }
    }

    fn begin_invalid(&self, bytes: Vec<u8>) -> Arc<Record> {
        let head =
            Head { version: "?", method: Wire::default(), target: Wire::from(bytes), headers: Vec::new() };
        self.journal.begin(&self.connection, head)
    }

    /// hyper answers what it cannot parse with a bare head, which ends what it writes.
    fn answer_to_invalid(&mut self, written: &[u8]) {
        let start = b"HTTP/1.1 4";
        if let Some(record) = &self.invalid
            && let Some(at) = written.windows(start.len()).rposition(|window| window == start)
            && let Some(status) = written.get(at + 9..at + 12)
            && let Some(status) = std::str::from_utf8(status).ok().and_then(|digits| digits.parse().ok())
        {
            record.answered(status, None);
            self.invalid = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut tap.stream).poll_read(cx, buf));
        let read = &buf.filled()[before..];
        if result.is_err() || (read.is_empty() && buf.remaining() > 0) {
            tap.unfinished_head();
        } else {
            let seen = &mut tap.seen;
            tap.follower.feed(read, &mut |event| seen.take(event));
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        tap.seen.answer_to_invalid(bytes);
        Pin::new(&mut tap.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S> Drop for Tap<S> {
    fn drop(&mut self) {
        self.unfinished_head();
    }
}
