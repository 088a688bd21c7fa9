//! Discovery by DNS: addresses of a name (A, AAAA), or of those that a service record names (SRV, RFC 2782).
//!
//! That there are no such records is an answer, and believed. Where there is no answer, what was known before
//! holds, of each name and each family of addresses for itself: a name server that fails at one question takes no
//! server away that it does not speak of.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{IntoName, Name, RData, RecordType};
use tokio::task::JoinSet;

use super::discover::{Failure, Found};
use crate::config::UpstreamServer;

/// The greatest weight that a server can have.
const HEAVIEST: u32 = 256;

/// The addresses that names had when they were last told, of each family.
pub type Known = HashMap<Name, [Vec<IpAddr>; 2]>;

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// Asks these name servers, or those of the system.
pub fn resolver(name_servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if name_servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let configs = name_servers.iter().map(|address| {
            let mut config = NameServerConfig::udp_and_tcp(address.ip());
            config.connections.iter_mut().for_each(|connection| connection.port = address.port());
            config
        });
        let config = ResolverConfig::from_name_servers(configs.collect());
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never; // a line in a file has no TTL
        builder
    };
    let options = builder.options_mut();
    options.cache_size = 0; // who asks here wants to know what holds now, and asks when the TTL is over
    options.timeout = Duration::from_secs(1);
    options.attempts = 1;
    builder.build()
}

/// All addresses of a name, with this port.
pub async fn addresses(
    resolver: &TokioResolver,
    name: &str,
    port: u16,
    known: &Known,
) -> Result<Found, Failure> {
    let name = absolute(name).into_name().map_err(NetError::from)?;
    let (name, answers) = ask(resolver.clone(), name).await;
    let addresses = weigh(&name, answers, known)?;
    let mut servers: Vec<_> = addresses
        .iter()
        .map(|ip| UpstreamServer { address: SocketAddr::new(ip, port), weight: 1, backup: false })
        .collect();
    // In one order, whichever the answer has: it often changes with every answer.
    servers.sort_by_key(|server| server.address);
    servers.dedup();
    Ok(Found {
        servers,
        fresh_for: Some(left(addresses.valid_until)),
        missing: addresses.missing,
        known: Known::from([(name, addresses.ips)]),
    })
}

/// All addresses of those that a service record names. Who has the best priority is asked first, all others are
/// backups. A name without an address is left out, and takes nothing from the others.
pub async fn services(resolver: &TokioResolver, name: &str, known: &Known) -> Result<Found, Failure> {
    let found = resolver.srv_lookup(absolute(name)).await?;
    let services: Vec<_> = found.answers().iter().filter_map(|record| service(&record.data)).collect();
    let mut asked = JoinSet::new();
    for target in services.iter().map(|srv| srv.target.clone()).collect::<BTreeSet<_>>() {
        asked.spawn(ask(resolver.clone(), target));
    }
    let mut valid_until = found.valid_until();
    let mut missing = BTreeSet::new();
    let mut told = Known::new();
    while let Some(answered) = asked.join_next().await {
        let (target, answers) = answered.map_err(|error| NetError::from(error.to_string()))?;
        match weigh(&target, answers, known) {
            Ok(addresses) => {
                valid_until = valid_until.min(addresses.valid_until);
                missing.extend(addresses.missing);
                told.insert(target, addresses.ips);
            }
            Err(error) => {
                if !error.is_no_records_found() {
                    valid_until = Instant::now();
                }
                missing.insert(format!("{target} is left out: DNS: {}", reason(&error)));
            }
        }
    }
    let servers = servers(&services, &told);
    match servers.is_empty() {
        true if missing.is_empty() => Err(Failure::Nobody),
        true => Err(Failure::Unresolved(missing.into_iter().collect::<Vec<_>>().join("; "))),
        false => Ok(Found { servers, fresh_for: Some(left(valid_until)), missing, known: told }),
    }
}

