//! Lines for whoever reads slowly, or not at all: a channel that has room for so many, and a thread that writes them.
//!
//! Whoever has a line puts it there and goes on; if there is no room, the line is dropped and counted. So the
//! slowest reader stops nobody.

use std::cell::RefCell;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many lines wait for the writer at most.
pub(super) const ROOM: usize = 8192;
/// How long the end waits for the last lines.
const LAST: Duration = Duration::from_secs(1);
/// While lines come, those of a buffer are collected; when none comes for so long, what there is goes out.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is said at most that lines were dropped.
const SAY: Duration = Duration::from_secs(1);
/// How soon somebody who has no room is asked again.
const AGAIN: Duration = Duration::from_millis(10);

/// Where lines go.
pub(super) type Sink = Box<dyn Write + Send>;

/// What there is to say about the lines themselves.
pub(super) enum Trouble {
    /// So many were dropped since this was said last.
    Dropped(u64),
    /// They cannot be written.
    Failed(io::Error),
}

enum Message {
    Line(Vec<u8>),
    /// From now on they go here.
    Into(Sink),
    Flush(SyncSender<()>),
}

/// Where lines are put.
pub(super) struct Lines {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    /// Until it is started.
    writer: Mutex<Option<Writer>>,
}

impl Lines {
    /// `buffer` is how many bytes are collected at most before they are written; with none, each line is written
    /// when it comes. `say` is called by the writer; what it says in the process's log is written to the sink by
    /// [`aside`] alone.
    pub fn new(sink: Sink, room: usize, buffer: usize, say: fn(&Trouble) -> Vec<u8>) -> Lines {
        let (sender, receiver) = sync_channel(room);
        let dropped = Arc::<AtomicU64>::default();
        let writer = Writer {
            receiver,
            sink: BufWriter::with_capacity(buffer, Patient(sink)),
            buffer,
            say,
            dropped: dropped.clone(),
            told: 0,
            said: None,
            failed: false,
        };
        Lines { sender, dropped, writer: Mutex::new(Some(writer)) }
    }

