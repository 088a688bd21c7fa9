//! `city bench`: how fast a City comes up and goes, and what it weighs.
//!
//! Figures for people, printed as medians. No test looks at them.

use std::process::ExitCode;

use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often each thing is measured
    #[arg(long, default_value_t = 10)]
    runs: usize,
}

#[cfg(not(target_os = "linux"))]
pub fn run(_args: Args) -> Result<ExitCode> {
    Err(crate::trouble::Trouble::new("there is no local City here to be measured"))
}

#[cfg(target_os = "linux")]
pub fn run(args: Args) -> Result<ExitCode> {
    linux::measure(args.runs.max(1))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::process::{Command, ExitCode, Stdio};
    use std::time::{Duration, Instant};

    use procfs::process::{Process, all_processes};

    use crate::lab::{City, Lifetime, UpOptions, owner};
    use crate::lesson::play::{Outcome, Rules, play};
    use crate::lesson::session::Session;
    use crate::lesson::shelf;
    use crate::trouble::{OrTrouble, Result, Trouble};

    pub fn measure(runs: usize) -> Result<ExitCode> {
        crate::certs::ensure(&crate::paths::repository()?)?;
        let name = format!("bench-{}", std::process::id());
        let (mut up, mut down, mut weight) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            // From the start of the built tool, as a person would start it.
            up.push(timed(|| tool(&["up", "--detach", "--name", &name]))?);
            let city = City::find(Some(&name))?;
            weight.push(proportional_size(&city)?);
            down.push(timed(|| tool(&["down", "--name", &name]))?);
        }
        let mut eight = Vec::new();
        for _ in 0..runs.div_ceil(4) {
            eight.push(timed(|| eight_at_once(&name))?);
        }
        println!("medians of {runs} runs");
        println!("  up, until every service answers   {}", show(&mut up));
        println!("  down, until nothing is left       {}", show(&mut down));
        println!("  eight Cities up and down at once  {}", show(&mut eight));
        weight.sort_unstable();
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        println!(
            "  memory of all its processes       {:.1} MiB (proportional)",
            mib(weight[weight.len() / 2])
        );
        lesson(runs, up[runs / 2] + down[runs / 2])?;
        Ok(ExitCode::SUCCESS)
    }

    fn timed(mut work: impl FnMut() -> Result) -> Result<Duration> {
        let start = Instant::now();
        work()?;
        Ok(start.elapsed())
    }

    fn show(times: &mut [Duration]) -> String {
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (least, most) = (times.first().copied(), times.last().copied());
        format!(
            "{:6.0} ms   ({:.0} to {:.0})",
            ms(times[times.len() / 2]),
            ms(least.unwrap_or_default()),
            ms(most.unwrap_or_default())
        )
    }

    fn tool(args: &[&str]) -> Result {
        let tool = std::env::current_exe().or_trouble(|| "cannot find this tool".into())?;
        let status = Command::new(tool).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status.or_trouble(|| "cannot start this tool".into())? {
            status if status.success() => Ok(()),
            _ => Err(Trouble::new(format!("`city {}` failed", args.join(" ")))),
        }
    }

    fn eight_at_once(name: &str) -> Result {
        std::thread::scope(|scope| {
            let one = |number: usize| {
                let name = format!("{name}-{number}");
                let options =
                    UpOptions { name, conf: None, nginx: false, lifetime: Lifetime::Owner, private: true };
                scope.spawn(move || City::up(&options))
            };
            let coming: Vec<_> = (0..8).map(one).collect();
            // All eight live before the first goes.
            let up: Result<Vec<City>> = coming
                .into_iter()
                .map(|thread| {
                    thread.join().map_err(|_| Trouble::new("a thread panicked")).and_then(|city| city)
                })
                .collect();
            up?.into_iter().try_for_each(City::down)
        })
    }

    /// The memory of a City: the proportional size of its keeper and everything that descends from it.
    fn proportional_size(city: &City) -> Result<u64> {
        let keeper =
            owner::keeper_pid(&city.folder).ok_or_else(|| Trouble::new("the City does not answer"))?;
        let parents: HashMap<i32, i32> = all_processes()
            .or_trouble(|| "cannot read /proc".into())?
            .filter_map(|process| process.ok()?.stat().ok())
            .map(|stat| (stat.pid, stat.ppid))
            .collect();
        let descends = |mut pid: i32| {
            while pid != keeper {
                match parents.get(&pid) {
                    Some(parent) => pid = *parent,
                    None => return false,
                }
            }
            true
        };
        let size = |pid: &i32| -> Option<u64> {
            let rollup = Process::new(*pid).ok()?.smaps_rollup().ok()?;
            rollup.memory_map_rollup.0.first()?.extension.map.get("Pss").copied()
        };
        Ok(parents.keys().filter(|pid| descends(**pid)).filter_map(size).sum())
    }

    /// What verifying a lesson adds to the lesson itself: the whole of `city verify 06`, less the time in which
    /// the lesson's own steps ran, less a City's coming and going.
    fn lesson(runs: usize, city: Duration) -> Result {
        let repository = crate::paths::repository()?;
        let lessons = shelf::read(&repository, &["06".into()])?;
        let (mut whole, mut own) = (Vec::new(), Vec::new());
        {
            let session = Session::open(&repository)?;
            session.build(&lessons)?;
            for _ in 0..runs {
                let place = session.place(&lessons[0], None)?;
                own.push(timed(|| {
                    match play(&lessons[0], &place.stage(&session), Rules::VERIFY, &|_| ())? {
                        Outcome::Passed(_) => Ok(()),
                        _ => Err(Trouble::new("lesson 06 does not pass").remedy("see: cargo city verify 06")),
                    }
                })?);
                place.city.down()?;
                whole.push(timed(|| tool(&["verify", "06"]))?);
            }
        }
        println!("  lesson 06, its own steps          {}", show(&mut own));
        println!("  lesson 06, the whole of `verify`  {}", show(&mut whole));
        let added = whole[runs / 2].saturating_sub(own[runs / 2]).saturating_sub(city);
        println!(
            "  so `verify` adds                  {:6.0} ms   beyond steps, up and down",
            added.as_secs_f64() * 1000.0
        );
        Ok(())
    }
}
