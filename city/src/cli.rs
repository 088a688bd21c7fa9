//! The verbs of the tool and what is said of each in `--help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::trouble::Result;
use crate::verbs;

/// The City: a lab network for learning Pingora, and the tool that runs and verifies the lessons in it.
#[derive(Debug, Parser)]
#[command(name = "cargo city", bin_name = "cargo city", version, disable_help_subcommand = true)]
#[command(propagate_version = false, infer_subcommands = false, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring the City up, print its map, and wait until every service answers
    #[command(name = "up")]
    Up(verbs::up::Args),
    /// Take a City down; nothing of it is left
    #[command(name = "down")]
    Down(verbs::down::Args),
    /// Show hosts, addresses, services and their health
    #[command(name = "status")]
    Status(verbs::status::Args),
    /// Run a command on a host, as docker exec would
    #[command(name = "exec")]
    Exec(verbs::exec::Args),
    /// Open a shell on a host
    #[command(name = "shell")]
    Shell(verbs::shell::Args),
    /// End the services of a host and take its link down, as docker stop would
    #[command(name = "stop")]
    Stop(verbs::stop::Args),
    /// Bring a stopped host back
    #[command(name = "start")]
    Start(verbs::start::Args),
    /// Freeze the processes of a host: its TCP stack still answers, nothing else does
    #[command(name = "pause")]
    Pause(verbs::pause::Args),
    /// Let a paused host go on
    #[command(name = "unpause")]
    Unpause(verbs::unpause::Args),
    /// Take the link of a host down; its processes go on
    #[command(name = "unplug")]
    Unplug(verbs::unplug::Args),
    /// Put the link of a host back
    #[command(name = "plug")]
    Plug(verbs::plug::Args),
    /// Make blue or green misbehave until `heal`
    #[command(name = "break")]
    Break(verbs::break_host::Args),
    /// Undo every `break`
    #[command(name = "heal")]
    Heal(verbs::heal::Args),
    /// Show or change the zone of the City's DNS
    #[command(name = "dns")]
    Dns(verbs::dns::Args),
    /// Show the requests that an upstream really received
    #[command(name = "journal")]
    Journal(verbs::journal::Args),
    /// Wait until a condition holds
    #[command(name = "wait-for")]
    WaitFor(verbs::wait_for::Args),
    /// Make a port of dev reachable from this machine, on loopback
    #[command(name = "forward")]
    Forward(verbs::forward::Args),
    /// Send steady requests, and count what comes back by status and by server
    #[command(name = "load")]
    Load(verbs::load::Args),
    /// List the lessons, with what was verified last
    #[command(name = "list")]
    List(verbs::list::Args),
    /// Show the next lesson that has not been verified, and how to read, run and verify it
    #[command(name = "next")]
    Next(verbs::next::Args),
    /// Put an example back as the course has it; your version is kept
    #[command(name = "reset")]
    Reset(verbs::reset::Args),
    /// Make the book of all lessons, and show it on loopback
    #[command(name = "book")]
    Book(verbs::book::Args),
    /// Set up what is missing, run a lesson in dev with its log in view, and show what to try
    #[command(name = "run")]
    Run(verbs::run::Args),
    /// Run the commands printed in lessons and compare what they print
    #[command(name = "verify")]
    Verify(verbs::verify::Args),
    /// Verify a lesson again on every save
    #[command(name = "watch")]
    Watch(verbs::watch::Args),
    /// Check that every verification can fail, and that names, ports, files and indexes agree
    #[command(name = "dev-check")]
    DevCheck(verbs::dev_check::Args),
    /// Bring code, indexes and the map of hooks in the texts up to date with the examples; check links
    #[command(name = "sync")]
    Sync(verbs::sync::Args),
    /// Measure how fast a City comes up, what it weighs, and what verify adds
    #[command(name = "bench")]
    Bench(verbs::bench::Args),
    /// Make the City's certificate authority and all certificates in conf/keys/
    #[command(name = "certs")]
    Certs(verbs::certs::Args),
    /// Install what this machine lacks for building the course, or name it
    #[command(name = "setup")]
    Setup(verbs::setup::Args),
    /// Check toolchain, ports, namespaces, Docker and stale Cities; one line each, with the fix
    #[command(name = "doctor")]
    Doctor(verbs::doctor::Args),
    /// Set up, then run the whole test suite
    #[command(name = "test")]
    Test(verbs::test::Args),
    /// Call a gRPC service (run it on a host of the City)
    #[command(name = "grpc")]
    Grpc(verbs::grpc::Args),
    /// Send bytes exactly as given, in given pieces (run it on a host of the City)
    #[command(name = "raw")]
    Raw(verbs::raw::Args),
    /// Talk to a WebSocket server (run it on a host of the City)
    #[command(name = "ws")]
    Ws(verbs::ws::Args),
    /// Run the services of one host, here and in the foreground
    #[command(name = "service", hide = true)]
    Service(verbs::service::Args),
    /// The first process of a local City
    #[command(name = "keeper", hide = true)]
    Keeper(verbs::keeper::Args),
    /// What listens on this host: a container's health check
    #[command(name = "listening", hide = true)]
    Listening(verbs::listening::Args),
    /// What scripts/cargo-runner hands an example to
    #[command(name = "run-example", hide = true)]
    RunExample(verbs::run_example::Args),
    /// What dev-check puts in an example's place
    #[command(name = "stand-in", hide = true)]
    StandIn(verbs::stand_in::Args),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<ExitCode> {
        if !self.verb.writes_to_sockets() {
            end_with_the_reader();
        }
        match self.verb {
            Verb::Up(args) => verbs::up::run(args),
            Verb::Down(args) => verbs::down::run(args),
            Verb::Status(args) => verbs::status::run(args),
            Verb::Exec(args) => verbs::exec::run(args),
            Verb::Shell(args) => verbs::shell::run(args),
            Verb::Stop(args) => verbs::stop::run(args),
            Verb::Start(args) => verbs::start::run(args),
            Verb::Pause(args) => verbs::pause::run(args),
            Verb::Unpause(args) => verbs::unpause::run(args),
            Verb::Unplug(args) => verbs::unplug::run(args),
            Verb::Plug(args) => verbs::plug::run(args),
            Verb::Break(args) => verbs::break_host::run(args),
            Verb::Heal(args) => verbs::heal::run(args),
            Verb::Dns(args) => verbs::dns::run(args),
            Verb::Journal(args) => verbs::journal::run(args),
            Verb::WaitFor(args) => verbs::wait_for::run(args),
            Verb::Forward(args) => verbs::forward::run(args),
            Verb::Listening(args) => verbs::listening::run(args),
            Verb::Load(args) => verbs::load::run(args),
            Verb::List(args) => verbs::list::run(args),
            Verb::Next(args) => verbs::next::run(args),
            Verb::Reset(args) => verbs::reset::run(args),
            Verb::Book(args) => verbs::book::run(args),
            Verb::Run(args) => verbs::run::run(args),
            Verb::Verify(args) => verbs::verify::run(args),
            Verb::Watch(args) => verbs::watch::run(args),
            Verb::DevCheck(args) => verbs::dev_check::run(args),
            Verb::Sync(args) => verbs::sync::run(args),
            Verb::Bench(args) => verbs::bench::run(args),
            Verb::Certs(args) => verbs::certs::run(args),
            Verb::Setup(args) => verbs::setup::run(args),
            Verb::Doctor(args) => verbs::doctor::run(args),
            Verb::Test(args) => verbs::test::run(args),
            Verb::Grpc(args) => verbs::grpc::run(args),
            Verb::Raw(args) => verbs::raw::run(args),
            Verb::Ws(args) => verbs::ws::run(args),
            Verb::Service(args) => verbs::service::run(args),
            Verb::Keeper(args) => verbs::keeper::run(args),
            Verb::RunExample(args) => verbs::run_example::run(args),
            Verb::StandIn(args) => verbs::stand_in::run(args),
        }
    }
}

impl Verb {
    /// Whether a broken pipe may be a client's or an upstream's, which is no reason to end.
    fn writes_to_sockets(&self) -> bool {
        match self {
            Verb::Keeper(_)
            | Verb::Service(_)
            | Verb::StandIn(_)
            | Verb::Forward(_)
            | Verb::Book(_)
            | Verb::Grpc(_)
            | Verb::Load(_)
            | Verb::Raw(_)
            | Verb::Ws(_) => true,
            Verb::DevCheck(args) => args.makes_noise(),
            _ => false,
        }
    }
}

/// What only prints ends when its reader has seen enough (`| head`), as other programs do. Rust would have it
/// panic instead.
fn end_with_the_reader() {
    use nix::sys::signal::{SigHandler, Signal, signal};

    // SAFETY: the default action runs no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}
