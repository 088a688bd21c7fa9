//! Lessons: their text, parsed; its commands, run; what they print, compared.
