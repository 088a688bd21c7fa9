//! What it costs to find a request's route: `cargo bench --bench route_lookup`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pingora::http::RequestHeader;
use pingora_city::config::{HostRule, Match, PathRule};
use pingora_city::route::Router;

/// How long each figure is measured.
const LONG: Duration = Duration::from_millis(500);
/// How many requests are made before their lookups are timed together: as many as a core's own cache has room for.
const BATCH: usize = 32;

fn routes(count: usize, hosts: bool) -> Vec<Match> {
    let one = |n: usize| {
        let path = format!("/service-{}/resource-{n}", n % 100);
        Match {
            hosts: if hosts {
                vec![HostRule::Exact(format!("host-{}.example.com", n % 100))]
            } else {
                Vec::new()
            },
            path: if n.is_multiple_of(2) { PathRule::Exact(path) } else { PathRule::Prefix(path) },
            ..Match::all()
        }
    };
    (0..count).map(one).collect()
}

fn request(n: usize) -> RequestHeader {
    let below = if n.is_multiple_of(2) { "" } else { "/7/comments" };
    let target = format!("/service-{}/resource-{n}{below}", n % 100);
    let mut request = RequestHeader::build("GET", target.as_bytes(), None).expect("it is a request");
    request.insert_header("Host", format!("host-{}.example.com:8080", n % 100)).expect("it is a header");
    request
}

fn main() {
    for (count, hosts) in [(1, false), (10, false), (10_000, false), (10_000, true)] {
        let routes = routes(count, hosts);
        let router = Router::new(routes.iter().enumerate().map(|(n, matches)| (matches, n)));
        // In an order that no cache likes, as strangers ask. A request itself is warm: it has just been read.
        let mut order = (0..count).map(|n| n * 7919 % count).cycle();
        let (mut lookups, mut spent) = (0_u32, Duration::ZERO);
        while spent < LONG {
            let batch: Vec<(usize, RequestHeader)> =
                order.by_ref().take(BATCH).map(|n| (n, request(n))).collect();
            let begun = Instant::now();
            for (n, request) in &batch {
                assert_eq!(black_box(router.find(black_box(request))), Some(n));
            }
            spent += begun.elapsed();
            lookups += u32::try_from(batch.len()).expect("there are not so many");
        }
        let with = if hosts { "100 hosts" } else { "no host" };
        println!("{count:>6} routes, {with:>9}: {:>4} ns a lookup", (spent / lookups).as_nanos());
    }
}
