//! The gateway as a library: the example with a policy of its own.

use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::support::{free_port, get, get_with, until};

#[path = "../../examples/gateway_policy.rs"]
mod example;

/// Serves until it is killed.
#[test]
#[ignore = "this is the process that the next test starts"]
fn serve() {
    example::main().expect("it is stopped before it ends");
}

#[test]
fn a_policy_from_outside_is_one_like_the_others() {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let start = |word: &str| {
        let config = format!(
            "
listeners: [{{ address: {address} }}]
middlewares: {{ guarded: {{ password: {{ word: {word} }} }} }}
routes:
  - {{ name: guarded, match: {{ path: /guarded }}, respond: {{ body: hi }}, middlewares: [guarded] }}
  - {{ name: open, respond: {{ body: hi }} }}
"
        );
        Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "library::serve", "--ignored", "--nocapture"])
            .env("POLICY_CONFIG", config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    };
    let mut process = start("swordfish");
    until("the example listens", || TcpStream::connect(address).is_ok());
    let right = get_with(address, "/guarded", &["X-Password: swordfish"]);
    let wrong = get_with(address, "/guarded", &["X-Password: guess"]);
    let open = get(address, "/open");
    process.kill().expect("it is our child");
    process.wait().expect("it is our child");
    assert_eq!((right.status, wrong.status, open.status), (200, 403, 200));

    // What it has against its settings is said like everything else.
    let refused = start("\"\"").wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("everybody knows this one"), "{said}");
}
