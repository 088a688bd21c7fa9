//! `city run`: the newcomer's door. Sets up what is missing, brings a City up, and walks through a lesson.

use std::process::ExitCode;

use super::which::Which;
use crate::lab::{City, DEFAULT_NAME, Lifetime, NONE_IS_UP, UpOptions, environment};
use crate::lesson::on_city::OnCity;
use crate::lesson::session::Session;
use crate::lesson::tour::Tour;
use crate::lesson::{interrupt, shelf};
use crate::machine::{needs, progress};
use crate::paths;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Which lesson: 6, 06 or 06_simple_forward
    #[arg(value_name = "NN")]
    lesson: String,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    let lessons = shelf::read(&repository, &[args.lesson])?;
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
    println!(
        "Building {}; the first time takes a few minutes, for Pingora is built as well.",
        lessons[0].name
    );
    session.build(&lessons)?;
    drop(session);
    let city = match found {
        Some(city) => city,
        None => progress::while_it_takes("bringing a City up", || City::up(&own_city()))?,
    };
    println!("The City '{}' is up. Walk around in it with: cargo city shell client1", city.name);
    let shims = environment::tools(&city.folder);
    let stage = OnCity { city: &city, repository: &repository, shims: &shims };
    let up = Tour::new(&lessons[0], &city, &stage).walk();
    let interrupted = interrupt::raised();
    city.leave()?;
    match up? {
        true => Ok(ExitCode::SUCCESS),
        false if interrupted => Ok(ExitCode::from(interrupt::STATUS)),
        false => Ok(ExitCode::FAILURE),
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
