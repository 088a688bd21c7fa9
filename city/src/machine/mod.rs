//! The machine around the City: what building needs, and what may be wrong with it.

pub mod progress;
