//! `match` of a route: which requests it is for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use http::{HeaderName, Method};
use regex::Regex;
use regex_syntax::hir::{Hir, HirKind};

use super::diagnostic::instead;
use super::listeners::Address;
use super::{At, all, raw};
use crate::route::path;

/// How many regular expressions may begin with the same literal path: a request that begins so tries them one by
/// one.
const MAX_PATTERNS: usize = 64;
/// How much memory one may take when compiled.
const PATTERN_SIZE: usize = 1 << 20;

/// What a request must look like. All of it must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// It came in at one of these; at any of `listeners` if there are none.
    pub listeners: Vec<Address>,
    /// Its host is one of these; any if there are none.
    pub hosts: Vec<HostRule>,
    /// Its path.
    pub path: PathRule,
    /// Its method is one of these; any if there are none.
    pub methods: Vec<Method>,
    /// It has these headers.
    pub headers: Vec<(HeaderName, ValueRule)>,
    /// It has these parameters in its query.
    pub query: Vec<(String, ValueRule)>,
}

/// Which hosts, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostRule {
    /// This one.
    Exact(String),
    /// All that end so: the text begins with a dot.
    Below(String),
}

/// Which value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueRule {
    /// Any, but there is one.
    Present,
    /// This one.
    Is(String),
}

/// Which paths. All are normalized ([`path::normalize`]), as the paths that they are compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathRule {
    /// This one.
    Exact(String),
    /// This one and all below it. Without a slash at its end, so `/` is empty.
    Prefix(String),
    /// Those that match.
    Pattern(Pattern),
}

/// A regular expression for whole paths.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Ready to be asked.
    pub regex: Regex,
    /// All paths that match are this one or below it. Without a slash at its end.
    pub prefix: String,
}

impl Pattern {
    /// As it was written, without what makes it match whole paths.
    pub fn written(&self) -> &str {
        let whole = self.regex.as_str();
        whole.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or(whole)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.regex.as_str().hash(state);
    }
}

impl Match {
    /// Of two routes for the same path: the one with the higher rank is asked first.
    pub fn rank(&self) -> (bool, bool, usize, usize) {
        (!self.listeners.is_empty(), !self.methods.is_empty(), self.headers.len(), self.query.len())
    }

    /// Every request.
    pub fn all() -> Match {
        Match {
            listeners: Vec::new(),
            hosts: Vec::new(),
            path: PathRule::Prefix(String::new()),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        }
    }

    /// Whether a request could match both, beside host and path.
    fn overlaps(&self, other: &Match) -> bool {
        common(&self.listeners, &other.listeners)
            && common(&self.methods, &other.methods)
            && !exclude(&self.headers, &other.headers)
            && !exclude(&self.query, &other.query)
    }

    /// Whether it is for this host, as it is written here, and this path.
    fn is_at(&self, path: &PathRule, host: Option<&HostRule>) -> bool {
        self.path == *path
            && match host {
                Some(host) => self.hosts.contains(host),
                None => self.hosts.is_empty(),
            }
    }

    /// Whether this route gets all requests that match both of the others, which are for the same host and path and tie:
    /// then nobody has to tell those two apart.
    fn settles(&self, one: &Match, other: &Match) -> bool {
        self.rank() > one.rank()
            && covers(&self.listeners, &one.listeners, &other.listeners)
            && covers(&self.methods, &one.methods, &other.methods)
            && follows(&self.headers, &one.headers, &other.headers)
            && follows(&self.query, &one.query, &other.query)
    }
}

/// Whether a list has everything that is on both others; an empty one has everything.
fn covers<T: PartialEq>(list: &[T], one: &[T], other: &[T]) -> bool {
    let is_on = |list: &[T], item: &T| list.is_empty() || list.contains(item);
    let mut both = one.iter().chain(other).filter(|item| is_on(one, item) && is_on(other, item));
    list.is_empty() || !(one.is_empty() && other.is_empty()) && both.all(|item| list.contains(item))
}

/// Whether all conditions of a list hold where those of the two others do.
fn follows<N: PartialEq>(list: &[(N, ValueRule)], one: &[(N, ValueRule)], other: &[(N, ValueRule)]) -> bool {
    list.iter().all(|(name, rule)| {
        let mut known = one.iter().chain(other).filter(|(known, _)| known == name);
        known.any(|(_, known)| *rule == ValueRule::Present || known == rule)
    })
}

/// Whether something is on both lists; an empty one has everything.
fn common<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.is_empty() || other.is_empty() || one.iter().any(|item| other.contains(item))
}

/// Whether two lists want different values of the same thing.
fn exclude<N: PartialEq>(one: &[(N, ValueRule)], other: &[(N, ValueRule)]) -> bool {
    one.iter().any(|(name, value)| {
        other.iter().any(|(name2, value2)| {
            name == name2
                && matches!((value, value2), (ValueRule::Is(value), ValueRule::Is(value2)) if value != value2)
        })
    })
}

