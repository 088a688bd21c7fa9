//! Which headers a message has, of those that the gateway asks for.
//!
//! Most messages have none of them, or one. One look at each name costs less than a search for each that it could be.

use bitflags::bitflags;
use http::{HeaderMap, HeaderName, header};

use super::{forwarded, request_id};

bitflags! {
    /// What a message came with.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Present: u8 {
        /// `Content-Length`.
        const LENGTH = 1;
        /// `Transfer-Encoding`.
        const CODING = 1 << 1;
        /// `Expect`.
        const EXPECT = 1 << 2;
        /// `Cookie`.
        const COOKIE = 1 << 3;
        /// `X-Request-Id`.
        const ID = 1 << 4;
        /// `Connection`, which ends at this hop, and says which others do (RFC 9110, section 7.6.1).
        const CONNECTION = 1 << 5;
        /// One in which proxies say for whom they ask, or one that could be read as such: see [`forwarded`].
        const TOLD = 1 << 6;
        /// One more of those that end at this hop.
        const ENDING = 1 << 7;
        /// Where a request has none of these, Pingora is not asked to remove them, which it would try one name after
        /// the other.
        const HOP = Self::CODING.bits() | Self::CONNECTION.bits() | Self::ENDING.bits();
    }
}

impl Present {
    /// What this one came with.
    pub fn of(headers: &HeaderMap) -> Present {
        headers.keys().map(Present::is).collect()
    }

    fn is(name: &HeaderName) -> Present {
        match *name {
            header::CONTENT_LENGTH => Present::LENGTH,
            header::TRANSFER_ENCODING => Present::CODING,
            header::EXPECT => Present::EXPECT,
            header::COOKIE => Present::COOKIE,
            header::CONNECTION => Present::CONNECTION,
            header::UPGRADE
            | header::TE
            | header::TRAILER
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION => Present::ENDING,
            _ => match name.as_str() {
                request_id::LOWER => Present::ID,
                "keep-alive" | "proxy-connection" | "http2-settings" => Present::ENDING,
                other if forwarded::tells(other) => Present::TOLD,
                _ => Present::empty(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use pingora::http::RequestHeader;

    use super::*;

    #[test]
    fn what_is_asked_for_is_seen() {
        for (lines, present) in [
            (&["Host", "Accept"][..], Present::empty()),
            (&["Host", "x-request-ID"], Present::ID),
            (&["cookie", "Cookie", "EXPECT"], Present::COOKIE | Present::EXPECT),
            (&["Content-Length", "Transfer-Encoding"], Present::LENGTH | Present::CODING),
            (&["Connection", "Upgrade"], Present::CONNECTION | Present::ENDING),
        ] {
            let mut request = RequestHeader::build("GET", b"/", None).expect("it is a request");
            for line in lines {
                request.append_header(*line, "1").expect("it is a header");
            }
            assert_eq!(Present::of(&request.headers), present, "{lines:?}");
        }
    }

    /// All that Pingora's policy removes: what is missing here would pass.
    #[test]
    fn whatever_ends_at_this_hop_is_seen() {
        for name in [
            "Connection",
            "HTTP2-Settings",
            "Keep-Alive",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
        ] {
            let mut request = RequestHeader::build("GET", b"/", None).expect("it is a request");
            request.append_header(name, "1").expect("it is a header");
            assert!(Present::of(&request.headers).intersects(Present::HOP), "{name}");
        }
    }
}
