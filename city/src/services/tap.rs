//! A stream that records the HTTP/1 requests that come over it.

use std::collections::VecDeque;
use std::future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::follow::{Event, Follower};
use super::journal::{Connection, Head, Journal, Record};
use super::wire::Wire;

/// Enough of what is no HTTP to tell what it was.
const KEPT_OF_INVALID: usize = 4096;

/// What a tap tells those who answer.
#[derive(Debug, Clone)]
pub struct Arrivals {
    queue: Arc<Mutex<VecDeque<Arc<Record>>>>,
    left: watch::Receiver<bool>,
}

impl Arrivals {
    /// The record of the request that hyper hands out next: both see them in the order of the wire.
    pub fn next(&self) -> Option<Arc<Record>> {
        queue(&self.queue).pop_front()
    }

    /// Waits until the client has closed its side while it was owed an answer.
    pub async fn client_left(&self) {
        let mut left = self.left.clone();
        if left.wait_for(|left| *left).await.is_err() {
            // The tap is gone, and whoever waits here goes with it.
            future::pending::<()>().await;
        }
    }
}

fn queue(queue: &Mutex<VecDeque<Arc<Record>>>) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
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
    queue: Arc<Mutex<VecDeque<Arc<Record>>>>,
    /// The request whose body is arriving.
    current: Option<Arc<Record>>,
    /// The last request that has arrived whole, as long as somebody means to answer it.
    owed: Weak<Record>,
    left: watch::Sender<bool>,
    /// hyper, while it is not told that the client closed its side.
    waiting: Option<Waker>,
    /// What hyper will refuse by itself, without asking the service.
    invalid: Option<Arc<Record>>,
}

impl<S> Tap<S> {
    /// Listens in on a stream.
    pub fn new(stream: S, journal: Arc<Journal>, connection: Connection) -> (Tap<S>, Arrivals) {
        let (left, is_left) = watch::channel(false);
        let arrivals = Arrivals { queue: Arc::default(), left: is_left };
        let queue = Arc::clone(&arrivals.queue);
        let seen = Seen {
            journal,
            connection,
            queue,
            current: None,
            owed: Weak::new(),
            left,
            waiting: None,
            invalid: None,
        };
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
                queue(&self.queue).push_back(Arc::clone(&record));
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
                    self.owed = Arc::downgrade(&record);
                }
            }
            // A head that stands, and says nonsense about its body.
            Event::Invalid(bytes) if bytes.is_empty() => self.invalid = self.current.take(),
            Event::Invalid(bytes) => self.invalid = Some(self.begin_invalid(bytes)),
        }
    }

    fn begin_invalid(&self, mut bytes: Vec<u8>) -> Arc<Record> {
        bytes.truncate(KEPT_OF_INVALID);
        let head =
            Head { version: "?", method: Wire::default(), target: Wire::from(bytes), headers: Vec::new() };
        self.journal.begin(&self.connection, head)
    }

    /// hyper drops an answer that it owes when the client closes its side. A client may well do so after its
    /// last request (RFC 9112 section 9.6), so hyper hears of it when the answer is on its way.
    fn holds_back_the_end(&mut self, cx: &Context<'_>) -> bool {
        let owes = self.current.is_none() && self.owes_an_answer();
        if owes {
            self.waiting = Some(cx.waker().clone());
            // Nobody may be listening: then nobody is waiting for anything.
            let _ = self.left.send(true);
        }
        owes
    }

    fn owes_an_answer(&self) -> bool {
        self.owed.upgrade().is_some_and(|record| !record.is_answered())
    }

    fn answer_is_leaving(&mut self) {
        if !self.owes_an_answer()
            && let Some(hyper) = self.waiting.take()
        {
            hyper.wake();
        }
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
        let ended = result.is_ok() && read.is_empty() && buf.remaining() > 0;
        if ended && tap.seen.holds_back_the_end(cx) {
            return Poll::Pending;
        }
        if ended || result.is_err() {
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
        tap.seen.answer_is_leaving();
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
