//! The machine around the City: what building needs, what may be wrong with it, and what it measures.

pub mod doctor;
pub mod needs;
pub mod progress;
