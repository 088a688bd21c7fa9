//! Where a lesson's commands run: a City, or in tests something that looks like one.

use std::process::Command;

use super::console::Place;
use crate::trouble::Result;

/// What playing a lesson needs of the place in which it is played.
pub trait Stage {
    /// A command that runs one line of a lesson in a bash of its own, in the repository's root.
    fn command(&self, place: Place, line: &str) -> Command;

    /// The TCP ports on which something listens there.
    fn listening(&self, place: Place) -> Result<Vec<u16>>;

    /// What each upstream has recorded since the lesson began, one line a request.
    fn journals(&self) -> Vec<(String, Vec<String>)>;
}
