//! A course of one lesson, in a repository of its own: built in an instant, verified for real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Lab, said};

/// The repository, and the Cities that verifications bring up.
pub struct Course {
    pub lab: Lab,
    folder: tempfile::TempDir,
}

/// Everything goes to Blue, under a name of our own.
const EXAMPLE: &str = r#"//! 06 · Tiny
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(status: i32) -> !;
}

extern "C" fn end(_: i32) {
    unsafe { _exit(0) }
}

// ANCHOR: relay
fn relay(mut client: TcpStream) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let read = client.read(&mut head)?;
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    let target = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut blue = TcpStream::connect("172.28.0.20:8080")?;
    write!(blue, "GET {target} HTTP/1.1\r\nHost: tiny\r\nConnection: close\r\n\r\n")?;
    eprintln!("INFO {target} -> blue");
    std::io::copy(&mut blue, &mut client).map(|_| ())
}
// ANCHOR_END: relay

fn main() {
    unsafe { signal(15, end) };
    let listener = TcpListener::bind("0.0.0.0:6146").expect("the port is free");
    eprintln!("INFO Tiny running on 0.0.0.0:6146");
    for client in listener.incoming().flatten() {
        std::thread::spawn(move || relay(client));
    }
}
"#;

const LESSON: &str = r#"# 06 · Tiny

As little as can be.

<!-- city: ports=6146 timeout=8s -->

## The idea

## Key concepts

## The code

<!-- code: relay -->
```rust
```

## Run it

```console
dev$ cargo run --example 06_tiny &
[..] Tiny running on 0.0.0.0:6146
```

## Try it

```console
client1$ curl -s http://172.28.0.10:6146/tea
Response from BLUE
host$ cargo city journal blue --last 1
GET /tea  host=tiny  from=172.28.0.10
dev$ cat conf/note; echo changed >conf/note; cat conf/note
as it was
changed
```

```log
[..] /tea -> blue
```

## Break it

```console
client2$ curl -s http://172.28.0.10:6147/
? 7
```

## In production
"#;

impl Course {
    /// A course whose generated parts are current.
    pub fn new() -> Course {
        let folder = tempfile::Builder::new().prefix("course-").tempdir().expect("a temporary folder");
        let course = Course { lab: Lab::new(), folder };
        let manifest = "[workspace]\n\n[package]\nname = \"tiny\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
        course.write("Cargo.toml", manifest);
        course.write("src/lib.rs", "");
        course.write(
            "city/README.md",
            "The tool takes a folder with this name for a sign of its repository.\n",
        );
        course.write("conf/note", "as it was\n");
        course.write("examples/06_tiny.rs", EXAMPLE);
        course.write("lessons/06_tiny.md", LESSON);
        fs::create_dir(course.path("scripts")).expect("a folder");
        let runner = "scripts/cargo-runner";
        fs::copy(crate::support::repository().join(runner), course.path(runner))
            .expect("the runner is there");
        course.write("README.md", "<!-- lessons -->\n<!-- /lessons -->\n");
        let (status, out, err) = course.city(&["sync"]);
        assert_eq!(status, 0, "{out}{err}");
        course
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file is there")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
        fs::write(path, text).expect("the file can be written");
    }

    /// The number of the first line that begins so.
    pub fn line(&self, name: &str, begins: &str) -> usize {
        let at = self.read(name).lines().position(|line| line.starts_with(begins));
        at.expect("there is such a line") + 1
    }

    /// Replaces what stands exactly once in a file.
    pub fn edit(&self, name: &str, old: &str, new: &str) {
        let text = self.read(name);
        assert_eq!(text.matches(old).count(), 1, "{old} in {name}");
        self.write(name, &text.replace(old, new));
    }

    pub fn tool(&self) -> Command {
        let mut tool = self.lab.tool();
        tool.current_dir(self.folder.path()).env_remove("CARGO_TARGET_DIR").env("CARGO_NET_OFFLINE", "true");
        tool
    }

    pub fn city(&self, args: &[&str]) -> (i32, String, String) {
        said(self.tool().args(args).output().expect("the tool starts"))
    }

    /// What a verification makes for itself, and must remove.
    pub fn leftovers(&self) -> usize {
        let folder: &Path = &self.path("target/city-verify");
        fs::read_dir(folder).map_or(0, |entries| entries.count())
    }
}
