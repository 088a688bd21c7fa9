//! Bringing the containers up and down with Compose, and what may be in the way.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::{Docker, NETWORK, engine, hosts, rooms, settings};
use crate::lab::City;
use crate::lesson::interrupt;
use crate::map::{GATEWAY, HOSTS, PREFIX};
use crate::trouble::{OrTrouble, Result, Trouble};

/// What Compose marks its containers with: the folder of the compose file.
pub const LABEL: &str = "com.docker.compose.project.working_dir";
/// The same: the name of the project.
const PROJECT: &str = "com.docker.compose.project";
/// The images that are built here, and what each is made for.
const IMAGES: [&str; 3] = ["pingora-city/upstream", "pingora-city/advanced", "pingora-city/dev"];
/// The images that they are built on.
const BASES: [&str; 2] = ["debian:bookworm-slim", "rust:1-bookworm"];
/// How long the containers may take until all of them are healthy.
const HEALTHY: Duration = Duration::from_secs(90);
/// How often they are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Compose as this machine has it: v2 as a part of docker, or the older program.
pub fn compose() -> Result<Command> {
    for words in [&["docker", "compose"][..], &["docker-compose"]] {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let answers = Command::new(words[0]).args(&words[1..]).arg("version").stdin(Stdio::null()).output();
        if answers.is_ok_and(|output| output.status.success()) {
            return Ok(command);
        }
    }
    Err(Trouble::new("there is neither `docker compose` nor docker-compose")
        .remedy("install one: https://docs.docker.com/compose/install/"))
}

/// Whether the Docker City could be brought up here, and with what.
pub fn look(repository: &Path) -> Result<String> {
    let engine = engine::said(["version", "--format", "{{.Server.Version}}"])?;
    let output = engine::output(compose()?.args(["version", "--short"]))?;
    taken_containers(repository)?;
    taken_subnet()?;
    Ok(format!("Docker engine {engine}, Compose {}", String::from_utf8_lossy(&output.stdout).trim()))
}

/// Brings the City up, building its images first if they are missing or older than what they are made of, and
/// returns when every container is healthy.
pub fn up(repository: &Path) -> Result<City> {
    engine::said(["version", "--format", "{{.Server.Version}}"])?;
    compose()?;
    crate::certs::ensure(repository)?;
    settings::write(repository)?;
    taken_containers(repository)?;
    taken_subnet()?;
    if is_stale(repository) {
        build(repository)?;
    }
    interrupt::watch()?;
    let up = start(repository);
    let folder = settings::folder(repository);
    if interrupt::raised() {
        down(&folder)?;
        return Err(interrupt::trouble());
    }
    up?;
    Ok(City::in_docker(folder, Docker::default()))
}

fn start(repository: &Path) -> Result {
    let mut command = compose()?;
    let output = engine::output(command.args(["up", "--detach"]).current_dir(repository))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    until_healthy()
}

/// Builds the images, and the two below them where no registry is reachable.
fn build(repository: &Path) -> Result {
    if !BASES.iter().chain(&IMAGES).all(|image| exists(image)) {
        println!("Building the images of the Docker City: some minutes, once.");
    }
    if !BASES.iter().all(|image| exists(image)) {
        let status = Command::new(repository.join("scripts/base-images.sh")).stdin(Stdio::null()).status();
        if !status.or_trouble(|| "cannot start scripts/base-images.sh".into())?.success() {
            return Err(Trouble::new("the images that the City's are built on cannot be had")
                .remedy("scripts/base-images.sh says why, above"));
        }
    }
    let mut command = compose()?;
    // The classic builder keeps the container of a step that failed; BuildKit has none, and takes the flag.
    let output = engine::output(command.args(["build", "--force-rm"]).current_dir(repository))?;
    if output.status.success() {
        return fs::write(stamp(repository), "").or_trouble(|| "cannot note that images were built".into());
    }
    let log = [output.stdout, output.stderr].concat();
    Err(build_failed(repository, &String::from_utf8_lossy(&log)))
}

