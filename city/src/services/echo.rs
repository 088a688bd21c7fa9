//! blue and green: any request is answered with the colour's name, and one to `/cookie` with a cookie too.

use super::http::{Answer, Asked};

/// The site of blue.
pub fn blue(asked: &Asked<'_>) -> Answer {
    answer(asked, "Response from BLUE\n")
}

/// The site of green.
pub fn green(asked: &Asked<'_>) -> Answer {
    answer(asked, "Response from GREEN\n")
}

fn answer(asked: &Asked<'_>, body: &'static str) -> Answer {
    let mut answer = Answer::text(body);
    answer.headers.splice(0..0, [("x-app-name", "http-echo"), ("x-app-version", "1.0.0")]);
    if asked.path == "/cookie" {
        // An application's own, which a proxy must not lose when it sets another.
        answer.headers.push(("set-cookie", "basket=2-teas; Path=/"));
    }
    answer
}
