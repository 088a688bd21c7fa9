//! `city watch`: verify a lesson again on every save.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecursiveMode, Watcher};

use super::verify;
use crate::lesson::interrupt;
use crate::lesson::play::Rules;
use crate::lesson::session::Session;
use crate::lesson::shelf;
use crate::lesson::text::Lesson;
use crate::paths;
use crate::trouble::{OrTrouble, Result};

/// A save is over when nothing has changed for so long: editors write, rename and touch.
const QUIET: Duration = Duration::from_millis(150);
/// How often Ctrl-C is looked for.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which lesson: 6, 06 or 06_simple_forward
    #[arg(value_name = "NN")]
    lesson: String,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    let name = shelf::find(&shelf::names(&repository)?, &args.lesson)?;
    let session = Session::open(&repository)?;
    let (sender, saves) = mpsc::channel();
    let files = Files::of(&repository, &name);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| files.concerns(&event)) {
            // The receiver is gone only when this command is about to end.
            let _ = sender.send(());
        }
    })
    .or_trouble(|| "cannot watch files".into())?;
    for (folder, mode) in [
        ("examples", RecursiveMode::NonRecursive),
        ("lessons", RecursiveMode::NonRecursive),
        ("conf", RecursiveMode::Recursive),
    ] {
        // The folders, not the files: many editors replace a file by another one of its name.
        if repository.join(folder).is_dir() {
            watcher.watch(&repository.join(folder), mode).or_trouble(|| format!("cannot watch {folder}"))?;
        }
    }
    loop {
        if let Err(trouble) = once(&session, &repository, &name)
            && !interrupt::raised()
        {
            eprintln!("city: {trouble}");
        }
        if !interrupt::raised() {
            println!("watching {name}: it is verified again on every save; Ctrl-C ends\n");
        }
        if !wait_for_save(&saves) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// One verification. The lesson's text is read anew, for it may have been saved.
fn once(session: &Session, repository: &Path, name: &str) -> Result {
    let lesson = [Lesson::read(repository, name)?];
    session.build(&lesson)?;
    verify::verify(session, repository, &lesson, 1, Rules::VERIFY).map(|_| ())
}

/// Whether something was saved, and is quiet by now; false after Ctrl-C.
fn wait_for_save(saves: &Receiver<()>) -> bool {
    loop {
        if interrupt::raised() {
            return false;
        }
        match saves.recv_timeout(TICK) {
            Ok(()) => break,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    while saves.recv_timeout(QUIET).is_ok() {}
    !interrupt::raised()
}

/// The files of one lesson.
struct Files {
    example: PathBuf,
    lesson: PathBuf,
    conf: PathBuf,
    keys: PathBuf,
}

impl Files {
    fn of(repository: &Path, name: &str) -> Files {
        Files {
            example: repository.join(format!("examples/{name}.rs")),
            lesson: repository.join(format!("lessons/{name}.md")),
            conf: repository.join("conf"),
            keys: repository.join("conf/keys"),
        }
    }

    /// Whether one of them has changed. To read a file is an event, too, and verifying reads them all.
    fn concerns(&self, event: &Event) -> bool {
        let changes = match event.kind {
            EventKind::Create(_) | EventKind::Remove(_) => true,
            EventKind::Modify(kind) => !matches!(kind, ModifyKind::Metadata(_)),
            _ => false,
        };
        let ours = |path: &PathBuf| {
            *path == self.example
                || *path == self.lesson
                || (path.starts_with(&self.conf) && !path.starts_with(&self.keys))
        };
        changes && event.paths.iter().any(ours)
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, DataChange, MetadataKind};

    use super::*;

    #[test]
    fn saves_are_told_from_reads_and_from_other_files() {
        let files = Files::of(Path::new("/r"), "09_x");
        let event = |kind, path: &str| Event::new(kind).add_path(PathBuf::from(path));
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for path in ["/r/examples/09_x.rs", "/r/lessons/09_x.md", "/r/conf/upstreams.txt"] {
            assert!(files.concerns(&event(written, path)), "{path}");
        }
        assert!(files.concerns(&event(EventKind::Create(CreateKind::File), "/r/examples/09_x.rs")));
        assert!(!files.concerns(&event(EventKind::Access(AccessKind::Read), "/r/examples/09_x.rs")));
        let touched = EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime));
        assert!(!files.concerns(&event(touched, "/r/examples/09_x.rs")));
        assert!(!files.concerns(&event(written, "/r/examples/08_y.rs")));
        assert!(!files.concerns(&event(written, "/r/conf/keys/ca.crt")));
    }
}
