//! The texts of a configuration: a file, or all files of a folder that end in `.yaml` or `.yml`, by name.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Diagnostic, Error, Place, Source};

/// Far more than any configuration, and no device that never ends.
const LIMIT: u64 = 16 << 20;

/// Reads them. What of them is no text is the second list, and is replaced in the first.
pub fn read(path: &Path) -> Result<(Vec<Source>, Vec<Diagnostic>), Error> {
    let refused = |path: &Path, source: io::Error| Error::Read { path: path.to_path_buf(), source };
    let files = match path.is_dir() {
        false => vec![path.to_path_buf()],
        true => list(path).map_err(|error| refused(path, error))?,
    };
    let mut sources = Vec::new();
    let mut found = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let bytes = bytes(file).map_err(|error| refused(file, error))?;
        let (text, broken) = text(bytes);
        found.extend(broken.map(|(span, message)| Diagnostic {
            place: Place { source: index, span },
            message,
            fix: "save the file as UTF-8".to_string(),
        }));
        sources.push(Source { name: file.display().to_string(), text });
    }
    Ok((sources, found))
}

/// Hidden files are an editor's, or a system's that puts whole folders in place.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if yaml && !hidden && !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(io::Error::other("it is a folder without a file that ends in `.yaml`"));
    }
    files.sort();
    Ok(files)
}

fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::other("it is larger than 16 MiB, and so no configuration"));
    }
    Ok(bytes)
}

/// The text, and where and why it is none.
fn text(bytes: Vec<u8>) -> (String, Option<(std::ops::Range<usize>, String)>) {
    match String::from_utf8(bytes) {
        // A byte order mark says nothing in UTF-8.
        Ok(text) => (text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text), None),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let message = match bytes {
                [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "this is UTF-16, and not UTF-8".to_string(),
                _ => format!("the byte {:#04x} here is no UTF-8", bytes[at]),
            };
            // The replacement characters stand behind the place, and so do not move it.
            (String::from_utf8_lossy(bytes).into_owned(), Some((at..at + 3, message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_says_where() {
        for (bytes, span, says) in [
            (&b"a: b\nc: \xff\n"[..], 8..11, "0xff"),
            (b"a: \xc3", 3..6, "0xc3"),
            (b"\xff\xfea\0", 0..3, "UTF-16"),
        ] {
            let (text, broken) = text(bytes.to_vec());
            let (at, message) = broken.expect("it is no text");
            assert_eq!(at, span);
            assert!(text.get(at).is_some() && message.contains(says), "{message}");
        }
        assert_eq!(text("\u{feff}a: b".into()), ("a: b".to_string(), None));
    }
}
