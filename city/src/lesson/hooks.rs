//! `lessons/hooks.md`: which lesson shows which of Pingora's hooks, as the examples' code has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use syn::{ImplItem, Item, UseTree};

use super::text::Lesson;
use crate::trouble::{OrTrouble, Result, Trouble};

/// Where the page is.
pub const PAGE: &str = "lessons/hooks.md";

/// One hook of `ProxyHttp`.
struct Hook {
    name: &'static str,
    what: &'static str,
}

const fn hook(name: &'static str, what: &'static str) -> Hook {
    Hook { name, what }
}

/// All hooks of `ProxyHttp` in Pingora 0.9.1, in the order in which a request meets them.
const PHASES: [(&str, &[Hook]); 6] = [
    (
        "A request arrives",
        &[
            hook(
                "init_downstream_modules",
                "Once, at the start: the modules that see every request, such as compression.",
            ),
            hook("new_ctx", "Makes the CTX: what one request remembers from phase to phase."),
            hook(
                "on_connection_reuse",
                "The next request of a kept HTTP/1 connection: what was remembered of the one before.",
            ),
            hook(
                "early_request_filter",
                "Before any module. The place for settings of the modules themselves.",
            ),
            hook("allow_spawning_subrequest", "Whether this request may start others of its own."),
            hook("request_filter", "The first look at a request: let it pass, or answer it here."),
            hook("request_body_filter", "Each piece of the client's body, before it goes to the upstream."),
        ],
    ),
    (
        "The cache is asked",
        &[
            hook(
                "request_cache_filter",
                "Whether this request may be answered from a cache, and from which.",
            ),
            hook("cache_key_callback", "Under which key. Required as soon as a cache is enabled."),
            hook("cache_vary_filter", "Which variant of it, by the request's headers."),
            hook("cache_hit_filter", "Something was found: use it, or declare it stale."),
            hook("cache_miss", "Nothing was found, and the answer will be stored."),
            hook(
                "should_serve_stale",
                "Whether an old copy may be served: while it is renewed, or because that failed.",
            ),
            hook("is_purge", "Whether this request means to remove something from the cache."),
            hook("purge_action", "What a purge does: remove, or mark as stale."),
            hook("purge_response_filter", "The answer to a purge."),
            hook("cache_not_modified_filter", "Whether the client has this very copy already: 304."),
            hook("range_header_filter", "Which part of a stored body was asked for."),
        ],
    ),
    (
        "An upstream is asked",
        &[
            hook(
                "proxy_upstream_filter",
                "The last chance to answer without an upstream, when the cache had nothing.",
            ),
            hook("upstream_peer", "Required: to whom this request goes."),
            hook(
                "connected_to_upstream",
                "The request has its connection: new or kept, and what is known of it.",
            ),
            hook("upstream_request_filter", "The request's head as the upstream will see it."),
        ],
    ),
    (
        "The answer comes back",
        &[
            hook(
                "init_upstream_modules",
                "Once, at the start: the modules that see every answer before it is compressed.",
            ),
            hook("adjust_upstream_modules", "The settings of these modules, by the answer's head."),
            hook(
                "upstream_response_filter",
                "The answer's head as the upstream sent it, before it may be stored.",
            ),
            hook("upstream_response_body_filter", "Each piece of its body, before it may be stored."),
            hook("upstream_response_trailer_filter", "Its trailers, before they may be stored."),
            hook("response_cache_filter", "Whether this answer may be stored, and for how long."),
            hook(
                "response_filter",
                "The answer's head as the client will see it, from an upstream or from the cache.",
            ),
            hook("response_body_filter", "Each piece of the body on its way to the client."),
            hook("response_trailer_filter", "The trailers on their way to the client."),
        ],
    ),
    (
        "Something fails",
        &[
            hook("fail_to_connect", "No connection came about. May ask for another try."),
            hook(
                "error_while_proxy",
                "It went wrong after the connection was there. May ask for another try.",
            ),
            hook("fail_to_proxy", "The last stop of every failed request: the answer to the client."),
            hook("suppress_error_log", "Whether Pingora keeps silent about an error."),
            hook("suppress_proxy_warn_log", "Whether it keeps silent about a failure that is tried again."),
        ],
    ),
    (
        "It is over",
        &[
            hook("request_summary", "How Pingora's own log lines name the request."),
            hook("logging", "The last hook of every request, failed ones included."),
            hook("persist_connection_context", "What the next request on this connection shall know."),
        ],
    ),
];

