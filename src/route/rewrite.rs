//! Other targets: what an upstream sees instead of what the client wrote, and where a client is sent.

use std::borrow::Cow;

use http::HeaderValue;
use pingora::http::RequestHeader;

use super::host_of;
use super::path::{self, BadPath};
use crate::config::{PathRule, Redirect, Rewrite};

/// The target that comes out.
///
/// # Errors
/// If what an expression's groups were put together to is no path.
pub fn target(rewrite: &Rewrite, rule: &PathRule, request: &RequestHeader) -> Result<String, BadPath> {
    let mut target = path(rewrite, rule, request.uri.path())?.into_owned();
    let query = query(rewrite, request.uri.query().unwrap_or_default());
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query);
    }
    Ok(target)
}

fn path<'p>(rewrite: &Rewrite, rule: &PathRule, path: &'p str) -> Result<Cow<'p, str>, BadPath> {
    let Some(new) = &rewrite.path else { return Ok(Cow::Borrowed(path)) };
    let replaced = match rule {
        PathRule::Exact(_) => new.clone(),
        PathRule::Prefix(prefix) => match path.get(prefix.len()..) {
            Some(rest) if !rest.is_empty() => format!("{}{rest}", new.trim_end_matches('/')),
            _ => new.clone(),
        },
        PathRule::Pattern(pattern) => pattern.regex.replace(path, new.as_str()).into_owned(),
    };
    Ok(Cow::Owned(path::normalize(&replaced)?.into_owned()))
}

/// What is left of a query keeps its spelling.
fn query<'q>(rewrite: &Rewrite, query: &'q str) -> Cow<'q, str> {
    if rewrite.remove.is_empty() && rewrite.add.is_empty() {
        return Cow::Borrowed(query);
    }
    let removed = |part: &&str| {
        let name = form_urlencoded::parse(part.as_bytes()).next().map(|(name, _)| name).unwrap_or_default();
        rewrite.remove.iter().any(|removed| *removed == name)
    };
    let mut parts: Vec<Cow<'_, str>> =
        query.split('&').filter(|part| !part.is_empty() && !removed(part)).map(Cow::Borrowed).collect();
    parts.extend(rewrite.add.iter().map(|(name, value)| {
        Cow::Owned(form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish())
    }));
    Cow::Owned(parts.join("&"))
}

/// The `Location` of a redirect (RFC 9110, section 10.2.2). `None` where it could not be written.
pub fn location(
    redirect: &Redirect,
    rule: &PathRule,
    request: &RequestHeader,
    tls: bool,
) -> Result<Option<HeaderValue>, BadPath> {
    let path = path(&redirect.rewrite, rule, request.uri.path())?;
    let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let place = match (redirect.scheme, &redirect.host) {
        (None, None) => format!("{path}{query}"),
        (scheme, host) => {
            let scheme = scheme.unwrap_or(if tls { "https" } else { "http" });
            let host = host.as_deref().map(Cow::Borrowed).or_else(|| host_of(request));
            let Some(host) = host else { return Ok(None) };
            format!("{scheme}://{host}{path}{query}")
        }
    };
    Ok(HeaderValue::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> RequestHeader {
        RequestHeader::build("GET", target.as_bytes(), None).expect("it is a request")
    }

    #[test]
    fn targets_are_rewritten() {
        let prefix = PathRule::Prefix("/users".to_string());
        let exact = PathRule::Exact("/hello".to_string());
        let rewrite = |path: Option<&str>, remove: &[&str], add: &[(&str, &str)]| Rewrite {
            path: path.map(str::to_string),
            remove: remove.iter().map(|name| name.to_string()).collect(),
            add: add.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        };
        for (rule, rewrite, before, after) in [
            (&prefix, rewrite(None, &[], &[]), "/users/7", "/users/7"),
            (&prefix, rewrite(Some("/"), &[], &[]), "/users/7?a=b", "/7?a=b"),
            (&prefix, rewrite(Some("/"), &[], &[]), "/users", "/"),
            (&prefix, rewrite(Some("/"), &[], &[]), "/users/", "/"),
            (&prefix, rewrite(Some("/v2/people"), &[], &[]), "/users/7", "/v2/people/7"),
            (&exact, rewrite(Some("/new"), &[], &[]), "/hello?x", "/new?x"),
            (&exact, rewrite(None, &["debug"], &[]), "/hello?debug=1&a=%20b&%64ebug", "/hello?a=%20b"),
            (&exact, rewrite(None, &["debug"], &[("ref", "a b&c")]), "/hello?debug", "/hello?ref=a+b%26c"),
        ] {
            let found = target(&rewrite, rule, &request(before)).expect("it is a path");
            assert_eq!(found, after, "{before}");
        }
    }
}
