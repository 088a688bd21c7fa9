//! What becomes of a route's requests: an upstream gets them, or the gateway answers by itself.

use std::cell::RefCell;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use regex::Regex;
use regex_automata::util::interpolate;

use super::matches::{PathRule, written};
use super::{At, Name, raw};

/// What becomes of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An upstream gets them. It exists.
    Proxy(Proxy),
    /// They get this answer.
    Respond(Respond),
    /// They are sent elsewhere.
    Redirect(Redirect),
}

/// To an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Which.
    pub upstream: Name,
    /// As what it sees them.
    pub rewrite: Rewrite,
}

/// Changes to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// What goes in place of the path that matched, or of the prefix that did; `$1` is a group of a pattern.
    pub path: Option<String>,
    /// Parameters that are taken from the query.
    pub remove: Vec<String>,
    /// Parameters that are added to it.
    pub add: Vec<(String, String)>,
}

impl Rewrite {
    /// Whether a target remains what it is.
    pub fn is_none(&self) -> bool {
        self.path.is_none() && self.remove.is_empty() && self.add.is_empty()
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// Its status.
    pub status: StatusCode,
    /// What its body is.
    pub content_type: HeaderValue,
    /// Its body.
    pub body: Bytes,
}

/// Another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Says how long it is for, and whether the method stays.
    pub status: StatusCode,
    /// `http` or `https`; that of the request if there is none.
    pub scheme: Option<&'static str>,
    /// With a port, if there is to be one; that of the request if there is none.
    pub host: Option<String>,
    /// Changes to the path; the query stays.
    pub rewrite: Rewrite,
}

/// What stands beside one of the three, and only means something beside `upstream`.
fn only_with_upstream(raw: &raw::Route, at: &At<'_>) {
    for (key, is_there) in [
        ("strip_prefix", raw.strip_prefix),
        ("rewrite", raw.rewrite.is_some()),
        ("websocket", raw.websocket),
        ("timeout_secs", raw.timeout_secs.is_some()),
    ] {
        if is_there {
            at.key(key).error_at_key(
                format!("`{key}` is about what an upstream gets, and this route has none"),
                "remove it, or name an `upstream` instead of the answer",
            );
        }
    }
}

/// `upstream` is the one that the route names, if it exists.
pub(super) fn validate(
    raw: &raw::Route,
    upstream: Option<Name>,
    rule: Option<&PathRule>,
    at: &At<'_>,
) -> Option<Action> {
    let set = [raw.upstream.is_some(), raw.respond.is_some(), raw.redirect.is_some()];
    match set.iter().filter(|is_set| **is_set).count() {
        0 if ["upstream", "respond", "redirect"].iter().any(|key| at.key(key).is_doubtful()) => return None,
        0 => {
            at.error(
                "nothing says what becomes of these requests",
                "add `upstream`: the name of the upstream that gets them; or `respond`, or `redirect`",
            );
            return None;
        }
        1 => {}
        _ => {
            at.error("a request has one answer", "keep one of `upstream`, `respond` and `redirect`");
            return None;
        }
    }
    if raw.upstream.is_some() {
        let rewrite = rewrite(raw, rule, at);
        return Some(Action::Proxy(Proxy { upstream: upstream?, rewrite: rewrite? }));
    }
    only_with_upstream(raw, at);
    if let Some(raw) = &raw.respond {
        return respond(raw, &at.key("respond")).map(Action::Respond);
    }
    redirect(raw.redirect.as_ref()?, rule, &at.key("redirect")).map(Action::Redirect)
}

fn rewrite(raw: &raw::Route, rule: Option<&PathRule>, at: &At<'_>) -> Option<Rewrite> {
    let empty = raw::Rewrite::default();
    let written = raw.rewrite.as_ref().unwrap_or(&empty);
    let path = match (&written.path, raw.strip_prefix) {
        (Some(_), true) => {
            at.key("strip_prefix").error_at_key(
                "the prefix is replaced already",
                "keep `rewrite: { path: … }`, which takes its place, or `strip_prefix`",
            );
            return None;
        }
        (None, true)
            if rule.is_some_and(|rule| !matches!(rule, PathRule::Prefix(prefix) if !prefix.is_empty())) =>
        {
            at.key("strip_prefix")
                .error_at_key("there is no prefix to strip", "add `path_prefix` to the route's `match`");
            return None;
        }
        (None, true) => Some("/".to_string()),
        (Some(path), false) => Some(new_path(path, rule, &at.key("rewrite").key("path"))?),
        (None, false) => None,
    };
    let query = &written.query;
    let add = query.add.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Some(Rewrite { path, remove: query.remove.clone(), add })
}

