//! `city run`: the newcomer's door. Sets up what is missing, brings a City up, and walks through a lesson.

use std::process::ExitCode;

use crate::lab::{City, DEFAULT_NAME, Lifetime, NONE_IS_UP, UpOptions, environment};
use crate::lesson::on_city::OnCity;
use crate::lesson::session::Session;
use crate::lesson::tour::Tour;
use crate::lesson::{interrupt, shelf};
use crate::machine::{needs, progress};
use crate::paths;
use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The City, where several are up; without any, one is brought up for as long as this runs
    #[arg(long)]
    name: Option<String>,
    /// Which lesson: 6, 06 or 06_simple_forward
    #[arg(value_name = "NN")]
    lesson: String,
    /// In the Docker City
    #[arg(long)]
    docker: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    if args.docker {
        return Err(Trouble::new("`run --docker` comes with a later version")
            .remedy("without it, the lesson runs in a local City")
            .status(2));
    }
    let repository = paths::repository()?;
    let lessons = shelf::read(&repository, &[args.lesson])?;
    needs::provide()?;
    let session = Session::open(&repository)?;
    println!(
        "Building {}; the first time takes a few minutes, for Pingora is built as well.",
        lessons[0].name
    );
    session.build(&lessons)?;
    let city = match City::find(args.name.as_deref()) {
        Ok(city) => city,
        Err(none) if none.status == NONE_IS_UP => {
            progress::while_it_takes("bringing a City up", || City::up(&own_city()))?
        }
        Err(trouble) => return Err(trouble),
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
