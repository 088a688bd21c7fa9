//! A stream that sends what is written to it in small pieces, once it has been told to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::http::Socket;

/// Shorter than every word that a head begins with, so that one read never tells the whole.
const PIECE: usize = 5;
/// Long enough for whoever reads to have read the piece before.
const PAUSE: Duration = Duration::from_millis(5);

/// The stream underneath, and whether it goes in pieces.
pub struct Piecemeal<S> {
    stream: S,
    told: Arc<AtomicBool>,
    pause: Pin<Box<Sleep>>,
}

impl<S> Piecemeal<S> {
    /// Sends as it comes, until what is returned besides is set.
    pub fn new(stream: S) -> (Piecemeal<S>, Arc<AtomicBool>) {
        let told = Arc::new(AtomicBool::new(false));
        (Piecemeal { stream, told: Arc::clone(&told), pause: Box::pin(sleep(Duration::ZERO)) }, told)
    }
}

impl<S: Socket> Socket for Piecemeal<S> {
    fn reset_on_close(&self) {
        self.stream.reset_on_close();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Piecemeal<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Piecemeal<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.told.load(Ordering::Relaxed) {
            return Pin::new(&mut this.stream).poll_write(cx, bytes);
        }
        ready!(this.pause.as_mut().poll(cx));
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &bytes[..bytes.len().min(PIECE)]));
        this.pause.as_mut().reset(Instant::now() + PAUSE);
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn writes_a_piece_at_a_time_when_it_is_told_to() {
        let (near, mut far) = duplex(64);
        let (mut near, told) = Piecemeal::new(near);
        assert_eq!(near.write(b"in one go").await.unwrap(), 9);
        told.store(true, Ordering::Relaxed);
        assert_eq!(near.write(b", in pieces").await.unwrap(), PIECE);
        near.write_all(b"pieces").await.unwrap();
        told.store(false, Ordering::Relaxed);
        assert_eq!(near.write(b", in one go").await.unwrap(), 11);
        drop(near);
        let mut read = String::new();
        far.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "in one go, in pieces, in one go");
    }
}