    /// Starts the writer, unless that was done. Threads do not survive what makes a process a daemon, so this is
    /// later than the rest. Says nothing in the log, which may be what is being started.
    pub fn start(&self, name: &str) -> io::Result<()> {
        match self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(writer) => thread::Builder::new().name(name.to_string()).spawn(|| writer.run()).map(drop),
        }
    }

    /// Whether there is a writer at work.
    pub fn is_started(&self) -> bool {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Takes a line, or drops it.
    pub fn put(&self, line: Vec<u8>) {
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Those that were put so far go where they went, all others go here. Waits until there is room to say so.
    pub fn lead_into(&self, sink: Sink) {
        // Only without a writer would nobody take it, and then there are no lines either.
        let _ = self.sender.send(Message::Into(sink));
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written, but not for ever.
    pub fn flush(&self) {
        if !self.is_started() {
            return; // nobody would write them
        }
        let end = Instant::now() + LAST;
        let (done, is_done) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(refused)) = self.sender.try_send(message) {
            if Instant::now() >= end {
                return;
            }
            message = refused;
            thread::sleep(AGAIN);
        }
        let _ = is_done.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

struct Writer {
    receiver: Receiver<Message>,
    sink: BufWriter<Patient>,
    buffer: usize,
    say: fn(&Trouble) -> Vec<u8>,
    dropped: Arc<AtomicU64>,
    /// How many of those that were dropped it has told about.
    told: u64,
    /// When it has done so last.
    said: Option<Instant>,
    /// Whether the last line could not be written.
    failed: bool,
}

impl Writer {
    fn run(mut self) {
        loop {
            match self.next() {
                Ok(Message::Line(line)) => {
                    let written = self.sink.write_all(&line);
                    self.is_well(written);
                    self.tell(false);
                }
                Ok(Message::Into(sink)) => {
                    self.flush();
                    self.sink = BufWriter::with_capacity(self.buffer, Patient(sink));
                }
                Ok(Message::Flush(done)) => {
                    self.tell(true);
                    self.flush();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.flush();
                    self.tell(false);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Waits for the next message: without a limit where nothing is left to do, so that a process at rest sleeps.
    fn next(&self) -> Result<Message, RecvTimeoutError> {
        let told = self.dropped.load(Ordering::Relaxed) == self.told;
        if told && !self.failed && self.sink.buffer().is_empty() {
            return self.receiver.recv().map_err(RecvTimeoutError::from);
        }
        self.receiver.recv_timeout(PAUSE)
    }

    fn flush(&mut self) {
        let flushed = self.sink.flush();
        self.is_well(flushed);
    }

    /// Says so if not, once for as long as it lasts.
    fn is_well(&mut self, written: io::Result<()>) {
        let Err(error) = written else {
            self.failed = false;
            return;
        };
        if self.buffer == 0 {
            // Of those that are collected, nobody knows how many it was.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if !self.failed {
            self.failed = true;
            (self.say)(&Trouble::Failed(error));
        }
    }

    /// Tells how many lines were dropped since it did so last.
    fn tell(&mut self, now: bool) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let again = now || self.said.is_none_or(|said| said.elapsed() >= SAY);
        if dropped == self.told || self.failed || !again {
            return;
        }
        let line = (self.say)(&Trouble::Dropped(dropped - self.told));
        match self.sink.write_all(&line) {
            Ok(()) => self.told = dropped,
            Err(_) => self.failed = true,
        }
        self.said = Some(Instant::now());
    }
}

/// Whoever has started the process may have left it a pipe or a terminal that does not wait until there is room.
/// The writer has time, and half a line is worse than a late one.
struct Patient(Sink);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(AGAIN),
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

thread_local! {
    /// What the writer of the process's log says in that log: to wait for itself to make room would be for ever.
    static ASIDE: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// What is said in the process's log meanwhile, by this thread. It is not put there.
pub(super) fn aside(say: impl FnOnce()) -> Vec<u8> {
    ASIDE.set(Some(Vec::new()));
    say();
    ASIDE.take().unwrap_or_default()
}

/// Takes it if it is said [`aside`].
pub(super) fn takes_aside(line: &[u8]) -> bool {
    ASIDE.with_borrow_mut(|aside| aside.as_mut().map(|aside| aside.extend_from_slice(line)).is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;

    use super::*;

    /// Keeps what is written, as soon as it may be.
    #[derive(Clone, Default)]
    struct Paper(Arc<Sheet>);

    #[derive(Default)]
    struct Sheet {
        is_open: Mutex<bool>,
        opened: Condvar,
        text: Mutex<Vec<u8>>,
    }

    impl Paper {
        fn open(self) -> Paper {
            *self.0.is_open.lock().expect("nobody panics with it") = true;
            self.0.opened.notify_all();
            self
        }

        fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.text.lock().expect("nobody panics with it")).into_owned()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let is_open = self.0.is_open.lock().expect("nobody panics with it");
            drop(self.0.opened.wait_while(is_open, |is_open| !*is_open).expect("nobody panics with it"));
            self.0.text.lock().expect("nobody panics with it").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say(trouble: &Trouble) -> Vec<u8> {
        match trouble {
            Trouble::Dropped(lines) => format!("{lines} are missing\n").into_bytes(),
            Trouble::Failed(_) => Vec::new(),
        }
    }

    fn put(lines: &Lines, texts: &[&str]) {
        texts.iter().for_each(|text| lines.put(text.as_bytes().to_vec()));
    }

    #[test]
    fn who_does_not_read_loses_lines_and_is_told_how_many() {
        let paper = Paper::default();
        let lines = Lines::new(Box::new(paper.clone()), 2, 0, say); // whose writer is not started
        put(&lines, &["a\n", "b\n", "c\n", "d\n"]);
        assert_eq!(lines.dropped(), 2);
        let paper = paper.open();
        lines.start("lines").expect("a thread");
        lines.flush();
        assert_eq!(paper.text(), "a\n2 are missing\nb\n");
    }

    #[test]
    fn the_end_does_not_wait_for_ever() {
        let paper = Paper::default();
        let lines = Lines::new(Box::new(paper.clone()), 1, 0, say);
        lines.flush(); // without a writer, there is nothing to wait for
        lines.start("lines").expect("a thread");
        put(&lines, &["a\n", "b\n", "c\n"]);
        let begun = Instant::now();
        lines.flush();
        assert!((LAST..20 * LAST).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        paper.open();
    }

    #[test]
    fn lines_go_where_they_were_led_when_they_came() {
        let (old, new) = (Paper::default().open(), Paper::default().open());
        let lines = Lines::new(Box::new(old.clone()), 8, 1024, say);
        put(&lines, &["a\n", "b\n"]);
        lines.lead_into(Box::new(new.clone()));
        put(&lines, &["c\n"]);
        lines.start("lines").expect("a thread");
        lines.flush();
        assert_eq!((&*old.text(), &*new.text()), ("a\nb\n", "c\n"));
    }

    #[test]
    fn a_sink_without_room_is_asked_again() {
        struct Busy(u32, Paper);
        impl Write for Busy {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 % 2 == 1 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                self.1.write(&bytes[..1])
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let paper = Paper::default().open();
        let lines = Lines::new(Box::new(Busy(0, paper.clone())), 8, 0, say);
        lines.start("lines").expect("a thread");
        put(&lines, &["abc\n"]);
        lines.flush();
        assert_eq!((&*paper.text(), lines.dropped()), ("abc\n", 0));
    }

    #[test]
    fn what_is_said_aside_is_not_put() {
        assert!(!takes_aside(b"a"));
        assert_eq!(aside(|| assert!(takes_aside(b"b"))), b"b");
        assert!(!takes_aside(b"c"));
    }
}
