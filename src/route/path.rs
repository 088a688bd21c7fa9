//! Normalized paths. What is matched, what policies see and what goes upstream is the same path, so that there
//! is no second way to write `/admin`.
//!
//! In the order of RFC 3986, section 6.2.2: escapes of characters that need none are decoded (`%61` is `a`), the
//! others get capital letters (`%2f` is `%2F` and stays one segment's text), what is not ASCII is escaped, and `.` and
//! `..` are resolved as in section 5.2.4. Beyond the RFC, empty segments are dropped (`//` is `/`), because most
//! upstreams do. Refused is what upstreams read in different ways: a backslash, control characters (a NUL ends some
//! paths, a line feed some log lines), and `%` without two hexadecimal digits.

use std::borrow::Cow;
use std::fmt::Write;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NoSlash,
    /// A `%` that does not begin an escape.
    #[error("the path has a broken escape")]
    Escape,
    /// A backslash or control character, as it is or escaped.
    #[error("the path has a character that it must not have")]
    Character,
}

/// The path as it is matched and forwarded. Borrowed, and without a copy, if it was written so.
///
/// ```
/// # use pingora_city::route::path::normalize;
/// assert_eq!(normalize("/a/%2e%2e//%61dmin").unwrap(), "/admin");
/// assert!(normalize("/a%00").is_err());
/// ```
pub fn normalize(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::NoSlash);
    }
    if !needs_work(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let mut out = String::with_capacity(path.len());
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let start = out.len();
        out.push('/');
        decode(segment, &mut out)?;
        match &out[start + 1..] {
            "" if !last => out.truncate(start),
            // A path that ends in a dot segment names a folder, and keeps the slash.
            "." => out.truncate(start + usize::from(last)),
            ".." => {
                out.truncate(start);
                out.truncate(out.rfind('/').unwrap_or(0));
                if last {
                    out.push('/');
                }
            }
            _ => {}
        }
    }
    Ok(if out == path { Cow::Borrowed(path) } else { Cow::Owned(out) })
}

/// Whether anything in it might have to change. Nearly no path has.
fn needs_work(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &byte in path {
        match byte {
            b'%' | b'\\' | 0 | 0x80.. => return true,
            b'/' | b'.' if after_slash => return true,
            _ => after_slash = byte == b'/',
        }
    }
    false
}

fn decode(segment: &str, out: &mut String) -> Result<(), BadPath> {
    let mut rest = segment;
    while let Some(at) = rest.find(|c: char| matches!(c, '%' | '\\' | '\0') || !c.is_ascii()) {
        out.push_str(&rest[..at]);
        if let Some(c) = rest[at..].chars().next().filter(|c| !c.is_ascii()) {
            for byte in &rest.as_bytes()[at..at + c.len_utf8()] {
                // Writing to a string does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
            rest = &rest[at + c.len_utf8()..];
            continue;
        }
        let digits = match rest.as_bytes()[at..] {
            [b'%', high, low, ..] => hex(high).zip(hex(low)).map(|(high, low)| high << 4 | low),
            [b'%', ..] => None,
            _ => return Err(BadPath::Character),
        };
        match digits.ok_or(BadPath::Escape)? {
            0..0x20 | 0x7f | b'\\' => return Err(BadPath::Character),
            // RFC 3986, section 2.3: these never need an escape.
            byte @ (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~') => {
                out.push(char::from(byte));
            }
            _ => out.extend(rest[at..at + 3].chars().map(|c| c.to_ascii_uppercase())),
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_way_to_write_a_path() {
        for (written, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b//", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/%2e%2e/admin", "/admin"),
            ("/a/%2E./admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%20b%c3%bc", "/a%20b%C3%BC"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a/..;/b", "/a/..;/b"),
            ("/grüße", "/gr%C3%BC%C3%9Fe"),
            ("/gr%c3%bc%C3%9fe", "/gr%C3%BC%C3%9Fe"),
            ("/ü/%2e%2e/ü", "/%C3%BC"),
        ] {
            let normalized = normalize(written).expect(written);
            assert_eq!(normalized, normal, "{written}");
            // Once is enough.
            assert_eq!(normalize(&normalized).expect("it is normal"), normalized, "{written}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (path, error) in [
            ("", BadPath::NoSlash),
            ("*", BadPath::NoSlash),
            ("admin", BadPath::NoSlash),
            ("/%", BadPath::Escape),
            ("/%4", BadPath::Escape),
            ("/%zz", BadPath::Escape),
            ("/%+1", BadPath::Escape),
            ("/%\u{fc}", BadPath::Escape),
            ("/%00", BadPath::Character),
            ("/%0d%0aX:", BadPath::Character),
            ("/%7F", BadPath::Character),
            ("/a\\..\\admin", BadPath::Character),
            ("/a%5c..%5cadmin", BadPath::Character),
        ] {
            assert_eq!(normalize(path), Err(error), "{path}");
        }
    }

    #[test]
    fn a_normal_path_is_not_copied() {
        for path in ["/", "/users/7", "/.well-known/x"] {
            assert!(matches!(normalize(path), Ok(Cow::Borrowed(_))), "{path}");
        }
    }
}