fn build_failed(repository: &Path, log: &str) -> Trouble {
    let path = repository.join("target/docker-build.log");
    // The builder paints what goes wrong red.
    let log = &*console::strip_ansi_codes(log);
    let _ = fs::write(&path, log);
    let unreachable =
        ["Could not resolve", "Temporary failure resolving", "Failed to fetch", "failed to download"];
    if let Some(line) = log.lines().find(|line| unreachable.iter().any(|word| line.contains(word))) {
        return Trouble::new(format!("the images cannot be built without a network: {}", line.trim()))
            .remedy("containers must reach Debian's packages and crates.io while images are built");
    }
    if log.contains("self-signed certificate") || log.contains("SSL certificate problem") {
        return Trouble::new("a container does not trust this network's certificate authority")
            .remedy("remove the two base images and run scripts/base-images.sh, which hands it on");
    }
    Trouble::new("the images do not build").remedy(format!("the whole story is in {}", path.display()))
}

fn exists(image: &str) -> bool {
    engine::said(["image", "inspect", "--format", "{{.Id}}", image]).is_ok()
}

/// Whether an image is missing, or something that it is made of has changed since it was made.
fn is_stale(repository: &Path) -> bool {
    let mut args = vec!["image", "inspect", "--format", "{{.Created}}"];
    args.extend(IMAGES);
    let Ok(created) = engine::said(args) else { return true };
    let built = created.lines().filter_map(|line| humantime::parse_rfc3339(line.trim()).ok()).min();
    let sources = ["city", "docker", "Cargo.lock", "Cargo.toml"];
    let changed = sources.iter().filter_map(|name| newest(&repository.join(name))).max();
    // A build that changes nothing leaves the images as old as they were: this is remembered.
    let seen = fs::metadata(stamp(repository)).and_then(|about| about.modified()).ok();
    match (built.max(seen), changed) {
        (Some(built), Some(changed)) => changed > built,
        _ => true,
    }
}

fn stamp(repository: &Path) -> std::path::PathBuf {
    settings::folder(repository).join("built")
}

fn newest(path: &Path) -> Option<SystemTime> {
    let about = fs::metadata(path).ok()?;
    if !about.is_dir() {
        return about.modified().ok();
    }
    fs::read_dir(path).ok()?.flatten().filter_map(|entry| newest(&entry.path())).max()
}

/// Another clone's City, or somebody's container of the same name.
fn taken_containers(repository: &Path) -> Result {
    let containers = HOSTS.iter().map(|host| host.container).chain(["pingora_nowhere"]);
    let about = hosts::inspect(containers)?;
    let ours = fs::canonicalize(repository).unwrap_or_else(|_| repository.to_owned());
    for (name, about) in &about {
        match about["Config"]["Labels"][LABEL].as_str() {
            Some(folder) if fs::canonicalize(folder).is_ok_and(|folder| folder == ours) => {}
            Some(folder) if Path::new(folder).is_dir() => {
                return Err(Trouble::new(format!("the container {name} belongs to the City of {folder}"))
                    .remedy(format!("take that one down: (cd {folder} && cargo city down --docker)")));
            }
            Some(folder) => {
                return Err(Trouble::new(format!("the container {name} is left of {folder}, which is gone"))
                    .remedy("clear what is left: cargo city down --docker"));
            }
            None => {
                return Err(Trouble::new(format!("there is a container {name} that is not the City's"))
                    .remedy(format!("remove or rename it: docker rm --force {name}")));
            }
        }
    }
    Ok(())
}

/// A network of somebody else's that has addresses of the City's.
fn taken_subnet() -> Result {
    let ids = engine::said(["network", "ls", "--quiet"])?;
    let about = engine::said(["network", "inspect"].into_iter().chain(ids.lines()))?;
    let Ok(Value::Array(networks)) = serde_json::from_str(&about) else { return Ok(()) };
    for network in &networks {
        let name = network["Name"].as_str().unwrap_or_default();
        let configs = network["IPAM"]["Config"].as_array().into_iter().flatten();
        let subnets = configs.filter_map(|config| config["Subnet"].as_str());
        if let Some(subnet) = subnets.into_iter().find(|subnet| overlaps(subnet))
            && name != NETWORK
        {
            return Err(Trouble::new(format!(
                "the Docker network '{name}' has {subnet}, and the City needs 172.28.0.0/{PREFIX}"
            ))
            .remedy(format!("remove it, if it is not needed: docker network rm {name}")));
        }
    }
    Ok(())
}

/// Whether a subnet shares an address with the City's.
fn overlaps(subnet: &str) -> bool {
    let Some((address, length)) = subnet.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<Ipv4Addr>(), length.parse::<u8>()) else { return false };
    let shift = u32::from(32 - length.min(PREFIX).min(32));
    let network = |address: Ipv4Addr| u32::from(address).checked_shr(shift).unwrap_or(0);
    network(address) == network(GATEWAY)
}

