//! `city reset`: put an example back as the course has it. What the learner has made of it is shown, and kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::SystemTime;

use crate::lesson::text::{Lesson, Step};
use crate::lesson::{progress, shelf};
use crate::paths;
use crate::trouble::{OrTrouble, Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which lesson: 6, 06 or 06_simple_forward
    #[arg(value_name = "NN")]
    lesson: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    is_clone(&repository)?;
    let lessons = shelf::read(&repository, &[args.lesson])?;
    let lesson = &lessons[0];
    let mut changed = Vec::new();
    for file in files(&repository, lesson)? {
        let original = original(&repository, &file)?;
        let yours = match fs::read(repository.join(&file)) {
            Ok(yours) => Some(yours),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Trouble::new(format!("cannot read {file}")).cause(error)),
        };
        if yours.as_ref() != Some(&original) {
            changed.push(Changed { file, original, yours });
        }
    }
    let names: Vec<_> = changed.iter().map(|changed| changed.file.as_str()).collect();
    let names = names.join(" and ");
    if changed.is_empty() {
        println!("{} is as it was committed last: nothing to do.", lesson.example());
        return Ok(ExitCode::SUCCESS);
    }
    show(&repository, &changed)?;
    if !args.yes && !asked(&format!("Put {names} back as the course has it? Your version is kept. [y/N] "))? {
        println!("Nothing is changed.");
        return Ok(ExitCode::FAILURE);
    }
    for changed in changed {
        if let Some(yours) = &changed.yours {
            let kept = keep(&repository, &changed.file, yours)?;
            println!("Your {} is kept as {}", changed.file, kept.display());
        }
        put_back(&repository, &changed)?;
        println!("{} is as the course has it", changed.file);
    }
    Ok(ExitCode::SUCCESS)
}

/// A file that is not as the course has it.
struct Changed {
    file: String,
    original: Vec<u8>,
    /// None if it was removed.
    yours: Option<Vec<u8>>,
}

/// The example, and the files in `conf/` that it reads or that its lesson edits.
fn files(repository: &Path, lesson: &Lesson) -> Result<Vec<String>> {
    let example = lesson.example();
    let source = fs::read_to_string(repository.join(&example)).unwrap_or_default();
    let commands = lesson.steps.iter().filter_map(|step| match step {
        Step::Command(shown) => Some(shown.command.as_str()),
        Step::Log { .. } => None,
    });
    let commands: Vec<_> = commands.collect();
    let listed = git(repository, &["ls-files", "-z", "--", "conf"])?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let is_used =
        |file: &&str| source.contains(*file) || commands.iter().any(|command| command.contains(*file));
    let conf = listed.split('\0').filter(|file| !file.is_empty()).filter(is_used).map(str::to_owned);
    Ok(std::iter::once(example).chain(conf).collect())
}

fn is_clone(repository: &Path) -> Result {
    let answer = git(repository, &["rev-parse", "--is-inside-work-tree"])?;
    if answer.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.stderr).lines().next().unwrap_or_default().to_owned();
    Err(Trouble::new(format!("{} is no git clone that can be read ({said})", repository.display()))
        .remedy("without one there is nothing to put back from; take the file from the forge"))
}

/// The file as the course has it: as it was committed last.
fn original(repository: &Path, file: &str) -> Result<Vec<u8>> {
    // `./`: this repository may lie within another one. The filters are those of a checkout.
    let answer = git(repository, &["cat-file", "--filters", &format!("HEAD:./{file}")])?;
    if answer.status.success() {
        return Ok(answer.stdout);
    }
    Err(Trouble::new(format!("{file} was never committed: git has nothing to put back"))
        .remedy("`git log` shows what it has"))
}

fn git(repository: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(args).stdin(Stdio::null());
    command.output().map_err(|error| {
        Trouble::new("cannot run git, from which the example would be put back")
            .cause(error)
            .remedy("install git; nothing is changed")
    })
}

/// What the learner has made of the files.
fn show(repository: &Path, changed: &[Changed]) -> Result {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(["--no-pager", "diff", "--no-ext-diff", "HEAD", "--"]);
    command.args(changed.iter().map(|changed| &changed.file));
    command.status().or_trouble(|| "cannot run git".into())?;
    Ok(())
}

fn asked(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Trouble::new("nobody is there to be asked, so nothing is changed")
            .remedy("run it in a terminal, or with --yes"));
    }
    print!("{question}");
    io::stdout().flush().or_trouble(|| "cannot ask".into())?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).or_trouble(|| "cannot read the answer".into())?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Keeps the learner's version under a name that no other has, and returns it from the repository's root.
fn keep(repository: &Path, file: &str, yours: &[u8]) -> Result<PathBuf> {
    let folder = progress::folder(repository)?.join("kept");
    let what = || format!("cannot keep your {file} in {}", folder.display());
    fs::create_dir_all(&folder).or_trouble(what)?;
    progress::belongs_to_its_user(&folder);
    let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (stem, ending) = name.split_once('.').unwrap_or((&name, ""));
    let when = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "");
    let mut number = 1;
    loop {
        let again = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{stem}.{when}{again}.{ending}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut kept) => {
                // On the disk before the file itself is touched.
                kept.write_all(yours).and_then(|()| kept.sync_all()).or_trouble(what)?;
                progress::belongs_to_its_user(&path);
                return Ok(path.strip_prefix(repository).map(Path::to_owned).unwrap_or(path));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Trouble::new(what()).cause(error)),
        }
    }
}

/// Replaces the file by rename, so that whatever is interrupted, it is one version or the other.
fn put_back(repository: &Path, changed: &Changed) -> Result {
    let path = repository.join(&changed.file);
    let what = || format!("cannot write {}", changed.file);
    let half = path.with_extension("reset");
    let mut written = File::create(&half).or_trouble(what)?;
    written.write_all(&changed.original).and_then(|()| written.sync_all()).or_trouble(what)?;
    if let Ok(about) = fs::metadata(&path) {
        fs::set_permissions(&half, about.permissions()).or_trouble(what)?;
    }
    progress::belongs_to_its_user(&half);
    fs::rename(&half, &path).or_trouble(what)
}
