//! How the containers are, and what can be done to one of them.

use std::collections::HashMap;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{NETWORK, engine};
use crate::lab::City;
use crate::lab::control::{Action, HostStatus, State};
use crate::map::{self, HOSTS, Host};
use crate::trouble::{OrTrouble, Result, Trouble};

/// How often a container is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(200);
/// What `stop` gives a process before it is killed, as in a local City.
const PATIENCE: &str = "5";
/// How long a host may take to answer again.
const READY: Duration = Duration::from_secs(20);

/// What the engine says of the containers that exist, by their names.
pub fn inspect<'a>(containers: impl IntoIterator<Item = &'a str>) -> Result<HashMap<String, Value>> {
    let mut command = Command::new("docker");
    command.args(["inspect", "--type", "container"]).args(containers);
    let output = engine::output(&mut command)?;
    // For those that do not exist it complains, and tells of the others all the same.
    let Ok(Value::Array(all)) = serde_json::from_slice(&output.stdout) else {
        return Err(engine::complaint(&String::from_utf8_lossy(&output.stderr)));
    };
    if all.is_empty() && !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        if !stderr.contains("No such container") {
            return Err(engine::complaint(&stderr));
        }
    }
    let named = |about: Value| Some((about["Name"].as_str()?.trim_start_matches('/').to_owned(), about));
    Ok(all.into_iter().filter_map(named).collect())
}

/// Whether the health checks of a container succeed.
pub fn is_healthy(about: &Value) -> bool {
    about["State"]["Status"] == "running" && about["State"]["Health"]["Status"] == "healthy"
}

fn state(about: Option<&Value>) -> State {
    let Some(about) = about else { return State::Stopped };
    match about["State"]["Status"].as_str() {
        Some("paused") => State::Paused,
        Some("running") if about["NetworkSettings"]["Networks"].get(NETWORK).is_none() => State::Unplugged,
        Some("running") => State::Up,
        _ => State::Stopped,
    }
}

/// How each host is.
pub fn status(city: &City) -> Result<Vec<HostStatus>> {
    let about = inspect(HOSTS.iter().map(|host| host.container))?;
    HOSTS
        .iter()
        .map(|host| {
            let state = state(about.get(host.container));
            let running = matches!(state, State::Up | State::Unplugged);
            let open = if running && host.serves() { city.listening(host.name)? } else { Vec::new() };
            Ok(HostStatus {
                name: host.name.into(),
                state,
                listening: open.into_iter().filter(|port| host.tcp.contains(port)).collect(),
                processes: if running && !host.serves() { processes(host) } else { 0 },
            })
        })
        .collect()
}

/// The processes in a container, but for the two that keep it alive.
fn processes(host: &Host) -> usize {
    let table = engine::said(["top", host.container, "-eo", "pid,comm"]).unwrap_or_default();
    table.lines().skip(1).count().saturating_sub(2)
}

/// The TCP ports on which something listens in a container.
pub fn listening(host: &Host) -> Result<Vec<u16>> {
    let said = engine::said(["exec", host.container, "city", "listening"])
        .map_err(|trouble| not_up(host).unwrap_or(trouble))?;
    said.lines().map(|line| line.parse().or_trouble(|| format!("'{line}' is no port"))).collect()
}

/// Why no command can run on a host, if that is so.
pub fn not_up(host: &Host) -> Option<Trouble> {
    match state(inspect([host.container]).ok()?.get(host.container)) {
        State::Paused => Some(first(host, "paused", "unpause")),
        State::Stopped => Some(first(host, "stopped", "start")),
        State::Up | State::Unplugged => None,
    }
}

/// Does something to a host; says so if there was nothing to be done.
pub fn act(host: &Host, action: Action) -> Result<Option<String>> {
    let name = host.name;
    let about = inspect([host.container])?;
    let Some(about) = about.get(host.container) else {
        return Err(Trouble::new(format!("there is no container {}", host.container))
            .remedy("bring the City up again: cargo city up --docker"));
    };
    match (action, state(Some(about))) {
        (Action::Stop, State::Stopped) => return Ok(Some(format!("{name} is stopped already"))),
        (Action::Start, State::Up) => return Ok(Some(format!("{name} is up already"))),
        (Action::Unpause, State::Up) => return Ok(Some(format!("{name} is not paused"))),
        (Action::Plug, State::Up) => return Ok(Some(format!("{name} is plugged in already"))),
        (Action::Pause, State::Paused) => return Ok(Some(format!("{name} is paused already"))),
        (Action::Unplug, State::Unplugged) => return Ok(Some(format!("{name} is unplugged already"))),

        (Action::Stop, State::Up | State::Unplugged) => {
            engine::said(["stop", "--time", PATIENCE, host.container])?;
        }
        (Action::Start, State::Stopped) => {
            engine::said(["start", host.container])?;
            // One that was stopped while it was unplugged comes back without its link.
            if state(inspect([host.container])?.get(host.container)) == State::Unplugged {
                connect(host)?;
            }
            until_ready(host)?;
        }
        (Action::Pause, State::Up) => drop(engine::said(["pause", host.container])?),
        (Action::Unpause, State::Paused) => drop(engine::said(["unpause", host.container])?),
        (Action::Unplug, State::Up) => {
            engine::said(["network", "disconnect", NETWORK, host.container])?;
        }
        (Action::Plug, State::Unplugged) => {
            connect(host)?;
            until_ready(host)?;
        }
        (_, State::Paused) => return Err(first(host, "paused", "unpause")),
        (_, State::Stopped) => return Err(first(host, "stopped", "start")),
        (_, State::Unplugged) => return Err(first(host, "unplugged", "plug")),
    }
    Ok(None)
}

fn connect(host: &Host) -> Result {
    let address = host.address().to_string();
    engine::said(["network", "connect", "--ip", &address, NETWORK, host.container]).map(drop)
}

fn first(host: &Host, state: &str, verb: &str) -> Trouble {
    Trouble::new(format!("{} is {state}", host.name))
        .remedy(format!("first: cargo city {verb} {}", host.name))
}

/// Stops a host and starts it again.
pub fn restart(host: &Host) -> Result {
    engine::said(["restart", "--time", PATIENCE, host.container])?;
    until_ready(host)
}

/// Undoes every stop, pause and unplug.
pub fn all_up() -> Result {
    let about = inspect(HOSTS.iter().map(|host| host.container))?;
    for host in HOSTS {
        match state(about.get(host.container)) {
            State::Up => {}
            State::Stopped => drop(act(host, Action::Start)?),
            State::Paused => drop(act(host, Action::Unpause)?),
            State::Unplugged => drop(act(host, Action::Plug)?),
        }
    }
    Ok(())
}

/// Waits until a host's services listen.
fn until_ready(host: &Host) -> Result {
    let deadline = Instant::now() + READY;
    loop {
        let open = listening(host).unwrap_or_default();
        if host.tcp.iter().all(|port| open.contains(port)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let last = last_words(host.container);
            return Err(Trouble::new(format!("{} does not serve its ports: {last}", host.name)));
        }
        thread::sleep(LOOK);
    }
}

/// The last line that a container logged.
pub fn last_words(container: &str) -> String {
    let mut command = Command::new("docker");
    let output = engine::output(command.args(["logs", "--tail", "1", container]));
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    if text.is_empty() { "it said nothing".into() } else { text }
}

/// The host of a container.
pub fn host_of(container: &str) -> Option<&'static Host> {
    map::HOSTS.iter().find(|host| host.container == container)
}
