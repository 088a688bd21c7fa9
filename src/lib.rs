//! Pingora City's gateway: the library that the course leads to. The program `gateway` is a thin layer over it.
//!
//! # Map
//!
//! | module | what it owns |
//! |---|---|
//! | [`config`] | from YAML to a validated [`config::Config`]; schema; diagnostics with places and remedies |
//! | [`wire`] | what HTTP asks of a proxy: the shape of requests, headers that end at each hop |
//! | [`route`] | normalized paths; from a request to its route |
//! | [`upstream`] | servers, balancing, health, how to connect |
//! | [`middleware`] | the trait for policies, their registry, the chain of a route, and the kinds that come along |
//! | [`listen`] | addresses and connections, before there is a request |
//! | [`tls`] | certificates and keys for both sides |
//! | [`observe`] | the log and the access log, and to come: metrics, traces |
//! | [`context`] | what one request remembers from phase to phase |
//! | [`state`] | the compiled configuration, swapped as a whole |
//! | [`gateway`] | Pingora's phases as a table of contents |
//! | [`phases`] | the same, in the form in which Pingora calls them |
//! | [`switching`] | requests that want to speak another protocol |
//! | [`faults`] | whose fault it is when an exchange fails, and whether it is tried again |
//! | [`rescue`] | from errors to answers, the only place |
//! | [`server`] | assembly |
//! | [`upkeep`] | beside requests: the log's writer, and when to leave |
//! | [`builder`] | the gateway as a library |
//!
//! # A request
//!
//! ```text
//! listen ─► gateway::receive        ─► wire::head::check ─► route::normalized_target ─► route::Router::find ─► the chain's policies
//!               upstream_peer       ─► upstream::Upstream::pick ─► InFlight::peer
//!               …                      each further phase: the chain's policies, if any declares it
//!               fail_to_proxy       ─► rescue::answer
//! ```
//!
//! A request loads the [`state::State`] once and keeps its route until it ends, so a reload never changes a
//! request under way. The configuration, and what only it needs, is out of sight by then.
//!
//! # From the configuration to that
//!
//! [`config::Config::load`] → [`state::State::new`] → [`gateway::Gateway`], put together in [`server::run`].

pub mod builder;
pub mod config;
pub mod context;
pub mod faults;
pub mod gateway;
pub mod listen;
pub mod middleware;
pub mod observe;
pub mod phases;
pub mod rescue;
pub mod route;
pub mod server;
pub mod state;
pub mod switching;
pub mod tls;
pub mod upkeep;
pub mod upstream;
pub mod wire;