/// Hooks that `ProxyHttp` requires: docs.rs names their anchors otherwise.
const REQUIRED: [&str; 2] = ["new_ctx", "upstream_peer"];

/// Pingora's other traits that a lesson may implement: the name, its page on docs.rs, and what it is for.
const TRAITS: [(&str, &str, &str); 11] = [
    (
        "ServerApp",
        "pingora-core/0.9.1/pingora_core/apps/trait.ServerApp.html",
        "A server that is no proxy: gets each connection.",
    ),
    (
        "ServeHttp",
        "pingora-core/0.9.1/pingora_core/apps/http_app/trait.ServeHttp.html",
        "HTTP without a proxy: a whole response for each request.",
    ),
    (
        "HttpServerApp",
        "pingora-core/0.9.1/pingora_core/apps/trait.HttpServerApp.html",
        "HTTP without a proxy, one's own way: gets each request and its connection.",
    ),
    (
        "BackgroundService",
        "pingora-core/0.9.1/pingora_core/services/background/trait.BackgroundService.html",
        "A service that listens to nothing.",
    ),
    (
        "ConnectionFilter",
        "pingora-core/0.9.1/pingora_core/listeners/trait.ConnectionFilter.html",
        "Asked for each connection before anything is read.",
    ),
    (
        "TlsAccept",
        "pingora-core/0.9.1/pingora_core/listeners/trait.TlsAccept.html",
        "Chooses a certificate during the handshake.",
    ),
    (
        "L4Connect",
        "pingora-core/0.9.1/pingora_core/connectors/l4/trait.Connect.html",
        "A connector of one's own.",
    ),
    (
        "ServiceDiscovery",
        "pingora-load-balancing/0.9.1/pingora_load_balancing/discovery/trait.ServiceDiscovery.html",
        "Where the servers of a pool come from.",
    ),
    (
        "HealthCheck",
        "pingora-load-balancing/0.9.1/pingora_load_balancing/health_check/trait.HealthCheck.html",
        "Whether a server is well.",
    ),
    (
        "Storage",
        "pingora-cache/0.9.1/pingora_cache/storage/trait.Storage.html",
        "Where a cache keeps what it stores.",
    ),
    (
        "HttpModule",
        "pingora-core/0.9.1/pingora_core/modules/http/trait.HttpModule.html",
        "A module that sees every request and response of a service.",
    ),
];

const PROXY_HTTP: &str = "ProxyHttp";
const TRAIT_PAGE: &str = "https://docs.rs/pingora-proxy/0.9.1/pingora_proxy/trait.ProxyHttp.html";

/// What an example implements.
#[derive(Debug, Default, PartialEq, Eq)]
struct Implemented {
    hooks: BTreeSet<String>,
    traits: BTreeSet<String>,
}

/// The page, for these lessons.
pub fn page(repository: &Path, lessons: &[Lesson]) -> Result<String> {
    let mut all = Vec::new();
    for lesson in lessons {
        let file = lesson.example();
        let source =
            std::fs::read_to_string(repository.join(&file)).or_trouble(|| format!("cannot read {file}"))?;
        all.push((lesson, implemented(&source, &file)?));
    }
    Ok(rendered(&all))
}

