//! `city raw`: send bytes exactly as given, in given pieces (run it on a host of the City).

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use crate::clients::dial::{self, Stream, TlsArgs};
use crate::clients::{block_on, raw};
use crate::trouble::{OrTrouble, Result, Trouble};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

const HELP: &str = r"Every PIECE is a TCP segment of its own. What comes back is printed as text (CRLF as a line end,
other control characters as \xNN) while it comes, and last of all how it ended: `(closed by the
server)`, `(reset by the server)` or `(nothing for 5s)`. The exit status is 0 in all three cases,
and 1 when there was no connection at all.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Where to: host:port
    address: String,
    /// What to send; \r \n \t \0 \\ and \xNN are understood; `-` is standard input, as it is
    #[arg(value_name = "PIECE", required = true)]
    pieces: Vec<String>,
    /// Send the last PIECE this many times
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u64,
    /// Wait this long between two pieces
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// Close the sending side after the last piece
    #[arg(long)]
    half_close: bool,
    /// Leave when nothing has come for this long
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    read_timeout: Duration,
    /// Over TLS
    #[arg(long)]
    tls: bool,
    /// What to offer by ALPN, such as h2,http/1.1; the choice is printed first
    #[arg(long, value_name = "PROTOCOLS", value_delimiter = ',', requires = "tls")]
    alpn: Vec<String>,
    #[command(flatten)]
    tls_args: TlsArgs,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let pieces = args.pieces.iter().map(|piece| bytes(piece)).collect::<Result<Vec<_>>>()?;
    let script = raw::Script {
        pieces,
        repeat: args.repeat,
        pause: args.pause,
        half_close: args.half_close,
        patience: args.read_timeout,
    };
    block_on(async {
        let stream = dial::tcp(&args.address, CONNECT).await?;
        let stream: Box<dyn Stream> = if args.tls {
            let alpn: Vec<_> = args.alpn.iter().map(String::as_str).collect();
            let (stream, chosen) = dial::tls(stream, &args.address, &args.tls_args, &alpn).await?;
            if !alpn.is_empty() {
                println!("(ALPN: {})", chosen.as_deref().unwrap_or("none"));
            }
            Box::new(stream)
        } else {
            Box::new(stream)
        };
        let end = raw::play(stream, &script, &mut io::stdout()).await;
        match end.and_then(|end| writeln!(io::stdout(), "{end}")) {
            // Somebody piped it into `head`, and has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            shown => shown.or_trouble(|| "cannot print what came".into()).map(|()| ExitCode::SUCCESS),
        }
    })
}

fn bytes(piece: &str) -> Result<Vec<u8>> {
    if piece == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).or_trouble(|| "cannot read standard input".into())?;
        return Ok(bytes);
    }
    raw::unescape(piece).map_err(|why| Trouble::new(why).status(2))
}
