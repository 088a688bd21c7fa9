//! Pingora City: the library that the course leads to.
