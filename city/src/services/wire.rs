//! Bytes as they came over the wire, in a form that a terminal and a JSON file can hold.

use std::fmt::{self, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes received from a peer: a method, a target, a header's name or value.
///
/// Shown, and kept in JSON, with control characters and whatever is no UTF-8 as `\xNN`, and a backslash as
/// `\\`. That loses nothing, and no request can write control sequences to the reader's terminal.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Wire(Vec<u8>);

impl Wire {
    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether these bytes are what the user typed, be it the bytes or the form in which they are shown.
    pub fn is(&self, typed: &str) -> bool {
        self.0 == typed.as_bytes() || self.to_string() == typed
    }

    /// Reads the shown form back; an escape that is none stands for itself.
    fn from_shown(shown: &str) -> Wire {
        let mut bytes = Vec::with_capacity(shown.len());
        let mut rest = shown.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            let (byte, taken) = match (first, after) {
                (b'\\', [b'\\', ..]) => (b'\\', 2),
                (b'\\', [b'x', high, low, ..]) => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) => (high << 4 | low, 4),
                    _ => (b'\\', 1),
                },
                _ => (first, 1),
            };
            bytes.push(byte);
            rest = &rest[taken..];
        }
        Wire(bytes)
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

impl<T: AsRef<[u8]>> From<T> for Wire {
    fn from(bytes: T) -> Wire {
        Wire(bytes.as_ref().to_vec())
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if c.is_control() => {
                        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                            write!(f, "\\x{byte:02x}")?;
                        }
                    }
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for Wire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Wire, D::Error> {
        Ok(Wire::from_shown(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_being_shown() {
        let all: Vec<u8> = (0..=255).collect();
        let wire = Wire::from(&all);
        assert_eq!(Wire::from_shown(&wire.to_string()), wire);
        assert!(wire.to_string().chars().all(|c| !c.is_control()));
    }

    #[test]
    fn plain_text_is_shown_as_it_is() {
        assert_eq!(Wire::from("/a?b=%2Fc&ü=1").to_string(), "/a?b=%2Fc&ü=1");
        assert_eq!(Wire::from("/\x1b[2J\\").to_string(), "/\\x1b[2J\\\\");
        assert_eq!(Wire::from("/\u{9b}").to_string(), "/\\xc2\\x9b");
    }

    #[test]
    fn what_the_user_types_matches_in_either_form() {
        assert!(Wire::from("/a\\b").is("/a\\b"));
        assert!(Wire::from("/\x01").is("/\\x01"));
        assert!(!Wire::from("/a").is("/ab"));
    }
}
