//! From a path to the routes that may get it, in a few lookups, however many routes there are.
//!
//! A tree of whole segments. Each of its nodes is found by its path in a [`Table`] and holds the candidates, most
//! specific first, and not only the one rule that led there: `/users/7` must fall back to `/` if the route of `/users`
//! wants another method. Which rules hold for a node is known when the tree is built. A request asks for its own path,
//! then for its prefixes, from the deepest that a rule has.

use std::collections::{BTreeSet, HashMap};

use super::table::Table;
use crate::config::{PathRule, Pattern};

/// Rules by path.
pub struct Tree<T> {
    /// Paths as they are.
    points: Table<Box<[T]>>,
    /// Prefixes, for what begins so and goes on. They have no slash at their end.
    below: Table<Box<[T]>>,
    /// How many slashes the deepest prefix has.
    depth: usize,
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
        let (mut points, mut below) = (BTreeSet::new(), BTreeSet::new());
        for (rule, value) in rules {
            match rule {
                PathRule::Exact(path) => {
                    exact.entry(path).or_default().push(value);
                    points.insert(path.clone());
                }
                PathRule::Prefix(prefix) | PathRule::Pattern(Pattern { prefix, .. }) => {
                    let kind = match rule {
                        PathRule::Pattern(_) => &mut patterns,
                        _ => &mut prefixes,
                    };
                    kind.entry(prefix).or_default().push(value);
                    points.insert(prefix.clone());
                    points.insert(format!("{prefix}/"));
                    below.insert(&**prefix);
                }
            }
        }
        let candidates = |at: &str, exact: Option<&Vec<&T>>| {
            let mut found: Vec<T> = exact.into_iter().flatten().copied().cloned().collect();
            for prefix in prefixes_of(at) {
                for kind in [&patterns, &prefixes] {
                    found.extend(kind.get(prefix).into_iter().flatten().copied().cloned());
                }
            }
            found.into_boxed_slice()
        };
        Tree {
            depth: below.iter().map(|prefix| prefix.matches('/').count()).max().unwrap_or(0),
            points: points.iter().map(|path| (&**path, candidates(path, exact.get(&**path)))).collect(),
            below: below.iter().map(|prefix| (*prefix, candidates(prefix, None))).collect(),
        }
    }

    /// The values of the rules that hold for this path, most specific first.
    pub fn at(&self, path: &str) -> &[T] {
        let found = self.points.get(path).or_else(|| {
            // What ends in a slash goes on after an earlier one.
            let inner = path.strip_suffix('/').unwrap_or(path);
            let slashes = || inner.match_indices('/').map(|(at, _)| at);
            let deepest = slashes().take(self.depth + 1).last()?;
            let ends = std::iter::successors(Some(deepest), |end| inner[..*end].rfind('/'));
            ends.map(|end| &inner[..end]).find_map(|prefix| self.below.get(prefix))
        });
        found.map_or(&[], |candidates| candidates)
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
