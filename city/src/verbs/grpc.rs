//! `city grpc`: call a gRPC service (run it on a host of the City).

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use tonic::metadata::{MetadataKey, MetadataValue};

use crate::clients::block_on;
use crate::clients::dial::TlsArgs;
use crate::clients::grpc::{Call, Options, call, status_line};
use crate::services::grpc::pb::{EchoRequest, FailRequest};
use crate::trouble::{Result, Trouble};

const HELP: &str =
    "Prints one line a message, `1: hello`, and last of all how the call ended: `grpc-status: 0 (OK)`,
or `grpc-status: 5 (NotFound) no such leaf`. The exit status is 0 for OK and 1 for every other.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Where to: host:port
    address: String,
    /// What to call
    method: Method,
    /// The text to send; for client-stream and bidi one message each; for health a service; for fail the
    /// status code and then a message
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// How many messages server-stream is to send
    #[arg(long, value_name = "N", default_value_t = 3)]
    count: u32,
    /// How long the server is to wait before each answer
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    delay: Duration,
    /// How long the whole call may take; the server is told too (grpc-timeout)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    /// Further metadata
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = metadata)]
    metadata: Vec<(String, String)>,
    /// What to ask for as :authority, in place of the address
    #[arg(long, value_name = "NAME")]
    authority: Option<String>,
    /// Over TLS
    #[arg(long)]
    tls: bool,
    #[command(flatten)]
    tls_args: TlsArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Method {
    /// Whether the server, or a service of it, serves
    Health,
    /// One message, the same one back
    Unary,
    /// One message, --count of them back
    ServerStream,
    /// Several messages, one back
    ClientStream,
    /// Several messages, each of them back
    Bidi,
    /// End with a status: fail 5 'no such leaf'
    Fail,
    /// The names of all services, by reflection
    List,
}

fn metadata(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'name: value'")?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    MetadataKey::<tonic::metadata::Ascii>::from_bytes(name.as_bytes())
        .map_err(|_| format!("'{name}' is no name of (textual) metadata"))?;
    MetadataValue::try_from(value).map_err(|_| format!("'{value}' is no metadata"))?;
    Ok((name, value.into()))
}

impl Args {
    fn call(&self) -> Result<Call> {
        let delay_ms = u32::try_from(self.delay.as_millis()).unwrap_or(u32::MAX);
        let echo = |text: &String| EchoRequest { text: text.clone(), count: self.count, delay_ms };
        let first = self.texts.first().cloned().unwrap_or_default();
        Ok(match self.method {
            Method::Health => Call::Health(first),
            Method::List => Call::List,
            Method::Unary => Call::Unary(echo(&first)),
            Method::ServerStream => Call::ServerStream(echo(&first)),
            Method::ClientStream => Call::ClientStream(self.texts.iter().map(echo).collect()),
            Method::Bidi => Call::Bidi(self.texts.iter().map(echo).collect()),
            Method::Fail => {
                let code = first.parse().ok().filter(|code| *code <= 16).ok_or_else(|| {
                    Trouble::new(format!("'{first}' is no gRPC status code"))
                        .remedy("name one from 0 to 16, as in: fail 5 'no such leaf'")
                        .status(2)
                })?;
                Call::Fail(FailRequest { code, message: self.texts[1..].join(" ") })
            }
        })
    }
}

pub fn run(args: Args) -> Result<ExitCode> {
    let wanted = args.call()?;
    let options = Options {
        address: args.address,
        tls: args.tls.then_some(args.tls_args),
        authority: args.authority,
        deadline: args.deadline,
        metadata: args.metadata,
    };
    let status = block_on(call(&options, wanted, &mut io::stdout()))?;
    println!("{}", status_line(&status));
    Ok(if status.code() == tonic::Code::Ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