#[expect(clippy::mutable_key_type, reason = "an expression is compared by its text, which never changes")]
/// Says which routes nobody could tell apart. `matches` are those of all routes, `None` where something is wrong.
pub(super) fn ties(matches: &[Option<&Match>], at: &At<'_>) {
    let mut seen: HashMap<(&PathRule, Option<&HostRule>), Vec<usize>> = HashMap::new();
    let mut patterns: HashMap<(&str, Option<&HostRule>), usize> = HashMap::new();
    for (index, matched) in matches.iter().enumerate() {
        let Some(matched) = matched else { continue };
        let hosts: Vec<Option<&HostRule>> =
            if matched.hosts.is_empty() { vec![None] } else { matched.hosts.iter().map(Some).collect() };
        let tied = |earlier: &usize, host: Option<&HostRule>| {
            let earlier = matches[*earlier]?;
            let tie = earlier.rank() == matched.rank() && earlier.overlaps(matched);
            let is_settled = || {
                let mut others = matches.iter().flatten().filter(|other| other.is_at(&matched.path, host));
                others.any(|other| other.settles(earlier, matched))
            };
            (tie && !is_settled()).then_some(earlier == *matched)
        };
        let mut told = false;
        for host in hosts {
            let earlier = match seen.entry((&matched.path, host)) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Vec::new()),
            };
            let tie = earlier.iter().find_map(|earlier| tied(earlier, host).map(|same| (*earlier, same)));
            earlier.push(index);
            if let Some((first, same)) = tie
                && !told
            {
                told = true;
                let number = format!("{}{}", first + 1, at.index(first).seen_from(&at.index(index)));
                let (message, fix) = match same {
                    true => (
                        format!("route {number} matches exactly the same requests"),
                        "make one of the two more specific, or remove it",
                    ),
                    false => (
                        format!("some requests match route {number} too, and neither is more specific"),
                        "make one of the two more specific, or add a route that has the conditions of both",
                    ),
                };
                at.index(index).key("match").error_at_key(message, fix);
            }
            if let PathRule::Pattern(pattern) = &matched.path {
                let count = patterns.entry((&pattern.prefix, host)).or_default();
                *count += 1;
                if *count == MAX_PATTERNS + 1 {
                    at.index(index).key("match").error_at_key(
                        format!("more than {MAX_PATTERNS} expressions begin with the same path: each costs every request there"),
                        "let them begin with more literal segments, or use `path_prefix`",
                    );
                }
            }
        }
    }
}

/// `listeners` are all that the file has, as they are written there.
pub(super) fn validate(raw: &raw::Match, listeners: &[&str], at: &At<'_>) -> Option<Match> {
    let came_in = {
        let at = at.key("listeners");
        all(raw.listeners.iter().enumerate().map(|(index, name)| listener(name, listeners, &at.index(index))))
    };
    let list = |items: &[String], key: &str, of: fn(&str, &At<'_>) -> Option<_>| {
        let at = at.key(key);
        all::<_, Vec<_>>(items.iter().enumerate().map(|(index, item)| of(item, &at.index(index))))
    };
    let hosts = list(&raw.hosts, "hosts", host);
    let methods = {
        let at = at.key("methods");
        all(raw.methods.iter().enumerate().map(|(index, name)| method(name, &at.index(index))))
    };
    let headers = {
        let at = at.key("headers");
        all(raw.headers.iter().map(|(name, value)| header(name, value, &at.key(name))))
    };
    let query = raw.query.iter().map(|(name, rule)| (name.clone(), value(rule))).collect();
    Some(Match {
        path: path_rule(raw, at)?,
        listeners: came_in?,
        hosts: hosts?,
        methods: methods?,
        headers: headers?,
        query,
    })
}

/// One of the addresses of `listeners`. What is wrong with it is said there, and not again.
fn listener(written: &str, listeners: &[&str], at: &At<'_>) -> Option<Address> {
    if !listeners.contains(&written) {
        at.error("there is no listener with this address", instead(written, listeners.iter().copied()));
        return None;
    }
    Address::parse(written)
}

fn value(written: &str) -> ValueRule {
    if written == "*" { ValueRule::Present } else { ValueRule::Is(written.to_string()) }
}