/// What Compose complains of, in one line.
fn failed(stderr: &str) -> Trouble {
    if stderr.contains("Pool overlaps with other one") {
        return Trouble::new("another network has addresses of 172.28.0.0/24")
            .remedy("`docker network ls` and `ip route` show which; remove it, or take it down");
    }
    if stderr.contains("is unhealthy") {
        return until_healthy().err().unwrap_or_else(|| engine::complaint(stderr));
    }
    engine::complaint(stderr)
}

/// Waits until the health checks of all containers succeed.
fn until_healthy() -> Result {
    let all: Vec<&str> = HOSTS.iter().map(|host| host.container).chain(["pingora_nowhere"]).collect();
    let deadline = Instant::now() + HEALTHY;
    loop {
        let about = hosts::inspect(all.iter().copied())?;
        let ill = all.iter().find(|name| !about.get(**name).is_some_and(hosts::is_healthy));
        let Some(ill) = ill else { return Ok(()) };
        if interrupt::raised() {
            return Err(interrupt::trouble());
        }
        let restarts = about.get(*ill).and_then(|about| about["RestartCount"].as_u64()).unwrap_or_default();
        if restarts > 2 || Instant::now() > deadline {
            let last = hosts::last_words(ill);
            let name = hosts::host_of(ill).map_or("nowhere", |host| host.name);
            return Err(Trouble::new(format!("{name} does not get healthy: {last}"))
                .remedy(format!("docker logs {ill} says more")));
        }
        thread::sleep(LOOK);
    }
}

/// Takes the City down. The two caches stay; what hosts recorded does not.
pub fn down(folder: &Path) -> Result {
    rooms::close();
    let repository = folder.ancestors().nth(2).unwrap_or(folder);
    if !repository.is_dir() {
        return clear(repository);
    }
    let mut command = compose()?;
    if let Some(name) = project(repository)? {
        command.args(["--project-name", &name]);
    }
    command.args(["down", "--remove-orphans", "--timeout", "5"]).current_dir(repository);
    let output = engine::output(&mut command)?;
    if !output.status.success() {
        return Err(engine::complaint(&String::from_utf8_lossy(&output.stderr)));
    }
    for host in HOSTS {
        for entry in fs::read_dir(crate::paths::host(folder, host.name)).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
    Ok(())
}

/// What Compose calls this City. The folder's name, unless an editor brought it up: they have names of their own, and
/// to Compose that is another City.
fn project(repository: &Path) -> Result<Option<String>> {
    let ours = format!("label={LABEL}={}", repository.display());
    let format = format!("{{{{.Label \"{PROJECT}\"}}}}");
    let names = engine::said(["ps", "--all", "--filter", &ours, "--format", &format])?;
    Ok(names.lines().next().map(str::to_owned))
}

/// Takes down the City of a clone that is gone, and with it the file that Compose would read.
fn clear(repository: &Path) -> Result {
    let filter = format!("label={LABEL}={}", repository.display());
    let left = engine::said(["ps", "--all", "--quiet", "--filter", &filter])?;
    if !left.is_empty() {
        engine::said(["rm", "--force", "--volumes"].into_iter().chain(left.lines()))?;
    }
    let network = format!("name=^{NETWORK}$");
    if !engine::said(["network", "ls", "--quiet", "--filter", &network])?.is_empty() {
        engine::said(["network", "rm", NETWORK])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_overlap_when_one_holds_the_other() {
        for taken in ["172.28.0.0/24", "172.28.0.0/16", "172.16.0.0/12", "172.28.0.128/25", "0.0.0.0/0"] {
            assert!(overlaps(taken), "{taken}");
        }
        for free in ["172.28.1.0/24", "172.17.0.0/16", "fd00::/64", ""] {
            assert!(!overlaps(free), "{free}");
        }
    }

    #[test]
    fn a_build_without_a_network_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let log = "Step 2\n\x1b[91mE: Failed to fetch http://deb.debian.org/x  Temporary failure resolving\n";
        assert!(build_failed(folder.path(), log).to_string().contains("without a network: E: Failed"));
        assert!(build_failed(folder.path(), "error[E0425]").to_string().contains("docker-build.log"));
    }
}