fn service(data: &RData) -> Option<&SRV> {
    match data {
        RData::SRV(srv) => Some(srv),
        _ => None,
    }
}

/// All servers behind these records. Who is named twice counts once.
fn servers(services: &[&SRV], known: &Known) -> Vec<UpstreamServer> {
    let best = services.iter().map(|srv| srv.priority).min();
    let heaviest = services.iter().map(|srv| u32::from(srv.weight)).max().unwrap_or(0);
    let mut servers: Vec<UpstreamServer> = Vec::new();
    for srv in services {
        for ip in known.get(&srv.target).into_iter().flatten().flatten() {
            let address = SocketAddr::new(*ip, srv.port);
            if servers.iter().all(|server| server.address != address) {
                let weight = scaled(srv.weight.into(), heaviest);
                servers.push(UpstreamServer { address, weight, backup: Some(srv.priority) != best });
            }
        }
    }
    servers.sort_by_key(|server| (server.backup, server.address));
    servers
}

/// What DNS says of a name, for each family.
type Answers = [Result<Lookup, NetError>; 2];

/// Asks for both families at the same time.
async fn ask(resolver: TokioResolver, name: Name) -> (Name, Answers) {
    let (v4, v6) = tokio::join!(
        resolver.lookup(name.clone(), RecordType::A),
        resolver.lookup(name.clone(), RecordType::AAAA)
    );
    (name, [v4, v6])
}

/// At least one address.
struct Addresses {
    ips: [Vec<IpAddr>; 2],
    valid_until: Instant,
    missing: BTreeSet<String>,
}

impl Addresses {
    fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.ips.iter().flatten().copied()
    }
}

/// What the answers come to, with what was known before in the place of those that are none.
///
/// # Errors
/// Why there is no address: where one family has none and the other no answer, it is the latter.
fn weigh(name: &Name, answers: Answers, known: &Known) -> Result<Addresses, NetError> {
    let now = Instant::now();
    let mut ips = [const { Vec::new() }; 2];
    let mut valid_until = None;
    let mut missing = BTreeSet::new();
    let mut why = NetError::from("there is no address");
    for (family, answer) in answers.into_iter().enumerate().rev() {
        let until = match answer {
            Ok(lookup) => {
                ips[family] = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
                Some(lookup.valid_until())
            }
            Err(error) if error.is_no_records_found() => {
                if missing.is_empty() {
                    why = error;
                }
                None
            }
            Err(error) => {
                let kept = known.get(name).map(|known| known[family].clone()).unwrap_or_default();
                let state = if kept.is_empty() { "are not known" } else { "remain as they are" };
                let reason = reason(&error);
                missing
                    .insert(format!("the {} addresses of {name} {state}: DNS: {reason}", FAMILIES[family]));
                why = error;
                ips[family] = kept;
                // What is kept may be wrong, so it is asked again soon. Some name servers never answer for IPv6,
                // and there nothing is.
                (!ips[family].is_empty()).then_some(now)
            }
        };
        valid_until = valid_until.into_iter().chain(until).min();
    }
    match valid_until {
        Some(valid_until) if ips.iter().any(|ips| !ips.is_empty()) => {
            Ok(Addresses { ips, valid_until, missing })
        }
        _ => Err(why),
    }
}

/// Why there is no answer, in words that do not change from one question to the next.
pub fn reason(error: &NetError) -> String {
    match error {
        error if error.is_nx_domain() => "there is no such name".to_string(),
        error if error.is_no_records_found() => "the name has no such records".to_string(),
        NetError::Dns(error) => error.to_string(),
        error => error.to_string(),
    }
}

fn left(valid_until: Instant) -> Duration {
    valid_until.saturating_duration_since(Instant::now())
}

/// At least 1, as a weight of 0 means a very small chance, and not none (RFC 2782).
fn scaled(weight: u32, heaviest: u32) -> u32 {
    if heaviest <= HEAVIEST { weight.max(1) } else { (weight * HEAVIEST / heaviest).max(1) }
}