/// The hooks and traits of Pingora that a source implements.
fn implemented(source: &str, file: &str) -> Result<Implemented> {
    let parsed = syn::parse_file(source).map_err(|error| {
        let line = error.span().start().line;
        Trouble::new(format!("{file}:{line}: this is no Rust")).cause(error).remedy("mend it, and try again")
    })?;
    let mut imported = BTreeMap::new();
    let mut found = Implemented::default();
    for item in &parsed.items {
        if let Item::Use(used) = item {
            imports(&used.tree, &mut Vec::new(), &mut imported);
        }
    }
    for item in &parsed.items {
        let Item::Impl(block) = item else { continue };
        let Some(name) = block.trait_.as_ref().and_then(|(path, _)| path.segments.last()) else {
            continue;
        };
        let name = name.ident.to_string();
        if name == PROXY_HTTP {
            for item in &block.items {
                if let ImplItem::Fn(method) = item {
                    found.hooks.insert(method.sig.ident.to_string());
                }
            }
        } else if TRAITS.iter().any(|(known, ..)| *known == name) {
            found.traits.insert(name);
        } else if imported.get(&name).is_some_and(|root| root.starts_with("pingora")) {
            return Err(Trouble::new(format!(
                "{file} implements {name}, which the map of hooks does not know"
            ))
            .remedy("add it to TRAITS in city/src/lesson/hooks.rs"));
        }
    }
    let known =
        |hook: &&String| PHASES.iter().any(|(_, hooks)| hooks.iter().any(|known| known.name == **hook));
    match found.hooks.iter().find(|hook| !known(hook)) {
        None => Ok(found),
        Some(hook) => {
            Err(Trouble::new(format!("{file} has a hook {hook}, which the map of hooks does not know"))
                .remedy("add it to PHASES in city/src/lesson/hooks.rs"))
        }
    }
}

/// The names that a `use` brings in, each with the crate that it comes from.
fn imports(tree: &UseTree, path: &mut Vec<String>, into: &mut BTreeMap<String, String>) {
    let root = |path: &[String], last: String| path.first().cloned().unwrap_or(last);
    match tree {
        UseTree::Path(segment) => {
            path.push(segment.ident.to_string());
            imports(&segment.tree, path, into);
            path.pop();
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            into.insert(name.clone(), root(path, name));
        }
        UseTree::Rename(renamed) => {
            into.insert(renamed.rename.to_string(), root(path, renamed.ident.to_string()));
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| imports(tree, path, into)),
        // What a glob brings in is not to be seen here.
        _ => {}
    }
}

fn rendered(all: &[(&Lesson, Implemented)]) -> String {
    let mut text = String::from(
        "# Which hook, which lesson\n\n\
         A proxy is a trait, [`ProxyHttp`](https://docs.rs/pingora-proxy/0.9.1/pingora_proxy/trait.ProxyHttp.html), \
         with a hook for each phase of a request. Here are all of them, in the order in which a request meets them, \
         with the lessons whose examples implement them.\n\n\
         <!-- Made by `cargo city sync` from the examples. -->\n",
    );
    let proxies: Vec<_> = all.iter().filter(|(_, found)| !found.hooks.is_empty()).collect();
    for (phase, hooks) in PHASES {
        let _ = write!(text, "\n## {phase}\n\n| hook | what it is for | lessons |\n|---|---|---|\n");
        for Hook { name, what } in hooks {
            let users: Vec<_> = proxies
                .iter()
                .filter(|(_, found)| found.hooks.contains(*name))
                .map(|(lesson, _)| *lesson)
                .collect();
            let lessons = match users.as_slice() {
                [] => "none".to_owned(),
                [first, .., _] if users.len() == proxies.len() => {
                    format!("every proxy, from {} on", link(first))
                }
                some => links(some),
            };
            let _ = writeln!(text, "| {} | {what} | {lessons} |", documented(name));
        }
    }
    text.push_str(
        "\n## Beside the proxy\n\nPingora's other traits that lessons implement.\n\n\
         | trait | what it is for | lessons |\n|---|---|---|\n",
    );
    for (name, docs, what) in TRAITS {
        let users: Vec<_> =
            all.iter().filter(|(_, found)| found.traits.contains(name)).map(|(lesson, _)| *lesson).collect();
        if !users.is_empty() {
            let _ = writeln!(text, "| [`{name}`](https://docs.rs/{docs}) | {what} | {} |", links(&users));
        }
    }
    text.push_str("\n## By lesson\n\nWithout `new_ctx` and `upstream_peer`, which every proxy has.\n\n| lesson | hooks and traits |\n|---|---|\n");
    for (lesson, found) in all {
        let hooks = PHASES.iter().flat_map(|(_, hooks)| hooks.iter()).map(|hook| hook.name);
        let hooks = hooks.filter(|name| found.hooks.contains(*name) && !REQUIRED.contains(name));
        let traits = found.traits.iter().map(String::as_str);
        let names: Vec<_> = hooks.chain(traits).map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
        let _ = writeln!(text, "| [{}]({}.md) | {names} |", lesson.heading, lesson.name);
    }
    text
}

