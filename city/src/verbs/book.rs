//! `city book`: make the book of all lessons, and show it on loopback.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use notify::{Event, RecursiveMode, Watcher};

use crate::lesson::book::Book;
use crate::lesson::links;
use crate::paths;
use crate::trouble::{OrTrouble, Result, Trouble};

/// Where it is shown, if nobody else is there.
const PORT: u16 = 3000;
/// A save is over when nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The port on loopback; 3000 by default, or any if that is taken
    #[arg(long)]
    port: Option<u16>,
    /// Make it, and fail if mdBook complains of anything; do not show it
    #[arg(long, conflicts_with = "port")]
    build: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    // Before mdBook is built, which takes a while.
    let listener = if args.build { None } else { Some(listener(args.port)?) };
    let book = Book::open(&repository)?;
    let complaints = book.make()?;
    for complaint in &complaints {
        eprintln!("mdBook: {complaint}");
    }
    let Some(listener) = listener else {
        println!("The book is in {}", book.folder.display());
        return Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    let (watcher, saves) = watch(&repository)?;
    let address = listener.local_addr().or_trouble(|| "cannot tell the port".into())?;
    println!("The book is at http://{address}/ and follows what you save. End with Ctrl-C.");
    let shelf = Shelf {
        book: book.folder.clone(),
        linked: links::outward(&repository)?,
        repository: repository.clone(),
    };
    thread::spawn(move || serve(listener, shelf));
    while saves.recv().is_ok() {
        while saves.recv_timeout(QUIET).is_ok() {}
        match book.make() {
            Ok(complaints) if complaints.is_empty() => println!("made again"),
            Ok(complaints) => println!("made again; mdBook: {}", complaints.join("; ")),
            // Half an edit: the next save may mend it.
            Err(trouble) => eprintln!("city: {trouble}"),
        }
    }
    drop(watcher);
    Ok(ExitCode::SUCCESS)
}

fn listener(port: Option<u16>) -> Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let bound = match port {
        Some(port) => bind(port),
        None => bind(PORT).or_else(|_| bind(0)),
    };
    bound.map_err(|error| {
        Trouble::new(format!("cannot listen on 127.0.0.1:{}", port.unwrap_or(PORT)))
            .cause(error)
            .remedy("choose another port with --port PORT, or none")
    })
}

/// Something arrives whenever a part of the book was saved.
fn watch(repository: &Path) -> Result<(impl Watcher, Receiver<()>)> {
    let (sender, saves) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // To make the book reads all of it: reading is no change.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = sender.send(());
        }
    })
    .or_trouble(|| "cannot watch files".into())?;
    for folder in ["lessons", "book"] {
        watcher
            .watch(&repository.join(folder), RecursiveMode::Recursive)
            .or_trouble(|| format!("cannot watch {folder}"))?;
    }
    Ok((watcher, saves))
}

/// What there is to be read.
#[derive(Debug)]
struct Shelf {
    book: PathBuf,
    repository: PathBuf,
    /// The files of the repository to which the book links. Nothing else of it is shown: keys lie in it, too.
    linked: BTreeSet<String>,
}

/// Serves until the process ends.
fn serve(listener: TcpListener, shelf: Shelf) {
    let served = || -> Result {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.or_trouble(|| "cannot start a runtime".into())?;
        listener.set_nonblocking(true).or_trouble(|| "cannot listen".into())?;
        runtime.block_on(async {
            let listener =
                tokio::net::TcpListener::from_std(listener).or_trouble(|| "cannot listen".into())?;
            let shelf = Arc::new(shelf);
            loop {
                // A connection that was gone before it was accepted is nobody's loss.
                let Ok((stream, _)) = listener.accept().await else { continue };
                let shelf = Arc::clone(&shelf);
                let service = service_fn(move |request| {
                    let answer = shelf.answer(&request);
                    async { Ok::<_, Infallible>(answer) }
                });
                // What a browser breaks off is its own affair.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        })
    };
    if let Err(trouble) = served() {
        eprintln!("city: {trouble}");
        std::process::exit(1);
    }
}

impl Shelf {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "this is a book: it can only be read\n");
        }
        let Some((file, kind)) = self.file(request.uri().path()) else {
            return plain(StatusCode::NOT_FOUND, "there is no such page\n");
        };
        match std::fs::read(file) {
            Ok(bytes) => {
                let mut response = Response::new(Full::from(bytes));
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
                // It changes with every save.
                headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
                response
            }
            Err(_) => plain(StatusCode::NOT_FOUND, "there is no such page\n"),
        }
    }

    /// The file that a path means, and its type.
    fn file(&self, path: &str) -> Option<(PathBuf, &'static str)> {
        let path = Path::new(path.trim_start_matches('/'));
        // Only names: nothing that leads upwards or elsewhere.
        if !path.components().all(|component| matches!(component, Component::Normal(_))) {
            return None;
        }
        let page = if path.as_os_str().is_empty() { Path::new("index.html") } else { path };
        if self.book.join(page).is_file() {
            return Some((self.book.join(page), kind(page)));
        }
        let linked = path.to_str().is_some_and(|path| self.linked.contains(path));
        linked.then(|| (self.repository.join(path), "text/plain; charset=utf-8"))
    }
}

fn kind(page: &Path) -> &'static str {
    match page.extension().and_then(|ending| ending.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_linked_files_are_shown_and_nothing_else() {
        let repository = tempfile::tempdir().unwrap();
        let root = repository.path();
        for (file, text) in [
            ("target/book/index.html", "start"),
            ("target/book/06_a.html", "page"),
            ("examples/06_a.rs", "code"),
            ("conf/keys/ca.key", "secret"),
        ] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), text).unwrap();
        }
        let shelf = Shelf {
            book: root.join("target/book"),
            repository: root.to_owned(),
            linked: BTreeSet::from(["examples/06_a.rs".to_owned()]),
        };
        let ask = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            let response = shelf.answer(&request);
            let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
            (response.status().as_u16(), kind)
        };
        assert_eq!(ask(Method::GET, "/"), (200, "text/html; charset=utf-8".into()));
        assert_eq!(ask(Method::HEAD, "/06_a.html?highlight=x"), (200, "text/html; charset=utf-8".into()));
        assert_eq!(ask(Method::GET, "/examples/06_a.rs"), (200, "text/plain; charset=utf-8".into()));
        for path in ["/conf/keys/ca.key", "/../../conf/keys/ca.key", "//etc/passwd", "/none.html", "/."] {
            assert_eq!(ask(Method::GET, path).0, 404, "{path}");
        }
        assert_eq!(ask(Method::POST, "/").0, 405);
    }

    #[test]
    fn a_port_that_is_taken_is_named_and_another_one_is_found() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let trouble = listener(Some(port)).unwrap_err().to_string();
        assert!(trouble.starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{trouble}");
        assert!(listener(None).is_ok());
    }
}