/// With the dot at its end, so that no search domain is tried.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::{Query, ResponseCode};
    use hickory_resolver::proto::rr::Record;

    use super::*;

    #[test]
    fn weights_keep_their_proportions() {
        assert_eq!([0, 1, 100].map(|weight| scaled(weight, 100)), [1, 1, 100]);
        assert_eq!([0, 100, 65535].map(|weight| scaled(weight, 65535)), [1, 1, 256]);
        assert_eq!([20000, 10000].map(|weight| scaled(weight, 20000)), [256, 128]);
    }

    fn answer(ips: &[&str]) -> Result<Lookup, NetError> {
        let name = Name::from_ascii("a.internal.").expect("a name");
        let records = ips.iter().map(|ip| {
            let data = RData::from(ip.parse::<IpAddr>().expect("an address"));
            Record::from_rdata(name.clone(), 60, data)
        });
        let valid_until = Instant::now() + Duration::from_secs(60);
        Ok(Lookup::new_with_deadline(Query::query(name.clone(), RecordType::A), records, valid_until))
    }

    fn none(code: ResponseCode) -> Result<Lookup, NetError> {
        Err(NoRecords::new(Query::new(), code).into())
    }

    #[test]
    fn who_has_no_answer_keeps_what_was_known_of_that_family() {
        let name = Name::from_ascii("a.internal.").expect("a name");
        let ip = |ip: &str| ip.parse::<IpAddr>().expect("an address");
        let known = Known::from([(name.clone(), [vec![ip("127.0.0.1")], vec![ip("::1")]])]);
        let (ok4, ok6) = (|| answer(&["127.0.0.2"]), || answer(&["::2"]));
        let (late, nothing, nobody) =
            (|| Err(NetError::Timeout), || none(ResponseCode::NoError), || none(ResponseCode::NXDomain));
        let cases: [(Answers, &[&str], usize, bool); 9] = [
            ([ok4(), ok6()], &["127.0.0.2", "::2"], 0, true),
            ([ok4(), nothing()], &["127.0.0.2"], 0, true),
            ([nothing(), ok6()], &["::2"], 0, true),
            ([ok4(), late()], &["127.0.0.2", "::1"], 1, false),
            ([late(), ok6()], &["127.0.0.1", "::2"], 1, false),
            ([late(), nothing()], &["127.0.0.1"], 1, false),
            ([late(), late()], &["127.0.0.1", "::1"], 2, false),
            ([nobody(), nobody()], &[], 0, false),
            ([nothing(), nothing()], &[], 0, false),
        ];
        for (case, (answers, expected, missing, fresh)) in cases.into_iter().enumerate() {
            let found = weigh(&name, answers, &known);
            let ips: Vec<_> = found.iter().flat_map(Addresses::iter).map(|ip| ip.to_string()).collect();
            assert_eq!(ips, expected, "{case}");
            assert_eq!(found.as_ref().map_or(0, |found| found.missing.len()), missing, "{case}");
            let is_fresh = found.is_ok_and(|found| left(found.valid_until) > Duration::ZERO);
            assert_eq!(is_fresh, fresh, "{case}");
        }
        // Nothing is kept where nothing was known, and the reason is the one that may pass.
        for answers in [[late(), nobody()], [nobody(), late()], [late(), late()]] {
            let why = weigh(&name, answers, &Known::new()).err().map(|error| reason(&error));
            assert_eq!(why.as_deref(), Some("request timed out"));
        }
        let found = weigh(&name, [ok4(), late()], &Known::new()).expect("one family is enough");
        assert!(left(found.valid_until) > Duration::ZERO, "and who never answers is not asked more often");
        let why = weigh(&name, [nobody(), nobody()], &known).err().map(|error| reason(&error));
        assert_eq!(why.as_deref(), Some("there is no such name"));
    }

    #[test]
    fn names_are_absolute() {
        assert_eq!([absolute("a.b"), absolute("a.b.")], ["a.b.", "a.b."]);
    }
}
