//! A stream that ends when its client takes too long to ask, or asks with too many words.
//!
//! Pingora limits single reads of a connection's first head and of bodies. Between requests, and for a head as a
//! whole, the limits are here, around the stream that Pingora reads: a connection is *waiting* for a request until
//! its first byte, then it is in a *head* until that is complete, and then it is *free* until the next request.
//! Whoever serves the connection says when one begins and when a head is complete. A client that wants to switch
//! protocols *expects an answer*: Pingora has one limit for the upstream's silence before it and after it, and after
//! it there must be none.
//!
//! All that is read passes here, so here it is shown to whoever judges bodies in chunks ([`crate::wire::framing`]).

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::held::Held;
use crate::upkeep::BusyGuard;
use crate::wire::forwarded::Peer;
use crate::wire::framing::{BadChunk, Body, Framing};

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until the first byte of a request.
    pub idle: Duration,
    /// From there until its head is complete.
    pub header: Duration,
    /// In bytes.
    pub header_bytes: u32,
}

const FREE: u8 = 0;
const WAITING: u8 = 1;
const HEAD: u8 = 2;
const OPENING: u8 = 3;
const ANSWER: u8 = 4;

/// The deadline of a phase whose time begins when somebody must be waited for. Who is there already is not late, and
/// nobody has to look at the clock for it.
const UNSET: u64 = u64::MAX;

/// How a client of HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where a connection is. Shared by the stream and by whoever serves it, who are never at work at the same time:
/// relaxed atomics are enough.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    /// Who connected.
    peer: Option<Arc<Peer>>,
    born: Instant,
    phase: AtomicU8,
    /// When the phase must be over, in milliseconds from the beginning.
    deadline: AtomicU64,
    /// How many bytes of a head were read.
    read: AtomicU32,
    /// How long an answer, or its next piece, may take, in milliseconds.
    patience: AtomicU64,
    /// Whether nothing was asked for yet.
    is_new: AtomicBool,
    /// Counts it for as long as that is so.
    arrival: Mutex<Option<BusyGuard>>,
    framing: Framing,
}

impl Guard {
    /// A connection begins by waiting.
    pub fn new(limits: Limits, peer: Option<Arc<Peer>>, arrival: BusyGuard) -> Arc<Guard> {
        Arc::new(Guard {
            limits,
            peer,
            born: Instant::now(),
            phase: AtomicU8::new(WAITING),
            deadline: AtomicU64::new(UNSET),
            read: AtomicU32::new(0),
            patience: AtomicU64::new(0),
            is_new: AtomicBool::new(true),
            arrival: Mutex::new(Some(arrival)),
            framing: Framing::default(),
        })
    }

