//! `city ws`: talk to a WebSocket server (run it on a host of the City).

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use crate::clients::block_on;
use crate::clients::dial::TlsArgs;
use crate::clients::ws::{End, Say, Script, play};
use crate::trouble::Result;

const HELP: &str =
    "Prints one line for each message: a text as it is, `(binary, 1024 bytes)`, `(pong)`; then how the
connection ended: `(closed: 1000)` with the code that the server sent, or `(lost: …)`. A handshake
that is refused prints the status line of the refusal. The exit status is 0 when every message
that was waited for came and both sides said goodbye, else 1.

It says first all --send, then --binary, then --ping; waits for as many messages as it has said;
holds the connection; and closes it.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Where to: ws://host:port/path, or wss:// for TLS
    url: Uri,
    /// A text to send; may be given several times
    #[arg(long, value_name = "TEXT")]
    send: Vec<String>,
    /// A binary message of this size to send
    #[arg(long, value_name = "SIZE")]
    binary: Vec<usize>,
    /// Send a ping
    #[arg(long)]
    ping: bool,
    /// The time between two messages
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// Cut each text into frames of N bytes
    #[arg(long, value_name = "N", value_parser = size)]
    fragment: Option<usize>,
    /// How many messages to wait for; as many as were sent unless given
    #[arg(long, value_name = "N")]
    expect: Option<usize>,
    /// How long to wait for each of them
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    read_timeout: Duration,
    /// How long to stay connected, and listen, before closing
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    hold: Duration,
    /// The code to close with
    #[arg(long, value_name = "CODE", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1000..5000))]
    close: u16,
    /// A further header of the handshake
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    #[command(flatten)]
    tls: TlsArgs,
}

fn size(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|size| *size > 0).ok_or_else(|| "a size in bytes, at least 1".into())
}

pub(super) fn header(text: &str) -> std::result::Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| format!("'{name}' is no header's name"))?;
    let value = value.trim().parse().map_err(|_| format!("'{value}' is no header's value"))?;
    Ok((name, value))
}

pub fn run(args: Args) -> Result<ExitCode> {
    let texts = args.send.into_iter().map(Say::Text);
    let binaries = args.binary.into_iter().map(Say::Binary);
    let say: Vec<_> = texts.chain(binaries).chain(args.ping.then_some(Say::Ping)).collect();
    let script = Script {
        expect: args.expect.unwrap_or(say.len()),
        say,
        interval: args.interval,
        fragment: args.fragment,
        patience: args.read_timeout,
        hold: args.hold,
        close: args.close,
    };
    let end = block_on(play(&args.url, &args.headers, &args.tls, &script, &mut io::stdout()))?;
    Ok(if end == End::Good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
