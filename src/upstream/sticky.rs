//! Sticky sessions: a cookie that names a server without saying which one it is.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::LazyLock;

use cookie::{Cookie, SameSite};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use pingora::http::RequestHeader;

use crate::config::Sticky;

/// The key of a process whose configuration has none: its cookies mean nothing to others, and nothing after it.
static OWN: LazyLock<Result<[u8; 32], ErrorStack>> = LazyLock::new(|| {
    let mut key = [0; 32];
    openssl::rand::rand_bytes(&mut key).map(|()| key)
});

/// What stands for a server in the cookie: a keyed digest of its address. Nobody without the key can find out
/// the address, nor make up a value that leads to a server of their choice.
pub fn token_of(address: SocketAddr, sticky: &Sticky) -> Result<Box<str>, ErrorStack> {
    let key = match &sticky.key {
        Some(key) => PKey::hmac(key.expose().as_bytes())?,
        None => PKey::hmac(OWN.as_ref().map_err(Clone::clone)?)?,
    };
    let digest =
        Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(address.to_string().as_bytes())?;
    Ok(digest[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

/// What a request says in the cookie of this name.
pub fn token<'r>(request: &'r RequestHeader, name: &str) -> Option<Cow<'r, str>> {
    let headers = request.headers.get_all(http::header::COOKIE).iter();
    let mut cookies =
        headers.filter_map(|header| header.to_str().ok()).flat_map(Cookie::split_parse).flatten();
    let cookie = cookies.find(|cookie| cookie.name() == name)?;
    Some(match cookie.value_raw() {
        Some(value) => Cow::Borrowed(value),
        None => Cow::Owned(cookie.value().to_string()),
    })
}

/// The cookie by which a client comes back to a server: gone with the browser's session, out of reach of
/// scripts, and not sent along by other sites.
pub fn set_cookie(name: &str, token: &str, secure: bool) -> String {
    let cookie = Cookie::build((name, token)).path("/").http_only(true).same_site(SameSite::Lax);
    if secure { cookie.secure(true) } else { cookie }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn a_token_is_the_keys_and_says_nothing() {
        let address: SocketAddr = "127.0.0.1:8080".parse().expect("an address");
        let with = |key: Option<&str>| {
            let key = key.map(|key| Secret::from(key.to_string()));
            token_of(address, &Sticky { cookie: "s".to_string(), key }).expect("a token")
        };
        assert_eq!(with(Some("a")), with(Some("a")));
        assert_ne!(with(Some("a")), with(Some("b")));
        assert_eq!(with(None), with(None), "for as long as the process lives");
        assert_eq!(with(None).len(), 32);
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
        request.append_header("Cookie", "a=1; session-id=x").expect("a header");
        request.append_header("Cookie", "b=\"2\"").expect("a header");
        assert_eq!(token(&request, "session-id").as_deref(), Some("x"));
        assert_eq!(token(&request, "session"), None);
        assert_eq!(
            set_cookie("session-id", "x", true),
            "session-id=x; HttpOnly; SameSite=Lax; Secure; Path=/"
        );
    }
}