fn documented(hook: &str) -> String {
    let kind = if REQUIRED.contains(&hook) { "tymethod" } else { "method" };
    format!("[`{hook}`]({TRAIT_PAGE}#{kind}.{hook})")
}

fn link(lesson: &Lesson) -> String {
    format!("[{}]({}.md \"{}\")", lesson.number(), lesson.name, lesson.title().replace('"', "'"))
}

fn links(lessons: &[&Lesson]) -> String {
    lessons.iter().map(|lesson| link(lesson)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "use pingora::prelude::*;\nuse pingora::{listeners::ConnectionFilter, a::Connect as L4Connect};\nuse std::fmt::Display;\n\
        struct A;\nimpl ProxyHttp for A { type CTX = (); fn new_ctx(&self) {} async fn upstream_peer(&self) {} async fn logging(&self) {} }\n\
        impl ConnectionFilter for A {}\nimpl L4Connect for A {}\nimpl Display for A {}\nimpl A { fn response_filter(&self) {} }\n";

    #[test]
    fn hooks_are_told_from_other_functions() {
        let found = implemented(SOURCE, "examples/06_a.rs").unwrap();
        assert_eq!(found.hooks.iter().collect::<Vec<_>>(), ["logging", "new_ctx", "upstream_peer"]);
        assert_eq!(found.traits.iter().collect::<Vec<_>>(), ["ConnectionFilter", "L4Connect"]);
    }

    #[test]
    fn what_the_map_does_not_know_is_named() {
        let trouble = |source: &str| implemented(source, "examples/06_a.rs").unwrap_err().to_string();
        assert!(trouble("impl ProxyHttp for A { fn new_hook(&self) {} }").contains("has a hook new_hook"));
        assert!(trouble("use pingora::x::Novel;\nimpl Novel for A {}").contains("implements Novel"));
        assert!(trouble("fn main( {").starts_with("examples/06_a.rs:1: this is no Rust"));
    }

    #[test]
    fn the_page_names_lessons_by_hook_and_hooks_by_lesson() {
        let lesson = |name: &str, title: &str| {
            Lesson::parse(name, &format!("lessons/{name}.md"), &format!("# {title}\n\nAbout.\n")).unwrap()
        };
        let (a, b) = (lesson("06_a", "06 · A"), lesson("07_b", "07 · B"));
        let other = "impl ProxyHttp for B { fn new_ctx(&self) {} fn upstream_peer(&self) {} }";
        let all = [(&a, implemented(SOURCE, "a").unwrap()), (&b, implemented(other, "b").unwrap())];
        let page = rendered(&all);
        assert!(page.contains("#tymethod.upstream_peer) | Required: to whom this request goes. | every proxy, from [06](06_a.md \"A\") on |"), "{page}");
        assert!(
            page.contains(
                "#method.logging) | The last hook of every request, failed ones included. | [06](06_a.md \"A\") |"
            ),
            "{page}"
        );
        assert!(page.contains(
            "#method.request_filter) | The first look at a request: let it pass, or answer it here. | none |"
        ));
        assert!(
            page.contains("| [06 · A](06_a.md) | `logging`, `ConnectionFilter`, `L4Connect` |"),
            "{page}"
        );
        assert!(page.contains("| [07 · B](07_b.md) | - |"), "{page}");
    }
}
