//! blue and green: any request is answered with the colour's name.

use super::http::{Answer, Asked};

/// The site of blue.
pub fn blue(_: &Asked<'_>) -> Answer {
    answer("Response from BLUE\n")
}

/// The site of green.
pub fn green(_: &Asked<'_>) -> Answer {
    answer("Response from GREEN\n")
}

fn answer(body: &'static str) -> Answer {
    let mut answer = Answer::text(body);
    answer.headers.splice(0..0, [("x-app-name", "http-echo"), ("x-app-version", "1.0.0")]);
    answer
}
