//! The Docker City: the same hosts as containers, made by `docker-compose.yml`.
//!
//! To everything above, it is one more [`City`](super::City), whose name is always `docker`. What its hosts
//! record and are told stands in files as in a local City: each container sees a folder of the machine. What
//! is done to a host is asked of the engine instead of a keeper, by way of the `docker` program, which knows
//! how to reach the engine on every system.
//!
//! ```text
//! engine   calling docker, and what its complaints mean
//! compose  up and down, and what is in the way           settings: .env, for docker-compose.yml
//! hosts    how a container is; stop, pause, unplug       exec: a command in a container, with its signals
//! rooms    dev and the clients as one lesson's verification sees them
//! ```

pub mod compose;
pub mod engine;
pub mod exec;
pub mod hosts;
pub mod rooms;
pub mod settings;

use std::env;
use std::path::{Path, PathBuf};

use super::{City, NONE_IS_UP};
use crate::paths;
use crate::trouble::{Result, Trouble};

/// The name of the Docker City; a machine has one.
pub const NAME: &str = "docker";
/// Its network.
pub const NETWORK: &str = "pingora_net";
/// Says that commands on dev and the clients are those of a verification: see `rooms`.
const IN_ROOMS: &str = "CITY_ROOMS";

/// What is particular about a City that is the Docker one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Docker {
    /// This process brought it up for its own use.
    pub owned: bool,
    /// Commands on dev and the clients run in the rooms of a verification.
    pub rooms: bool,
}

/// The Docker City, if its containers exist.
pub fn find() -> Result<City> {
    // On one of its own hosts there is no engine to ask, but the files of state may be at hand.
    if env::var_os("CITY_HOST").is_some() {
        let Some(root) = env::var_os("CITY_STATE_ROOT") else {
            return Err(
                Trouble::new("this host does not see the others'").remedy("run it on dev, or on the machine")
            );
        };
        return Ok(City::in_docker(PathBuf::from(root).join(NAME), Docker::default()));
    }
    match whose()? {
        None => Err(Trouble::new("the Docker City is not up")
            .remedy("bring it up with: cargo city up --docker")
            .status(NONE_IS_UP)),
        Some(folder) => {
            let rooms = env::var_os(IN_ROOMS).is_some();
            Ok(City::in_docker(settings::folder(Path::new(&folder)), Docker { owned: false, rooms }))
        }
    }
}

/// Whether the Docker City exists, for somebody who named no City: only a clone that was set up for it, on a
/// machine whose engine answers, has one. Who keeps Cities in a folder of his own means one of those.
pub fn is_there() -> bool {
    ["CITY_HOST", "CITY_STATE_ROOT"].iter().all(|name| env::var_os(name).is_none())
        && paths::repository().is_ok_and(|repository| settings::is_set_up(&repository))
        && whose().is_ok_and(|folder| folder.is_some())
}

/// The clone that the containers belong to, if there are any: one that came up only in part is one, too.
fn whose() -> Result<Option<String>> {
    let format = format!("{{{{.Label \"{}\"}}}}", compose::LABEL);
    let names = crate::map::HOSTS.iter().map(|host| format!("name=^/?{}$", host.container));
    let filters = names.flat_map(|name| ["--filter".to_owned(), name]);
    let ours = ["ps", "--all", "--format", &format].map(str::to_owned).into_iter().chain(filters);
    Ok(engine::said(ours)?.lines().find(|folder| !folder.is_empty()).map(str::to_owned))
}

/// The container that is a host of this City.
pub fn container(city: &Docker, host: &str) -> Result<String> {
    let host = crate::map::host(host)?;
    let room = city.rooms && rooms::HOSTS.contains(&host.name);
    Ok(if room { rooms::name(host) } else { host.container.to_owned() })
}

/// Has a command of this tool see the same City as this process does.
pub fn tell(city: &Docker, command: &mut std::process::Command) {
    if city.rooms {
        command.env(IN_ROOMS, "1");
    }
}
