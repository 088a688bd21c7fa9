//! What went wrong, said once, in one line: what, where, and what to do about it.

use std::error::Error;
use std::fmt;

/// The result of everything in this tool that can fail.
pub type Result<T = ()> = std::result::Result<T, Trouble>;

/// One failure as the user reads it: `what: cause; remedy`.
///
/// It deliberately does not implement [`Error`]: a `Trouble` is the last word, built where the context is
/// known, and is only ever printed.
#[derive(Debug)]
pub struct Trouble {
    what: String,
    cause: Option<String>,
    remedy: Option<String>,
    /// The exit status that belongs to it; 1 unless said otherwise.
    pub status: u8,
}

impl Trouble {
    /// A failure, in a few words that name the thing and the place.
    pub fn new(what: impl Into<String>) -> Trouble {
        Trouble { what: what.into(), cause: None, remedy: None, status: 1 }
    }

    /// The reason underneath, with its whole chain of sources.
    #[must_use]
    pub fn cause(mut self, error: impl Error) -> Trouble {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let more = error.to_string();
            // Many libraries repeat their source in their own message.
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            source = error.source();
        }
        self.cause = Some(text);
        self
    }

    /// What the user can do now, as an imperative.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Trouble {
        self.remedy = Some(remedy.into());
        self
    }

    /// The exit status for this failure.
    #[must_use]
    pub fn status(mut self, status: u8) -> Trouble {
        self.status = status;
        self
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

/// Turns any error into a [`Trouble`] where the context is known.
pub trait OrTrouble<T> {
    /// `what` names the thing that failed and where; the error itself follows it.
    fn or_trouble(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Error> OrTrouble<T> for std::result::Result<T, E> {
    fn or_trouble(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Trouble::new(what()).cause(error))
    }
}

/// The closest of `known` to a mistyped `word`, if one is near enough to suggest.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
