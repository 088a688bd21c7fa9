//! From a path to the routes that may get it, in one lookup, however many routes there are.
//!
//! A radix tree (matchit) whose leaves hold the candidates, most specific first, and not only the one rule that
//! led there: `/users/7` must fall back to `/` if the route of `/users` wants another method. Which rules hold
//! for a leaf is known when the tree is built, so that a request walks it once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::{PathRule, Pattern};

/// Rules by path.
pub struct Tree<T> {
    leaves: matchit::Router<Box<[T]>>,
}

/// Part of the path space that the same rules hold for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Leaf<'r> {
    /// One path.
    Point(String),
    /// All paths that begin so and go on. The prefix has no slash at its end.
    Below(&'r str),
}

impl<T: Clone> Tree<T> {
    /// Builds it. Of two rules for the same paths, the first comes first. An expression is found at every path that
    /// begins as it does, before the prefix of that length; whether it matches, its owner finds out.
    ///
    /// Rules come from the configuration, which has normalized their paths.
    pub fn new(rules: &[(PathRule, T)]) -> Tree<T> {
        let mut exact: HashMap<&str, Vec<&T>> = HashMap::new();
        let mut prefixes: HashMap<&str, Vec<&T>> = HashMap::new();
        let mut patterns: HashMap<&str, Vec<&T>> = HashMap::new();
        let mut leaves = BTreeSet::new();
        for (rule, value) in rules {
            match rule {
                PathRule::Exact(path) => {
                    exact.entry(path).or_default().push(value);
                    leaves.insert(Leaf::Point(path.clone()));
                }
                PathRule::Prefix(prefix) | PathRule::Pattern(Pattern { prefix, .. }) => {
                    let kind = match rule {
                        PathRule::Pattern(_) => &mut patterns,
                        _ => &mut prefixes,
                    };
                    kind.entry(prefix).or_default().push(value);
                    leaves.insert(Leaf::Point(prefix.clone()));
                    // matchit's `{*rest}` stands for at least one character.
                    leaves.insert(Leaf::Point(format!("{prefix}/")));
                    leaves.insert(Leaf::Below(prefix));
                }
            }
        }
        leaves.remove(&Leaf::Point(String::new())); // no path is empty

        let mut texts = BTreeMap::new();
        for leaf in &leaves {
            let (pattern, at, candidates) = match leaf {
                Leaf::Point(path) => (literal(path), &**path, exact.get(&**path)),
                Leaf::Below(prefix) => (literal(prefix) + "/{*rest}", *prefix, None),
            };
            let mut found: Vec<T> = candidates.into_iter().flatten().copied().cloned().collect();
            for prefix in prefixes_of(at) {
                for kind in [&patterns, &prefixes] {
                    found.extend(kind.get(prefix).into_iter().flatten().copied().cloned());
                }
            }
            texts.insert(pattern, found.into_boxed_slice());
        }
        let mut tree = matchit::Router::new();
        for (pattern, candidates) in texts {
            tree.insert(pattern, candidates)
                .expect("each pattern is inserted once, and its only wildcard is at its end");
        }
        Tree { leaves: tree }
    }

    /// The values of the rules that hold for this path, most specific first.
    pub fn at(&self, path: &str) -> &[T] {
        self.leaves.at(path).map_or(&[], |found| found.value)
    }
}

/// The prefixes of a path by whole segments, the longest first, itself included: of `/a/b` these are `/a/b`,
/// `/a` and the empty one.
fn prefixes_of(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path.strip_suffix('/').unwrap_or(path));
    std::iter::from_fn(move || {
        let prefix = rest?;
        rest = prefix.rfind('/').map(|at| &prefix[..at]);
        Some(prefix)
    })
}

/// A path as a pattern that matches itself: braces are matchit's.
fn literal(path: &str) -> String {
    path.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree<&'static str> {
        let exact = |path: &'static str| (PathRule::Exact(path.to_string()), path);
        let prefix = |path: &'static str, name| (PathRule::Prefix(path.to_string()), name);
        Tree::new(&[
            prefix("", "/*"),
            prefix("/users", "/users/*"),
            prefix("/users/admin", "/users/admin/*"),
            exact("/users/admin"),
            exact("/users/"),
            exact("/{x}"),
        ])
    }

    #[test]
    fn the_most_specific_comes_first_and_the_others_follow() {
        let tree = tree();
        for (path, candidates) in [
            ("/", &["/*"][..]),
            ("/other", &["/*"]),
            ("/users", &["/users/*", "/*"]),
            ("/users/", &["/users/", "/users/*", "/*"]),
            ("/users/7", &["/users/*", "/*"]),
            ("/userspace", &["/*"]),
            ("/users/admin", &["/users/admin", "/users/admin/*", "/users/*", "/*"]),
            ("/users/admin/", &["/users/admin/*", "/users/*", "/*"]),
            ("/users/admin/x/y", &["/users/admin/*", "/users/*", "/*"]),
            ("/users/administrator", &["/users/*", "/*"]),
            ("/{x}", &["/{x}", "/*"]),
            ("/y", &["/*"]),
        ] {
            assert_eq!(tree.at(path), candidates, "{path}");
        }
    }

    #[test]
    fn without_a_rule_for_all_some_paths_have_no_route() {
        let tree =
            Tree::new(&[(PathRule::Prefix("/a".to_string()), 1), (PathRule::Exact("/b".to_string()), 2)]);
        for path in ["/", "/ab", "/b/", "/b/c", "/c"] {
            assert!(tree.at(path).is_empty(), "{path}");
        }
        assert_eq!(tree.at("/a/x"), [1]);
        assert_eq!(tree.at("/b"), [2]);
    }
}
