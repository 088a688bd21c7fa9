//! The head of an answer waits for what comes behind it: both leave in one call of the kernel, and in one segment.
//!
//! Each of Pingora's streams has a buffer of 1,460 bytes. What does not fit goes around it, and what it holds goes
//! before, so that the head of every longer answer left alone. Like that buffer, this asks whoever writes to flush:
//! Pingora does, where a client may be waiting for a head.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// A longer head would not wait in Pingora's buffer either.
const MOST: usize = 1460;

/// A head that waits, or nothing.
#[derive(Debug, Default)]
pub struct Held(Vec<u8>);

impl Held {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what is the head of an answer of HTTP/1; whether it is one.
    pub fn take(&mut self, piece: &[u8]) -> bool {
        let is_head = self.is_empty() && piece.len() < MOST && piece.starts_with(b"HTTP/1.");
        if is_head {
            self.0.extend_from_slice(piece);
        }
        is_head
    }

    /// Writes what waits, and this behind it. Answers as [`AsyncWrite::poll_write`] does, of the piece alone.
    pub fn poll_write<S>(
        &mut self,
        mut stream: Pin<&mut S>,
        cx: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncWrite + ?Sized,
    {
        while !self.is_empty() {
            let both = [IoSlice::new(&self.0), IoSlice::new(piece)];
            let written = ready!(stream.as_mut().poll_write_vectored(cx, &both))?;
            let of_piece = written.saturating_sub(self.0.len());
            self.written(written)?;
            if of_piece > 0 {
                return Poll::Ready(Ok(of_piece));
            }
        }
        stream.poll_write(cx, piece)
    }

    /// Writes what waits. What the stream itself holds is left to it.
    pub fn poll_release<S>(&mut self, mut stream: Pin<&mut S>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + ?Sized,
    {
        while !self.is_empty() {
            let written = ready!(stream.as_mut().poll_write(cx, &self.0))?;
            self.written(written)?;
        }
        Poll::Ready(Ok(()))
    }

    fn written(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.0.drain(..count.min(self.0.len()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use pingora::protocols::Shutdown;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::listen::guard::{Guard, Guarded, Limits};
    use crate::upkeep::Busy;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

    /// A stream that takes so many bytes at once, and has no room at every other call.
    #[derive(Default)]
    struct Narrow {
        most: usize,
        is_full: bool,
        calls: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(piece)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.is_full = !self.is_full;
            if !self.is_full {
                return Poll::Pending;
            }
            let all = pieces.iter().flat_map(|piece| piece.iter().copied());
            let taken: Vec<u8> = all.take(self.most).collect();
            let count = taken.len();
            self.calls.push(taken);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn narrow(most: usize) -> Narrow {
        Narrow { most, ..Narrow::default() }
    }

    /// As `write_all` does it; what was written in each call.
    fn write(head: &[u8], body: &[u8], mut stream: Narrow) -> Vec<Vec<u8>> {
        let mut held = Held::default();
        assert!(held.take(head));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut rest = body;
        while !rest.is_empty() {
            if let Poll::Ready(written) = held.poll_write(Pin::new(&mut stream), &mut cx, rest) {
                rest = &rest[written.unwrap()..];
            }
        }
        while held.poll_release(Pin::new(&mut stream), &mut cx).is_pending() {}
        assert!(held.is_empty());
        stream.calls
    }

    #[test]
    fn head_and_body_leave_in_one_call() {
        let calls = write(HEAD, b"body", narrow(usize::MAX));
        assert_eq!(calls, [[HEAD, b"body"].concat()]);
    }

    #[test]
    fn nothing_is_lost_or_doubled_however_little_is_taken() {
        for most in 1..HEAD.len() + 6 {
            let calls = write(HEAD, b"body", narrow(most));
            assert_eq!(calls.concat(), [HEAD, b"body"].concat(), "{most} at once");
            assert!(calls.iter().all(|call| call.len() <= most));
        }
    }

    #[test]
    fn a_head_without_a_body_leaves_when_it_is_released() {
        assert_eq!(write(HEAD, b"", narrow(usize::MAX)), [HEAD]);
        assert_eq!(write(HEAD, b"", narrow(5)).concat(), HEAD);
    }

    #[test]
    fn a_stream_that_takes_nothing_is_an_error() {
        let mut held = Held::default();
        assert!(held.take(HEAD));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(released) = held.poll_release(Pin::new(&mut narrow(0)), &mut cx) else { panic!() };
        assert_eq!(released.unwrap_err().kind(), io::ErrorKind::WriteZero);
        let Poll::Ready(written) = held.poll_write(Pin::new(&mut narrow(0)), &mut cx, b"body") else {
            panic!()
        };
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::WriteZero);
        assert_eq!(held.0, HEAD);
    }

    /// Whoever drops the stream, or shuts it down, has not flushed it.
    #[tokio::test]
    async fn a_head_leaves_before_its_stream_ends() {
        for is_dropped in [true, false] {
            let (near, mut far) = tokio::io::duplex(1000);
            let second = Duration::from_secs(1);
            let limits = Limits { idle: second, header: second, header_bytes: 1000 };
            let guard = Guard::new(limits, None, Arc::<Busy>::default().begin());
            let mut stream = Guarded::new(Box::new(near), guard);
            stream.write_all(HEAD).await.unwrap();
            // The other way, it must have left while the stream is still there.
            let _kept = match is_dropped {
                true => {
                    drop(stream);
                    None
                }
                false => {
                    Shutdown::shutdown(&mut stream).await;
                    Some(stream)
                }
            };
            let mut read = [0; HEAD.len()];
            far.read_exact(&mut read).await.unwrap();
            assert_eq!(read, HEAD, "dropped: {is_dropped}");
        }
    }

    #[test]
    fn only_a_head_waits_and_only_one() {
        let mut held = Held::default();
        assert!(!held.take(b"body"));
        assert!(!held.take(&[HEAD, &[b'x'; MOST]].concat()));
        assert!(held.is_empty());
        assert!(held.take(HEAD));
        assert!(!held.take(HEAD));
        assert_eq!(held.0, HEAD);
    }
}
