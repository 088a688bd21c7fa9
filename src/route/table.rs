//! Values by texts of the configuration.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Looked up with what strangers send, and filled by the configuration alone: nobody can fill it with texts that meet
/// at one place, so its hash may be a fast one.
pub struct Table<V> {
    values: HashMap<Box<str>, V, RandomState>,
    /// In bytes. What is longer is not looked at: a request may have a thousand prefixes of a thousand bytes.
    longest: usize,
}

impl<V> Table<V> {
    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of this text.
    pub fn get(&self, text: &str) -> Option<&V> {
        if text.len() > self.longest { None } else { self.values.get(text) }
    }
}

impl<'t, V> FromIterator<(&'t str, V)> for Table<V> {
    fn from_iter<I: IntoIterator<Item = (&'t str, V)>>(values: I) -> Table<V> {
        let values: HashMap<Box<str>, V, RandomState> =
            values.into_iter().map(|(text, value)| (text.into(), value)).collect();
        Table { longest: values.keys().map(|text| text.len()).max().unwrap_or(0), values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_nothing_else() {
        let table: Table<u8> = [("", 0), ("/tea", 1)].into_iter().collect();
        for (text, value) in [("", Some(&0)), ("/tea", Some(&1)), ("/te", None), ("/teas", None)] {
            assert_eq!(table.get(text), value, "{text}");
        }
        assert_eq!(Table::<u8>::from_iter([]).get(""), None);
    }
}
