//! What holds for every text and every path, tried with made-up ones. The fuzz targets in `fuzz/` say the same.

use pingora_city::config::Config;
use pingora_city::middleware::Registry;
use pingora_city::route::path::normalize;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// What configurations, good and bad, are made of.
const PIECES: &[&str] = &[
    "listeners:",
    "upstreams:",
    "routes:",
    "middlewares:",
    "server:",
    "threads:",
    "address:",
    "servers:",
    "name:",
    "match:",
    "path:",
    "path_regex:",
    "hosts:",
    "upstream:",
    "health_check:",
    "weight:",
    "response_headers:",
    "set:",
    "<<:",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "\n\t",
    " ",
    " ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "\"",
    "'",
    "#",
    "|",
    ">",
    "&a ",
    "*a",
    "!x ",
    "---\n",
    "? ",
    "~",
    "true",
    "0",
    "-1",
    "1e999",
    ".nan",
    "18446744073709551616",
    "a",
    "/",
    "/a/../b",
    "(",
    "[a-z]+",
    "127.0.0.1:80",
    "[::1]:80",
    "1s",
    "*",
    "%",
    "${X}",
    "${X:-1}",
    "${",
    "$${",
    "\u{fc}",
    "\u{1f600}",
    "\u{feff}",
    "\0",
    "\u{85}",
    "\r\n",
    "\\",
];

const GOOD: &str = "\
listeners: [{ address: 127.0.0.1:6210 }]
server: { threads: 2, trusted_proxies: [10.0.0.0/8] }
upstreams:
  city: { servers: [{ address: 127.0.0.1:9001, weight: 2 }], health_check: { tcp: {} } }
middlewares: { h: { response_headers: { set: { X-A: b }, remove: [X-C] } } }
routes:
  - { name: city, upstream: city, middlewares: [h] }
  - name: other
    match: { path_prefix: /a, methods: [GET], headers: { X-T: \"1\" } }
    redirect: { scheme: https }
";

fn judge(text: &str) {
    let Err(report) = Config::parse("made up", text, &Registry::default()) else { return };
    assert!(!report.diagnostics().is_empty(), "{text:?}");
    for diagnostic in report.diagnostics() {
        assert!(!diagnostic.message.is_empty() && !diagnostic.fix.is_empty(), "{text:?}: {diagnostic:?}");
        assert!(text.get(..diagnostic.place.span.start).is_some(), "{text:?}: {diagnostic:?}");
    }
    assert!(report.to_string().contains("cannot be used"));
}

/// How many cases: `PROPTEST_CASES` says so.
fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_text_is_judged(pieces in vec(select(PIECES), 0..60)) {
        judge(&pieces.concat());
    }

    /// Nearly good texts come further than others.
    #[test]
    fn a_good_text_with_a_few_changes_is_judged(
        changes in vec((any::<prop::sample::Index>(), 0..12_usize, select(PIECES)), 1..4)
    ) {
        let mut text = GOOD.to_string();
        for (at, length, piece) in changes {
            let start = at.index(text.len());
            let start = (0..=start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let end = (start + length..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            text.replace_range(start..end, piece);
        }
        judge(&text);
    }

    #[test]
    fn a_path_has_one_normal_form(
        pieces in vec(select(&["/", "/", ".", "..", "%2e", "%2E", "%2f", "%5c", "%00", "%", "a", "\\", "\u{fc}", ";", "%61", "%25"][..]), 0..16)
    ) {
        let path = format!("/{}", pieces.concat());
        if let Ok(normal) = normalize(&path) {
            let again = normalize(&normal);
            prop_assert_eq!(again.as_deref(), Ok(&*normal));
            prop_assert!(normal.is_ascii() && normal.starts_with('/') && !normal.contains("//") && !normal.contains(['\\', '\0']));
            prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."), "{}", normal);
        }
    }
}
