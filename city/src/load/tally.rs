//! What came back, counted: by status, by server, by failure, and how long it took.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::client::Outcome;

/// Latencies are told up to an hour, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// By what answers are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// By the server that gave them.
    Server,
    /// By their status.
    Status,
}

/// Counts by name, in the order of the names.
type Counts = BTreeMap<String, u64>;

/// Counts and latencies.
#[derive(Debug, Clone)]
pub struct Tally {
    answered: u64,
    failed: u64,
    statuses: Counts,
    servers: Counts,
    failures: Counts,
    /// In microseconds, to three digits.
    latencies: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        let latencies = Histogram::new_with_max(LONGEST, 3).expect("a precision that histograms have");
        Tally {
            answered: 0,
            failed: 0,
            statuses: Counts::new(),
            servers: Counts::new(),
            failures: Counts::new(),
            latencies,
        }
    }
}

impl Tally {
    /// Counts one request.
    pub fn add(&mut self, latency: Duration, outcome: &Outcome) {
        let one_more = |counts: &mut Counts, name: String| *counts.entry(name).or_default() += 1;
        match outcome {
            Ok(answer) => {
                self.answered += 1;
                one_more(&mut self.statuses, answer.status.as_u16().to_string());
                one_more(&mut self.servers, answer.server.clone().unwrap_or_else(|| "(not told)".into()));
                let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                self.latencies.saturating_record(micros);
            }
            Err(failure) => {
                self.failed += 1;
                one_more(&mut self.failures, failure.to_string());
            }
        }
    }

    /// How many requests had no whole answer.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.answered + self.failed
    }

    fn parts(&self, by: By) -> &Counts {
        match by {
            By::Server => &self.servers,
            By::Status => &self.statuses,
        }
    }

    fn percentile(&self, percent: f64) -> String {
        millis(self.latencies.value_at_percentile(percent))
    }

    /// One line for a terminal: what this tally holds, such as the last second.
    pub fn line(&self, by: By) -> String {
        let mut parts: Vec<_> =
            self.parts(by).iter().map(|(name, count)| format!("{name} {count}")).collect();
        parts.extend(self.failures.iter().map(|(name, count)| format!("{name} {count}")));
        if parts.is_empty() {
            parts.push("nothing".into());
        }
        if self.answered > 0 {
            parts.push(format!("p99 {}", self.percentile(99.0)));
        }
        parts.join("  ")
    }

    /// The whole, told by what is asked for; without a choice, by status and by server.
    pub fn summary(&self, by: Option<By>, took: Duration) -> Summary<'_> {
        Summary { tally: self, by, took }
    }
}

/// A tally in lines, each with what it is about at its beginning.
#[derive(Debug)]
pub struct Summary<'a> {
    tally: &'a Tally,
    by: Option<By>,
    took: Duration,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { tally, by, took } = self;
        let seconds = took.as_secs_f64();
        let pace = if seconds > 0.0 { tally.requests() as f64 / seconds } else { 0.0 };
        writeln!(f, "requests  {} in {seconds:.1}s, {pace:.0} a second", tally.requests())?;
        if tally.failures.is_empty() {
            writeln!(f, "errors    none")?;
        }
        for (name, count) in &tally.failures {
            writeln!(f, "errors    {count} {name}")?;
        }
        for (wanted, label) in [(By::Status, "status"), (By::Server, "server")] {
            if by.is_some_and(|by| by != wanted) {
                continue;
            }
            for (name, count) in tally.parts(wanted) {
                let share = *count as f64 * 100.0 / tally.answered as f64;
                writeln!(f, "{label:<8}  {name}: {count}, {share:.1}%")?;
            }
        }
        if tally.answered == 0 {
            return write!(f, "latency   of no answer");
        }
        let [p50, p90, p99] = [50.0, 90.0, 99.0].map(|percent| tally.percentile(percent));
        write!(f, "latency   p50 {p50}, p90 {p90}, p99 {p99}, max {}", millis(tally.latencies.max()))
    }
}

/// Microseconds, as milliseconds in as many digits as tell something.
fn millis(micros: u64) -> String {
    let millis = micros as f64 / 1000.0;
    if millis < 10.0 { format!("{millis:.1}ms") } else { format!("{millis:.0}ms") }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::client::{Answer, Failure};
    use super::*;

    fn answer(status: u16, server: &str) -> Outcome {
        let server = (!server.is_empty()).then(|| server.to_owned());
        Ok(Answer { status: StatusCode::from_u16(status).unwrap(), server })
    }

    #[test]
    fn a_summary_tells_counts_shares_and_latencies() {
        let mut tally = Tally::default();
        for number in 0..100 {
            let latency = Duration::from_millis(if number == 99 { 900 } else { 2 });
            tally.add(latency, &answer(200, if number % 4 == 0 { "GREEN" } else { "BLUE" }));
        }
        tally.add(Duration::from_millis(5), &answer(503, ""));
        tally.add(Duration::ZERO, &Err(Failure::Refused));
        tally.add(Duration::ZERO, &Err(Failure::Late(Duration::from_secs(5))));
        let whole = "\
requests  103 in 10.0s, 10 a second
errors    1 connection refused
errors    1 no answer within 5s
status    200: 100, 99.0%
status    503: 1, 1.0%
server    (not told): 1, 1.0%
server    BLUE: 75, 74.3%
server    GREEN: 25, 24.8%
latency   p50 2.0ms, p90 2.0ms, p99 5.0ms, max 900ms";
        assert_eq!(tally.summary(None, Duration::from_secs(10)).to_string(), whole);
        let by_status = tally.summary(Some(By::Status), Duration::from_secs(10)).to_string();
        assert!(by_status.contains("status    503") && !by_status.contains("server"), "{by_status}");
        assert_eq!(
            tally.line(By::Status),
            "200 100  503 1  connection refused 1  no answer within 5s 1  p99 5.0ms"
        );
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        let tally = Tally::default();
        let summary = tally.summary(None, Duration::ZERO).to_string();
        assert_eq!(summary, "requests  0 in 0.0s, 0 a second\nerrors    none\nlatency   of no answer");
        assert_eq!(tally.line(By::Server), "nothing");
    }
}
