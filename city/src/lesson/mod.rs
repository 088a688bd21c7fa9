//! Lessons: their text, parsed; its commands, run; what they print, compared.
//!
//! | file | what it does |
//! |---|---|
//! | `text`, `console`, `header` | Markdown to steps, blocks of code and hidden settings |
//! | `shelf` | which lessons there are, in which modules |
//! | `compare` | shown against printed, with `[..]` and `...` |
//! | `program` | what a lesson runs: its example, or the gateway |
//! | `stage`, `on_city` | where a lesson is played: a City, or in tests this machine |
//! | `process`, `interrupt`, `nap`, `play` | its steps, run one after another until one fails or the user stops them |
//! | `report`, `hint` | what a learner reads when a step fails |
//! | `session`, `pool` | many lessons at once: built together, played side by side |
//! | `workshop` | the `cargo` and the `city` that a lesson's commands find, and their copies of `conf/` |
//! | `progress` | what was verified last, and how it ended |
//! | `anchors`, `index`, `hooks`, `bless` | what is copied into lessons, README, SUMMARY and the map of hooks |
//! | `book` | all texts as a book, made by mdBook |
//! | `links` | whether links lead somewhere, and to every lesson |
//! | `negative`, `agreement`, `ends` and its `noise` | the three parts of `dev-check` |
//! | `tour` | a lesson run for somebody who watches, command by command |
//! | `condition` | what `wait-for` can wait for |

pub mod agreement;
pub mod anchors;
pub mod bless;
pub mod book;
pub mod compare;
pub mod condition;
pub mod console;
pub mod ends;
pub mod header;
pub mod hint;
pub mod hooks;
pub mod index;
pub mod interrupt;
pub mod links;
pub mod nap;
pub mod negative;
pub mod noise;
pub mod on_city;
pub mod play;
pub mod pool;
pub mod process;
pub mod program;
pub mod progress;
pub mod report;
pub mod session;
pub mod shelf;
pub mod stage;
pub mod text;
pub mod tour;
pub mod workshop;
