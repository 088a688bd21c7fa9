//! What header policies have in common: changes to headers, in this order: `remove`, `set`, `add`.

use std::collections::BTreeMap;
use std::str::FromStr;

use http::{HeaderName, HeaderValue, header};

use crate::config::At;

/// The changes, ready to be made.
pub struct Changes {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl Changes {
    /// `None` if something was reported. `theirs` are headers that nobody may change, and why.
    pub fn new(
        remove: &[String],
        set: &BTreeMap<String, String>,
        add: &BTreeMap<String, String>,
        theirs: &[(HeaderName, &str)],
        at: &At<'_>,
    ) -> Option<Changes> {
        let removed = at.key("remove");
        let names =
            remove.iter().enumerate().map(|(index, name)| name_of(name, theirs, &removed.index(index)));
        let (remove, set, add) = (
            names.collect::<Vec<_>>(),
            values(set, theirs, &at.key("set")),
            values(add, theirs, &at.key("add")),
        );
        Some(Changes { remove: remove.into_iter().collect::<Option<_>>()?, set: set?, add: add? })
    }
}

fn name_of(name: &str, theirs: &[(HeaderName, &str)], at: &At<'_>) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_str(name) else {
        at.error_at_key("this is not a header's name", "letters, digits and `-`, such as `X-Served-By`");
        return None;
    };
    // RFC 9112, section 6: who changes these without changing the body says where it ends.
    if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&name) {
        at.error_at_key("this header belongs to the body that it frames", "leave it as it was sent");
        return None;
    }
    if let Some((_, why)) = theirs.iter().find(|(theirs, _)| *theirs == name) {
        at.error_at_key(*why, "remove it from here");
        return None;
    }
    Some(name)
}

fn values(
    raw: &BTreeMap<String, String>,
    theirs: &[(HeaderName, &str)],
    at: &At<'_>,
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let pairs: Vec<Option<_>> = raw
        .iter()
        .map(|(name, value)| {
            let at = at.key(name);
            let name = name_of(name, theirs, &at);
            let value = HeaderValue::from_str(value).ok();
            if value.is_none() {
                at.error("a header's value has no control characters", "write it on one line");
            }
            name.zip(value)
        })
        .collect();
    pairs.into_iter().collect()
}
