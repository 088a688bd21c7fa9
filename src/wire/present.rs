//! Which headers a request has, of those that the gateway asks for.
//!
//! Most requests have none of them. One look at each name costs less than a search for each that it could be.

use bitflags::bitflags;
use http::{HeaderName, header};
use pingora::http::RequestHeader;

use super::request_id;

bitflags! {
    /// What a request came with.
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
    }
}

impl Present {
    /// What this one came with.
    pub fn of(request: &RequestHeader) -> Present {
        request.headers.keys().map(Present::is).collect()
    }

    fn is(name: &HeaderName) -> Present {
        match *name {
            header::CONTENT_LENGTH => Present::LENGTH,
            header::TRANSFER_ENCODING => Present::CODING,
            header::EXPECT => Present::EXPECT,
            header::COOKIE => Present::COOKIE,
            _ if name.as_str() == request_id::LOWER => Present::ID,
            _ => Present::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_seen() {
        for (lines, present) in [
            (&["Host", "Accept"][..], Present::empty()),
            (&["Host", "x-request-ID"], Present::ID),
            (&["cookie", "Cookie", "EXPECT"], Present::COOKIE | Present::EXPECT),
            (&["Content-Length", "Transfer-Encoding"], Present::LENGTH | Present::CODING),
        ] {
            let mut request = RequestHeader::build("GET", b"/", None).expect("it is a request");
            for line in lines {
                request.append_header(*line, "1").expect("it is a header");
            }
            assert_eq!(Present::of(&request), present, "{lines:?}");
        }
    }
}
