//! What a command asks for, and what is known of those requests.

use std::fmt;

use super::super::play::Scene;

/// The path and query that a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As it is sent; of a range, `/tea?[1-40]`, what stands before it.
    pub path: String,
    /// Whether it is a range, and so the beginning of many.
    range: bool,
}

impl Target {
    /// Reads it from a URL, or from the head that `city raw` sends.
    pub fn of(typed: &str) -> Option<Target> {
        let words = shlex::split(typed)?;
        let of_url = words.iter().find_map(|word| {
            let after = word.split_once("://")?.1;
            Some(after.find('/').map_or("/", |slash| &after[slash..]))
        });
        let of_head = || {
            let head = words.iter().find(|word| word.contains(" HTTP/1."))?;
            head.split(' ').nth(1)
        };
        let text = of_url.or_else(of_head)?.trim_end_matches(';');
        let end = text.find(['[', '{', '$']);
        Some(Target { path: text[..end.unwrap_or(text.len())].to_owned(), range: end.is_some() })
    }

    /// The upstream that received a request for it, and its journal's line.
    pub fn asked<'a>(&self, scene: &'a Scene) -> Option<(&'a str, &'a str)> {
        scene.journals.iter().find_map(|(host, lines)| {
            let line =
                lines.iter().rev().find(|line| line.split_whitespace().nth(1).is_some_and(|t| self.is(t)))?;
            Some((host.as_str(), line.as_str()))
        })
    }

    /// The last line of the example's log about it, from its first word; rather one that also has this text.
    pub fn logged<'a>(&self, scene: &'a Scene, text: &str) -> Option<&'a str> {
        let path = self.path.split('?').next().filter(|path| path.len() > 1)?;
        let mut about_it = scene.log.lines().rev().filter(|line| line.contains(path));
        let line = about_it.clone().find(|line| line.contains(text)).or_else(|| about_it.next())?.trim();
        // env_logger puts time, level and module in brackets in front.
        Some(line.strip_prefix('[').and_then(|line| line.split_once("] ")).map_or(line, |(_, said)| said))
    }

    fn is(&self, received: &str) -> bool {
        received == self.path || (self.range && received.starts_with(&self.path))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.range { "…" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_from_what_is_typed() {
        for (typed, expected) in [
            ("client1$ curl -s http://172.28.0.10:6149/blue", Some("/blue")),
            ("client1$ curl -s http://172.28.0.10:6149", Some("/")),
            ("client1$ curl -s 'http://172.28.0.10:6170/[1-6]'", Some("/…")),
            ("client1$ for n in 1 2; do curl -s http://x/odd; done", Some("/odd")),
            (r"client1$ city raw 172.28.0.10:6185 'GET /odd HTTP/1.1\r\n\r\n'", Some("/odd")),
            ("dev$ cat conf/upstreams.txt", None),
        ] {
            assert_eq!(Target::of(typed).map(|target| target.to_string()).as_deref(), expected, "{typed}");
        }
    }

    #[test]
    fn requests_and_lines_of_the_log_are_found() {
        let scene = Scene {
            journals: vec![
                ("blue".into(), vec!["GET /a1  host=x".into()]),
                ("green".into(), vec!["GET /b".into()]),
            ],
            log: "[2026-01-01T00:00:00Z INFO  x] /a1 -> blue\nup\n".into(),
            ..Scene::default()
        };
        let target = |url: &str| Target::of(&format!("curl http://h{url}")).unwrap();
        assert_eq!(target("/b").asked(&scene), Some(("green", "GET /b")));
        assert_eq!(target("/a").asked(&scene), None);
        assert_eq!(target("/a[1-2]").asked(&scene), Some(("blue", "GET /a1  host=x")));
        assert_eq!(target("/a[1-2]").logged(&scene, ""), Some("/a1 -> blue"));
        assert_eq!(target("/").logged(&scene, ""), None);
    }
}
