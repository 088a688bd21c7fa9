//! The router against one that only knows the order in the documentation, and asks every route.

use std::cmp::Reverse;

use http::{HeaderName, Method};
use pingora::http::RequestHeader;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{Router, host_of};
use crate::config::{HostRule, Match, PathRule, Pattern, ValueRule};

const HOSTS: [&str; 4] = ["a.b.c", "b.c", "x.b.c", "c"];
const SEGMENTS: [&str; 3] = ["a", "b", "ab"];
const PATTERNS: [(&str, &str); 5] =
    [("/[ab]", ""), ("/a/[ab]+", "/a"), ("/a/.*", "/a"), ("/.*", ""), ("/a/b/(a|b)", "/a/b")];

fn path() -> impl Strategy<Value = String> {
    (prop::collection::vec(select(&SEGMENTS[..]), 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if slash || path.is_empty() { path + "/" } else { path }
    })
}

fn path_rule() -> impl Strategy<Value = PathRule> {
    prop_oneof![
        path().prop_map(PathRule::Exact),
        path().prop_map(|path| PathRule::Prefix(path.trim_end_matches('/').to_string())),
        select(&PATTERNS[..]).prop_map(|(written, prefix)| PathRule::Pattern(Pattern {
            regex: regex::Regex::new(&format!("^(?:{written})$")).expect("it is one"),
            prefix: prefix.to_string(),
        })),
    ]
}

fn host_rule() -> impl Strategy<Value = HostRule> {
    (select(&HOSTS[..]), any::<bool>()).prop_map(|(host, wild)| {
        if wild { HostRule::Below(format!(".{host}")) } else { HostRule::Exact(host.to_string()) }
    })
}

fn value_rule() -> impl Strategy<Value = ValueRule> {
    select(vec![ValueRule::Present, ValueRule::Is("1".to_string()), ValueRule::Is("2".to_string())])
}

fn matches() -> impl Strategy<Value = Match> {
    let methods = subsequence(vec![Method::GET, Method::POST], 0..=2);
    let headers = prop::collection::vec((select(&["x-a", "x-b"][..]), value_rule()), 0..2);
    let query = prop::collection::vec((select(&["q", "r"][..]), value_rule()), 0..2);
    (prop::collection::vec(host_rule(), 0..3), path_rule(), methods, headers, query).prop_map(
        |(hosts, path, methods, headers, query)| Match {
            listeners: Vec::new(),
            hosts,
            path,
            methods,
            headers: headers.into_iter().map(|(name, rule)| (HeaderName::from_static(name), rule)).collect(),
            query: query.into_iter().map(|(name, rule)| (name.to_string(), rule)).collect(),
        },
    )
}

fn request() -> impl Strategy<Value = RequestHeader> {
    let value = || select(vec![None, Some("1"), Some("2"), Some("3")]);
    let host = select(vec!["a.b.c", "A.B.C:80", "b.c", "y.a.b.c", "x.b.c", "c.", "other", "b.c.d"]);
    (host, path(), select(vec!["GET", "POST", "PUT"]), value(), value()).prop_map(
        |(host, path, method, header, query)| {
            let query = query.map(|query| format!("?q={query}")).unwrap_or_default();
            let mut request = RequestHeader::build(method, format!("{path}{query}").as_bytes(), None)
                .expect("it is a request");
            request.insert_header("Host", host).expect("it is a header");
            if let Some(header) = header {
                request.insert_header("x-a", header).expect("it is a header");
            }
            request
        },
    )
}

/// How well a host's rule fits: not, or the more the better.
fn host_fits(rules: &[HostRule], host: &str) -> Option<usize> {
    if rules.is_empty() {
        return Some(0);
    }
    let fits = |rule: &HostRule| match rule {
        HostRule::Exact(name) => (name == host).then_some(usize::MAX),
        HostRule::Below(name) => host.ends_with(name.as_str()).then_some(name.len()),
    };
    rules.iter().filter_map(fits).max()
}

/// How well a path's rule fits: exact, or so long, with an expression before a prefix.
fn path_fits(rule: &PathRule, path: &str) -> Option<(bool, usize, bool)> {
    let below =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match rule {
        PathRule::Exact(exact) => (exact == path).then_some((true, 0, false)),
        PathRule::Prefix(prefix) => below(prefix).then_some((false, prefix.len(), false)),
        PathRule::Pattern(pattern) => {
            pattern.regex.is_match(path).then_some((false, pattern.prefix.len(), true))
        }
    }
}

fn value_fits(rule: &ValueRule, value: Option<&str>) -> bool {
    match rule {
        ValueRule::Present => value.is_some(),
        ValueRule::Is(wanted) => value == Some(wanted),
    }
}

fn naive(routes: &[Match], request: &RequestHeader) -> Option<usize> {
    let host = host_of(request).expect("it has one");
    let query = request.uri.query();
    let fit = |(index, matches): (usize, &Match)| {
        let host = host_fits(&matches.hosts, &host)?;
        let path = path_fits(&matches.path, request.uri.path())?;
        let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        let parameter = |name: &str| query.and_then(|query| query.strip_prefix(name)?.strip_prefix('='));
        let holds = (matches.methods.is_empty() || matches.methods.contains(&request.method))
            && matches.headers.iter().all(|(name, rule)| value_fits(rule, header(name)))
            && matches.query.iter().all(|(name, rule)| value_fits(rule, parameter(name)));
        holds.then_some((host, path, matches.rank(), Reverse(index)))
    };
    routes.iter().enumerate().filter_map(fit).max().map(|(.., Reverse(index))| index)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_router_finds_what_the_documentation_says(
        routes in prop::collection::vec(matches(), 0..12),
        requests in prop::collection::vec(request(), 1..12),
    ) {
        let router = Router::new(routes.iter().enumerate().map(|(index, matches)| (matches, index)));
        for request in &requests {
            let found = router.find(request).copied();
            prop_assert_eq!(found, naive(&routes, request), "{:?}", request);
        }
    }
}
