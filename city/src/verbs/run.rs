//! `city run`: the newcomer's door. Sets up what is missing, brings a City up, and walks through a lesson.

use std::process::ExitCode;

use super::status::amiss;
use super::which::Which;
use crate::lab::{City, DEFAULT_NAME, Lifetime, NONE_IS_UP, UpOptions, environment};
use crate::lesson::on_city::OnCity;
use crate::lesson::session::Session;
use crate::lesson::text::Lesson;
use crate::lesson::tour::Tour;
use crate::lesson::workshop::target;
use crate::lesson::{interrupt, shelf};
use crate::machine::{needs, progress};
use crate::paths;
use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Which lesson: 6, 06 or 06_simple_forward
    #[arg(value_name = "NN")]
    lesson: Option<String>,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    let Some(word) = args.lesson else {
        return Err(Trouble::new("no lesson is named")
            .remedy("`cargo city list` shows them; many begin with: cargo city run 06")
            .status(2));
    };
    let lessons = shelf::read(&repository, &[word])?;
    let lesson = &lessons[0];
    let found = match args.which.city() {
        Ok(city) => Some(city),
        Err(none) if none.status == NONE_IS_UP => None,
        Err(trouble) => return Err(trouble),
    };
    // The Docker City builds in dev, and so is needed before.
    let found = match found {
        None if args.which.is_docker() => {
            Some(progress::while_it_takes("bringing the Docker City up", City::up_in_docker)?)
        }
        found => found,
    };
    let in_docker = found.as_ref().filter(|city| city.docker().is_some());
    let session = match in_docker {
        Some(city) => Session::in_docker(&repository, city)?,
        None => {
            needs::provide()?;
            Session::open(&repository)?
        }
    };
    println!("{}\n{}\nIts text: {}\n", lesson.heading, lesson.about, lesson.file);
    let served = lesson.served();
    let program = served.split(' ').next().unwrap_or(&served);
    if !target(&repository).join(program).exists() {
        println!(
            "Building it first. That takes some minutes once, for Pingora and OpenSSL are built as well."
        );
    }
    session.build(&lessons)?;
    drop(session);
    let city = match found {
        Some(city) => city,
        None => progress::while_it_takes("bringing a City up", || City::up_or_join(&own_city()))?,
    };
    println!("The City '{}' is up. Walk around in it with: cargo city shell client1", city.name);
    // What is left of another lesson would show in this one, as if it were this one's.
    for line in amiss(&city)? {
        println!("Mind that {line}");
    }
    refuse_taken_ports(&city, lesson)?;
    let shims = environment::tools(&city.folder);
    let stage = OnCity { city: &city, repository: &repository, shims: &shims };
    let up = Tour::new(lesson, &city, &stage).walk();
    let interrupted = interrupt::raised();
    let name = city.name.clone();
    let left = amiss(&city).unwrap_or_default();
    match city.leave()? {
        true => println!("The City '{name}' is down."),
        false if left.is_empty() => println!("The City '{name}' stays up."),
        false => println!("The City '{name}' stays up, but {}.", left.join(",\nand ")),
    }
    match up? {
        true => Ok(ExitCode::SUCCESS),
        false if interrupted => Ok(ExitCode::from(interrupt::STATUS)),
        false => Ok(ExitCode::FAILURE),
    }
}

/// What listens on the lesson's ports already would answer in its place, and nobody would notice.
fn refuse_taken_ports(city: &City, lesson: &Lesson) -> Result {
    let open = city.listening("dev")?;
    match lesson.header.ports.iter().find(|port| open.contains(port)) {
        None => Ok(()),
        Some(port) => {
            Err(Trouble::new(format!("something listens on port {port} of dev already")).remedy(format!(
                "end it, perhaps with: cargo city exec dev pkill {}",
                lesson.name.get(..15).unwrap_or(&lesson.name)
            )))
        }
    }
}

fn own_city() -> UpOptions {
    UpOptions {
        name: DEFAULT_NAME.into(),
        conf: None,
        nginx: false,
        lifetime: Lifetime::Owner,
        private: false,
    }
}
