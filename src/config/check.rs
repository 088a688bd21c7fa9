//! What validation finds, and where in a document it is.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::diagnostic::{Diagnostic, Place};
use super::document::Document;
use super::pointer::{escape, is_within};

/// Collects what validation finds, all of it.
#[derive(Debug)]
pub struct Check<'d> {
    document: &'d Document,
    /// Values of which it was said already that they are wrong. Something else stands in their place.
    doubtful: BTreeSet<String>,
    /// Whether somebody only asks what it means.
    asks: bool,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'d> Check<'d> {
    /// Nothing is known to be wrong yet, but for the values at these pointers.
    pub fn new(document: &'d Document, doubtful: BTreeSet<String>) -> Check<'d> {
        Check { document, doubtful, asks: false, found: RefCell::default() }
    }

    /// For somebody who is not going to serve with it, and so needs none of the rights that this takes.
    pub fn for_who_asks(self, asks: bool) -> Check<'d> {
        Check { asks, ..self }
    }

    /// The whole document.
    pub fn root(&self) -> At<'_> {
        At { check: self, pointer: String::new() }
    }

    /// What was found.
    pub fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// A value that is being validated: where it is, and how to say that it is wrong.
///
/// Validation goes down with [`At::key`] and [`At::index`], as the value does, and reports without returning:
/// one error must not hide the next.
#[derive(Clone, Debug)]
pub struct At<'c> {
    check: &'c Check<'c>,
    pointer: String,
}

impl<'c> At<'c> {
    /// Whether somebody only asks what the configuration means.
    pub fn asks(&self) -> bool {
        self.check.asks
    }

    /// The value under a key of this one.
    pub fn key(&self, key: &str) -> At<'c> {
        At { check: self.check, pointer: format!("{}/{}", self.pointer, escape(key)) }
    }

    /// An item of this list.
    pub fn index(&self, index: usize) -> At<'c> {
        At { check: self.check, pointer: format!("{}/{index}", self.pointer) }
    }

    /// The value is wrong: what is, and what to do. Neither quotes the value (see [`super::diagnostic`]).
    pub fn error(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.report(self.place(), message, fix);
    }

    /// The key is wrong, or what is wrong is that it is there.
    pub fn error_at_key(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.report(self.check.document.place_of_key(&self.pointer), message, fix);
    }

    /// Whether all of the value is as it was written. If not, what is wrong was said: comparing it with others
    /// would be no use.
    pub fn is_sound(&self) -> bool {
        let doubtful = &self.check.doubtful;
        !self.is_doubtful() && !doubtful.iter().any(|doubtful| is_within(doubtful, &self.pointer))
    }

    /// Whether something else stands in its place, or nothing, because of a mistake that was said.
    pub fn is_doubtful(&self) -> bool {
        self.check.doubtful.iter().any(|doubtful| is_within(&self.pointer, doubtful))
    }

    /// Where this value stands, for a message about another one: the line, if that is in the same text.
    pub fn seen_from(&self, other: &At<'_>) -> String {
        let place = self.place();
        let Some(source) = self.check.document.sources.get(place.source) else { return String::new() };
        let (name, line, column) = source.position(&place.span);
        match place.source == other.place().source {
            true => format!(" (line {line})"),
            false => format!(" ({name}:{line}:{column})"),
        }
    }

    /// Where the value was written.
    pub fn place(&self) -> Place {
        self.check.document.place_of(&self.pointer)
    }

    fn report(&self, place: Place, message: impl Into<String>, fix: impl Into<String>) {
        if self.is_doubtful() {
            return;
        }
        let document = self.check.document;
        // A remedy may be made of the value.
        let fix = match document.name_of(&self.pointer) {
            Some(name) => format!("correct what {name} stands for"),
            None => fix.into(),
        };
        let diagnostic = Diagnostic { place, message: message.into(), fix };
        self.check.found.borrow_mut().push(document.conceal(&self.pointer, diagnostic));
    }
}