fn host(written: &str, at: &At<'_>) -> Option<HostRule> {
    let lower = written.to_ascii_lowercase();
    let (bare, wild) = match lower.strip_prefix("*.") {
        Some(rest) => (rest, true),
        None => (&*lower, false),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_address = bare.starts_with('[') && bare.ends_with(']') && !wild;
    if bare.is_empty()
        || bare.starts_with('.')
        || bare.ends_with('.')
        || !(bare.bytes().all(fits) || is_address)
    {
        at.error(
            "this is not a host",
            "write `api.example.com`, `*.example.com` or `[::1]`, without a port; other letters as `xn--…`",
        );
        return None;
    }
    Some(if wild { HostRule::Below(format!(".{bare}")) } else { HostRule::Exact(bare.to_string()) })
}

fn method(written: &str, at: &At<'_>) -> Option<Method> {
    match Method::from_str(written) {
        Ok(Method::CONNECT) => {
            at.error("CONNECT is refused before routing", "a gateway makes no tunnels: remove it");
            None
        }
        Ok(method) if written == written.to_ascii_uppercase() => Some(method),
        Ok(method) => {
            let fix = format!("write `{}`: methods have capitals", method.as_str().to_uppercase());
            at.error("this is not a method", fix);
            None
        }
        Err(_) => {
            at.error("this is not a method", "write one word in capitals, such as `GET`");
            None
        }
    }
}

fn header(name: &str, written: &str, at: &At<'_>) -> Option<(HeaderName, ValueRule)> {
    let Ok(name) = HeaderName::from_str(name) else {
        at.error_at_key("this is not a header's name", "letters, digits and `-`, such as `X-Version`");
        return None;
    };
    Some((name, value(written)))
}

fn path_rule(raw: &raw::Match, at: &At<'_>) -> Option<PathRule> {
    let keys = [
        ("path", &raw.path),
        ("path_prefix", &raw.path_prefix),
        ("path_regex", &raw.path_regex),
        ("path_pattern", &raw.path_pattern),
    ];
    let mut set = keys.iter().filter_map(|(key, value)| value.as_deref().map(|value| (*key, value)));
    let Some((key, text)) = set.next() else { return Some(PathRule::Prefix(String::new())) };
    if let Some((other, _)) = set.next() {
        at.key(key).error_at_key(
            format!("`{key}` and `{other}` cannot both hold"),
            format!("keep `{key}`, or `{other}`: `path` is for this path alone, `path_prefix` for it and all below it"),
        );
        return None;
    }
    let at = at.key(key);
    match key {
        "path" => Some(PathRule::Exact(written(text, &at)?)),
        "path_prefix" => Some(PathRule::Prefix(written(text, &at)?.trim_end_matches('/').to_string())),
        _ => pattern(text, &at),
    }
}

/// A path that a request can have once it is normalized. Any other would never match.
pub(super) fn written(path: &str, at: &At<'_>) -> Option<String> {
    match path::normalize(path) {
        Ok(normal) if path.starts_with('/') && normal == path && !path.contains(['?', '#']) => {
            Some(path.to_string())
        }
        Ok(normal) if path.starts_with('/') && !path.contains(['?', '#']) => {
            at.error("no request has this path once its path is normalized", format!("write `{normal}`"));
            None
        }
        _ => {
            at.error(
                "this is not a path",
                "begin with `/`; no query, no backslash, and `%` only as part of an escape such as `%20`",
            );
            None
        }
    }
}

fn pattern(written: &str, at: &At<'_>) -> Option<PathRule> {
    let literal = match regex_syntax::parse(written) {
        Ok(parsed) => beginning(&parsed),
        Err(error) => {
            at.error(
                format!("this is not a regular expression: {}", fault(&error)),
                "see the syntax of the `regex` crate: no look-around, no back-references; in YAML, quote it with '",
            );
            return None;
        }
    };
    let regex = regex::RegexBuilder::new(&format!("^(?:{written})$")).size_limit(PATTERN_SIZE).build();
    let Ok(regex) = regex else {
        at.error(
            "this regular expression is too large, or ends in a comment",
            "make it shorter: a repetition such as `{1000}` counts for as many copies of what it repeats",
        );
        return None;
    };
    if !literal.starts_with('/') {
        at.error(
            "every path begins with `/`, and this expression does not",
            "begin with a literal `/`, and with as many literal segments as there are; it matches whole paths",
        );
        return None;
    }
    let prefix = literal.rfind('/').map_or("", |at| &literal[..at]).to_string();
    Some(PathRule::Pattern(Pattern { regex, prefix }))
}

/// What is wrong with an expression, and where in it.
fn fault(error: &regex_syntax::Error) -> String {
    let (kind, at) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.column),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start.column),
        other => return other.to_string(),
    };
    format!("{kind}, at character {at}")
}

/// The literal text with which all matches begin.
fn beginning(parsed: &Hir) -> String {
    let literal = |hir: &Hir| match hir.kind() {
        HirKind::Literal(literal) => Some(String::from_utf8_lossy(&literal.0).into_owned()),
        _ => None,
    };
    match parsed.kind() {
        HirKind::Concat(parts) => {
            let rest = parts.iter().skip_while(|part| matches!(part.kind(), HirKind::Look(_)));
            rest.map_while(literal).collect()
        }
        _ => literal(parsed).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_hangs_under_its_literal_beginning() {
        for (written, literal) in [
            (r"/users/\d+", "/users/"),
            (r"^/users/(\d+)$", "/users/"),
            (r"/users/7?", "/users/"),
            (r"/a|/b", ""),
            (r"/(a|b)", "/"),
            (r"/users", "/users"),
            (r"(?i)/users", "/"),
            (r".*", ""),
        ] {
            assert_eq!(beginning(&regex_syntax::parse(written).expect("it is one")), literal, "{written}");
        }
    }
}
