//! The page of lesson 48, fetched in a City from the example as it runs and read as Prometheus reads it.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use prometheus_parse::{LineInfo, Sample, Scrape, Value};
use tempfile::TempDir;

const EXAMPLE: &str = "48_observability";

#[test]
fn a_parser_reads_the_exact_numbers() {
    let city = City::up();
    let _example = city.start(EXAMPLE, 6200);

    let before = city.scrape();
    assert!(before.samples.iter().all(|sample| is_zero(&sample.value)), "{:?}", before.samples);
    assert_eq!(before.docs["http_requests_total"], "Requests that are over.");
    let counters = before.samples.iter().filter(|sample| sample.metric == "http_requests_total");
    assert_eq!(counters.count(), 54, "each combination of labels is there before its first request");

    let client = |args: &[&str]| city.city(&[&["exec", "client1", "curl", "-s"], args].concat());
    client(&["http://172.28.0.10:6199/fast?[1-4]"]);
    client(&["-d", "two cups", "http://172.28.0.10:6199/slow?[1-2]"]);
    client(&["-X", "STEEP", "http://172.28.0.10:6199/fast"]);
    client(&["http://172.28.0.10:6199/invented/[1-3]"]);

    // A request is counted just after its client has the answer.
    let deadline = Instant::now() + Duration::from_secs(10);
    let after = loop {
        let scrape = city.scrape();
        let seen: f64 = counted(&scrape).iter().map(|(_, count)| count).sum();
        if seen >= 10.0 {
            break scrape;
        }
        assert!(Instant::now() < deadline, "{seen} of 10 requests are counted");
    };
    let expected = [
        ("method=\"GET\",route=\"fast\",status=\"2xx\"", 4.0),
        ("method=\"GET\",route=\"other\",status=\"4xx\"", 3.0),
        ("method=\"POST\",route=\"slow\",status=\"2xx\"", 2.0),
        ("method=\"other\",route=\"fast\",status=\"2xx\"", 1.0),
    ];
    assert_eq!(counted(&after), expected.map(|(labels, count)| (labels.to_owned(), count)));
    // How many of them took at most 75 ms is up to what else this machine does.
    let fast: Vec<_> = buckets(&after, "fast").into_iter().filter(|(bound, _)| *bound != 0.075).collect();
    assert_eq!(fast, [(0.005, 0.0), (1.0, 5.0), (f64::INFINITY, 5.0)]);
    assert_eq!(buckets(&after, "slow"), [(0.005, 0.0), (0.075, 0.0), (1.0, 2.0), (f64::INFINITY, 2.0)]);
    assert_eq!(after.samples.len(), before.samples.len(), "no request makes a series");
}

/// Two would be two registries, and only one of them is on the page.
#[test]
fn there_is_one_prometheus() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["pkgid", "--locked", "--offline", "prometheus"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let (ok, printed) = said(cargo.output().expect("cargo starts"));
    assert!(ok, "an ambiguous name is an error, which says where the two come from: {printed}");
}

/// What is not zero, by labels.
fn counted(scrape: &Scrape) -> Vec<(String, f64)> {
    let of_counter = |sample: &Sample| match sample.value {
        Value::Counter(count) if sample.metric == "http_requests_total" && count > 0.0 => {
            Some((sample.labels.to_string(), count))
        }
        _ => None,
    };
    let mut counted: Vec<_> = scrape.samples.iter().filter_map(of_counter).collect();
    counted.sort_by(|a, b| a.0.cmp(&b.0));
    counted
}

/// Upper bounds and cumulative counts of a route's histogram.
fn buckets(scrape: &Scrape, route: &str) -> Vec<(f64, f64)> {
    let histogram = scrape.samples.iter().find_map(|sample| match &sample.value {
        Value::Histogram(buckets) if sample.labels.get("route") == Some(route) => Some(buckets),
        _ => None,
    });
    let buckets = histogram.expect("each route has one");
    buckets.iter().map(|bucket| (bucket.less_than, bucket.count)).collect()
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value == 0.0,
        Value::Histogram(buckets) => buckets.iter().all(|bucket| bucket.count == 0.0),
        Value::Summary(_) => false,
    }
}

/// A City of this test's own, which goes with it.
struct City {
    state: TempDir,
}

impl City {
    fn up() -> City {
        let state =
            tempfile::Builder::new().prefix("cities-").tempdir_in("/tmp").expect("a temporary folder");
        let city = City { state };
        city.city(&["up", "--detach"]);
        city
    }

    fn tool(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command.arg("city").args(args).env("CITY_STATE_ROOT", self.state.path());
        command.env_remove("CITY_NAME").env_remove("CITY_HOST");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        command
    }

    /// Runs the tool, which must succeed, and returns what it printed.
    fn city(&self, args: &[&str]) -> String {
        let (ok, printed) = said(self.tool(args).output().expect("the tool starts"));
        assert!(ok, "city {args:?}: {printed}");
        printed
    }

    /// Starts an example on dev, and waits until it listens.
    fn start(&self, example: &str, port: u16) -> Running {
        let binary = examples().join(example);
        assert!(binary.exists(), "{} is missing; `cargo test` builds it", binary.display());
        let mut command = self.tool(&["exec", "dev", "scripts/cargo-runner", &binary.display().to_string()]);
        let running =
            Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
        self.city(&["wait-for", &format!("dev listens {port}"), "--within", "20s"]);
        running
    }

    /// The page, every line of which must be something.
    fn scrape(&self) -> Scrape {
        let page = self.city(&["exec", "client2", "curl", "-s", "http://172.28.0.10:6200/metrics"]);
        // What it cannot read, the parser passes over.
        let unread = page.lines().find(|line| matches!(LineInfo::parse(line), LineInfo::Ignored));
        assert_eq!(unread, None, "{page}");
        let scrape = Scrape::parse(page.lines().map(|line| Ok(line.to_owned()))).expect("lines can be read");
        assert!(!scrape.samples.is_empty(), "{page}");
        scrape
    }
}

impl Drop for City {
    fn drop(&mut self) {
        let _ = self.tool(&["down"]).output();
    }
}

/// The command that waits for the example; the example itself ends with its City.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where cargo has put the examples: beside the folder of this test.
fn examples() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it lies");
    test.parent().and_then(Path::parent).expect("it lies in target/debug/deps").join("examples")
}

fn said(output: Output) -> (bool, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}