fn new_path(path: &str, rule: Option<&PathRule>, at: &At<'_>) -> Option<String> {
    match rule {
        // With groups in it, it is no path yet.
        Some(PathRule::Pattern(pattern)) if path.starts_with('/') => {
            has_groups(&pattern.regex, path, at).then(|| path.to_string())
        }
        _ => written(path, at),
    }
}

/// Whether the expression has all groups that stand in this path. In the place of any other, there would be nothing.
fn has_groups(regex: &Regex, path: &str, at: &At<'_>) -> bool {
    let missing = RefCell::new(None);
    interpolate::string(
        path,
        |number, _| {
            if number >= regex.captures_len() {
                missing.borrow_mut().get_or_insert(number.to_string());
            }
        },
        |name| {
            if !regex.capture_names().flatten().any(|known| known == name) {
                missing.borrow_mut().get_or_insert(name.to_string());
            }
            None
        },
        &mut String::new(),
    );
    let Some(missing) = missing.into_inner() else { return true };
    let groups = regex.capture_names().enumerate().skip(1);
    let groups: Vec<String> = groups
        .map(|(number, name)| match name {
            Some(name) => format!("`$${{{name}}}`"),
            None => format!("`$${{{number}}}`"),
        })
        .collect();
    let fix = match &groups[..] {
        [] => "put parentheses around what is to stand here, and write `$${1}`".to_string(),
        groups => format!("write {}", groups.join(" or ")),
    };
    at.error(format!("the expression has no group `{missing}`"), fix);
    false
}

fn respond(raw: &raw::Respond, at: &At<'_>) -> Option<Respond> {
    // The schema has seen to the range.
    let status = StatusCode::from_u16(raw.status).ok()?;
    let content_type = raw.content_type.as_deref().unwrap_or("text/plain; charset=utf-8");
    let Ok(content_type) = HeaderValue::from_str(content_type) else {
        at.key("content_type")
            .error("a header's value has no control characters", "write it like `text/html`");
        return None;
    };
    let bodiless =
        [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    if bodiless && !raw.body.is_empty() {
        at.key("body").error_at_key(
            "an answer with this status has no body",
            "remove the body, or choose another status (RFC 9110, section 15)",
        );
        return None;
    }
    Some(Respond { status, content_type, body: Bytes::from(raw.body.clone()) })
}

fn redirect(raw: &raw::Redirect, rule: Option<&PathRule>, at: &At<'_>) -> Option<Redirect> {
    if raw.scheme.is_none() && raw.host.is_none() && raw.path.is_none() {
        at.error("this leads to where the request was", "set at least one of `scheme`, `host` and `path`");
        return None;
    }
    let host = raw.host.as_deref().map(|host| match host.parse::<http::uri::Authority>() {
        Ok(authority) if !host.contains('@') => Some(authority.to_string()),
        _ => {
            at.key("host").error("this is not a host", "write it like `example.com` or `example.com:8443`");
            None
        }
    });
    let host = match host {
        Some(host) => Some(host?),
        None => None,
    };
    let path = match &raw.path {
        Some(path) => Some(new_path(path, rule, &at.key("path"))?),
        None => None,
    };
    let scheme = raw.scheme.map(|scheme| match scheme {
        raw::Scheme::Http => "http",
        raw::Scheme::Https => "https",
    });
    if ![301, 302, 303, 307, 308].contains(&raw.status) {
        at.key("status").error("this status leads nowhere", "choose 301, 302, 303, 307 or 308");
        return None;
    }
    let status = StatusCode::from_u16(raw.status).ok()?;
    Some(Redirect { status, scheme, host, rewrite: Rewrite { path, ..Rewrite::default() } })
}