    fn enter(&self, phase: u8, limit: Duration) {
        self.begin_at(Instant::now(), limit);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn begin_at(&self, now: Instant, limit: Duration) {
        let deadline = now.saturating_duration_since(self.born) + limit;
        self.deadline.store(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// If the phase's time has not begun, it begins.
    fn begin(&self, now: Instant) {
        if self.deadline.load(Ordering::Relaxed) == UNSET {
            self.begin_at(now, if self.is_in(WAITING) { self.limits.idle } else { self.limits.header });
        }
    }

    /// The next request is waited for.
    pub fn wait(&self) {
        if self.is_new.load(Ordering::Relaxed) {
            self.framing.start();
        }
        self.read.store(0, Ordering::Relaxed);
        self.deadline.store(UNSET, Ordering::Relaxed);
        self.phase.store(WAITING, Ordering::Relaxed);
    }

    /// HTTP/2 is spoken: until its first request, only time is limited.
    pub fn open(&self) {
        self.enter(OPENING, self.limits.idle);
    }

    /// The upstream has this long for its answer, and for each piece of it.
    pub fn expect_answer(&self, limit: Duration) {
        self.patience.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.enter(ANSWER, limit);
    }

    /// A piece of the answer has come.
    pub fn answered(&self) {
        if self.is_in(ANSWER) {
            self.enter(ANSWER, Duration::from_millis(self.patience.load(Ordering::Relaxed)));
        }
    }

    /// Whether an answer was expected, and has not come in time.
    pub fn is_overdue(&self) -> bool {
        self.is_in(ANSWER) && Instant::now() >= self.deadline()
    }

    /// A head is complete, and this comes behind it.
    ///
    /// # Errors
    /// What is wrong with the part of its body that has come with the head.
    pub fn expect_body(&self, body: Body) -> Result<(), BadChunk> {
        self.relax();
        self.framing.begin(body)
    }

    /// What comes from here on is not for this guard to watch.
    pub fn free(&self) {
        self.relax();
        self.framing.leave();
    }

    fn relax(&self) {
        self.phase.store(FREE, Ordering::Relaxed);
        if self.is_new.load(Ordering::Relaxed) {
            self.arrive();
        }
    }

    /// Its first request is here.
    #[cold]
    fn arrive(&self) {
        self.is_new.store(false, Ordering::Relaxed);
        self.arrival.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Who connected; `None` on a Unix socket.
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        self.peer.as_ref()
    }

    /// How large a head may be.
    pub fn header_bytes(&self) -> u32 {
        self.limits.header_bytes
    }

    fn is_in(&self, phase: u8) -> bool {
        self.phase.load(Ordering::Relaxed) == phase
    }

    /// Bytes were read.
    fn count(&self, bytes: usize) {
        if self.is_in(WAITING) {
            self.deadline.store(UNSET, Ordering::Relaxed);
            self.phase.store(HEAD, Ordering::Relaxed);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.read.store(self.read.load(Ordering::Relaxed).saturating_add(bytes), Ordering::Relaxed);
    }

    fn judge(&self, bytes: &[u8]) -> io::Result<()> {
        self.framing.read(bytes).map_err(Guard::refuse)
    }

    #[cold]
    fn refuse(bad: BadChunk) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, bad)
    }

    fn is_too_large(&self) -> bool {
        self.is_in(HEAD) && self.read.load(Ordering::Relaxed) > self.limits.header_bytes
    }

    fn is_late(&self, now: Instant) -> bool {
        self.begin(now);
        now > self.deadline()
    }

    fn deadline(&self) -> Instant {
        self.born + Duration::from_millis(self.deadline.load(Ordering::Relaxed))
    }
}

/// The stream.
pub struct Guarded {
    inner: Stream,
    guard: Arc<Guard>,
    /// Made when somebody must be waited for.
    timer: Option<Timer>,
    held: Held,
    /// TLS has no call for two pieces.
    is_plain: bool,
}

impl Guarded {
    /// Watches a stream.
    pub fn new(inner: Stream, guard: Arc<Guard>) -> Guarded {
        let is_plain = inner.get_ssl().is_none();
        Guarded { inner, guard, timer: None, held: Held::default(), is_plain }
    }

    /// Where the connection is.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Of a session's stream.
    pub fn of(stream: &Stream) -> Option<&Guarded> {
        (**stream).as_any().downcast_ref()
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        self.guard.begin(now);
        let deadline = self.guard.deadline();
        loop {
            // To set it anew for each request costs more than a ring now and then that is too early.
            let timer = match &mut self.timer {
                Some(timer) if timer.at <= deadline => timer,
                timer => timer.insert(Timer::new(deadline)),
            };
            // It is not yet time, and who is to be woken is known: there is nothing to ask.
            if timer.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) && now < timer.at {
                return Poll::Pending;
            }
            timer.wakes = Some(cx.waker().clone());
            ready!(timer.ring.as_mut().poll(cx));
            let rang = timer.at;
            self.timer = None;
            if rang >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

/// Pingora's clock rings, which is exact to ten milliseconds. Of tokio's, each wait of the thread for the network
/// would have to ask the kernel to be woken.
struct Timer {
    at: Instant,
    /// Who is woken by it.
    wakes: Option<Waker>,
    ring: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Timer {
    fn new(at: Instant) -> Timer {
        // It counts whole milliseconds, of which the last is cut off: without one more, it would ring before its time
        // now and then, and whoever looks at the clock then would go back to sleep.
        let wait = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        Timer { at, wakes: None, ring: Box::pin(pingora::prelude::sleep(wait)) }
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("inner", &self.inner)
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.guard.is_in(FREE) {
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            return Poll::Ready(this.guard.judge(&buf.filled()[before..]));
        }
        if this.guard.is_too_large() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the head is too large")));
        }
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Pending => match this.poll_deadline(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            },
            Poll::Ready(Ok(())) => {
                let was_waited_for = this.guard.is_in(WAITING);
                let read = buf.filled().len() - before;
                if read > 0 {
                    this.guard.count(read);
                }
                // A client that sends a byte now and then is never pending for long.
                if !was_waited_for && this.guard.is_late(Instant::now()) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Ready(this.guard.judge(&buf.filled()[before..]))
            }
            error => error,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.is_plain && this.held.take(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        this.held.poll_write(Pin::new(&mut this.inner), cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.held.poll_release(Pin::new(&mut this.inner), cx))?;
        Pin::new(&mut this.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.held.poll_release(Pin::new(&mut this.inner), cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.held.poll_release(Pin::new(&mut this.inner), cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// A head whose body never came is still the client's to see. Pingora's stream does the same with what it holds.
impl Drop for Guarded {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.held.poll_release(Pin::new(&mut self.inner), &mut cx);
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        // Whoever does not take it has left, and is no longer to be told.
        let _ = poll_fn(|cx| self.held.poll_release(Pin::new(&mut self.inner), cx)).await;
        Shutdown::shutdown(&mut *self.inner).await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Guarded {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

#[async_trait]
impl Peek for Guarded {
    /// What an h2c listener does first. Pingora does not limit it, and waits for as many bytes as the preface has:
    /// a request of HTTP/1 may have fewer, so here it ends with the first that differs.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.guard.begin(Instant::now());
        let deadline = self.guard.deadline().into();
        let inner = &mut self.inner;
        let look = async {
            for length in 1..=buf.len() {
                let begun = &mut buf[..length];
                if !inner.try_peek(begun).await? {
                    return Ok(false);
                }
                if !PREFACE.starts_with(begun) {
                    break;
                }
            }
            Ok(true)
        };
        match tokio::time::timeout_at(deadline, look).await {
            Ok(peeked) => peeked,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring before its time would be slept through.
    #[tokio::test]
    async fn no_timer_rings_before_its_time() {
        let begun = Instant::now();
        let times =
            (0..2000).map(|number| begun + Duration::from_millis(50) + Duration::from_micros(17) * number);
        let rung = times.map(|time| async move {
            Timer::new(time).ring.await;
            (time, Instant::now())
        });
        for (time, rang) in futures_util::future::join_all(rung).await {
            assert!(rang >= time, "{:?} early", time - rang);
        }
    }
}
