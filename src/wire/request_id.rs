//! One name for a request, on both sides of the gateway: `X-Request-Id`.

use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use uuid::{Builder, Uuid};

use super::present::Present;

/// The header.
pub const NAME: &str = "X-Request-Id";
/// The same as it is compared.
pub(super) const LOWER: &str = "x-request-id";

/// The same, to look it up by.
const KEY: HeaderName = HeaderName::from_static(LOWER);

/// Longer ones are not ids.
const MAX: usize = 128;

/// The id that the request came with, or else a new one: a UUID of version 7 (RFC 9562, section 5.7), so that ids
/// sort by time. Kept is what a log line can hold without quotes.
pub fn of(request: &RequestHeader, present: Present) -> HeaderValue {
    if present.contains(Present::ID) { theirs(request) } else { new() }
}

#[cold]
fn theirs(request: &RequestHeader) -> HeaderValue {
    let mut ids = request.headers.get_all(KEY).iter();
    match (ids.next(), ids.next()) {
        (Some(id), None) if is_id(id.as_bytes()) => id.clone(),
        _ => new(),
    }
}

/// Tells the upstream. `present`: what the request came with.
///
/// # Errors
/// Never: it is a header.
pub fn tell(request: &mut RequestHeader, id: HeaderValue, present: Present) -> Result<()> {
    match present.contains(Present::ID) {
        true => request.insert_header(NAME, id),
        false => super::add(request, NAME, id),
    }
}

/// Tells the client.
///
/// # Errors
/// Never: it is a header.
pub fn answer(response: &mut ResponseHeader, id: HeaderValue) -> Result<()> {
    match response.headers.contains_key(KEY) {
        true => response.insert_header(NAME, id),
        false => response.append_header(NAME, id).map(drop),
    }
}

fn is_id(id: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    !id.is_empty() && id.len() <= MAX && id.iter().all(fits)
}

fn new() -> HeaderValue {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    // No counter, which all threads would share under a lock: 74 random bits tell ids apart. They need not be secret,
    // since nobody is let in for an id.
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let mut text = Uuid::encode_buffer();
    let id =
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_id_is_kept_and_no_other() {
        let with = |ids: &[&str]| {
            let mut request = RequestHeader::build("GET", b"/", None).expect("it is a request");
            for id in ids {
                request.append_header(NAME, *id).expect("it is a header");
            }
            of(&request, Present::of(&request.headers)).to_str().expect("text").to_string()
        };
        assert_eq!(with(&["a-1"]), "a-1");
        for ids in [&[][..], &["a b"], &["\"a\""], &["a", "b"], &[""], &[&"a".repeat(129)]] {
            let id = Uuid::parse_str(&with(ids)).expect("it is a UUID");
            assert_eq!(id.get_version_num(), 7, "{ids:?}");
        }
        assert_ne!(with(&[]), with(&[]));
    }
}
