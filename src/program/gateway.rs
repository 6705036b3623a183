//! The command `gateway`: records that come by HTTP, into an archive that `run --follow` reads, or
//! into Kafka or Kinesis.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::HumanCount;

use super::append::{Appending, OpenOptions};
use super::bind::ARCHIVE;
use super::process::{print, say, stopped};
use super::shell::{Names, Shell};
use super::values;
use crate::error::{Error, Result};
use crate::gateway::{Access, Config, Gateway, Identity};

/// The rest of the message at the first signal.
const ENDING: &str = "once what was taken is where it belongs";

#[derive(Args)]
pub(super) struct GatewayArgs {
    /// Address to listen on, such as localhost:8082, or :8082 for every address of this machine;
    /// port 0 is any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8082", value_parser = values::listen)]
    listen: SocketAddr,
    /// Where records go: the folder of an archive, or if built with that feature kafka://host:port
    /// or kinesis://region; Kinesis promises no order to the records of one request, not even to
    /// those of one key
    #[arg(long, value_name = "URL", default_value = ARCHIVE)]
    to: String,
    /// Partitions of these topics, where they are not there yet
    #[arg(long, value_name = "P", default_value_t = 1)]
    partitions: u32,
    /// How long records are gathered for an object of the archive, after they were acknowledged
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = values::duration)]
    object_every: Duration,
    /// File of bearer tokens, one a line, of which a request must have one
    #[arg(long, value_name = "PATH")]
    tokens: Option<PathBuf>,
    /// Certificates in PEM, of the gateway first, to speak TLS with
    #[arg(long, value_name = "PATH", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "PATH", requires = "certificate")]
    key: Option<PathBuf>,
    /// Serve anyone who can reach the address, also when that is not this machine alone
    #[arg(long)]
    anyone: bool,
    /// A name by which clients call the gateway, with a port or for any; give it again for more.
    /// Without tokens a request must name one of them, localhost or the address as its Host, and no
    /// other as its Origin: pages of other sites may not ask
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Percent of the connections, and of the bytes on their way, that one address may have; 100
    /// behind a proxy that is the only client
    #[arg(long, value_name = "PERCENT", default_value_t = 75, value_parser = clap::value_parser!(u8).range(1..=100))]
    share: u8,
    /// Requests a second of a token, or without tokens of an address [default: any]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// How long the end waits until all that was acknowledged is where it belongs; a second signal
    /// ends it at once
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = values::duration)]
    close_within: Duration,
    /// Print a line for each request, without the records
    #[arg(long)]
    access_log: bool,
}

/// Serves until SIGINT or SIGTERM.
pub(super) fn gateway(
    args: &GatewayArgs,
    shell: &Shell,
    names: Names,
    out: &mut dyn Write,
) -> Result<()> {
    let tokens = tokens(shell, args.tokens.as_deref())?;
    if tokens.is_empty() && !args.anyone && !args.listen.ip().is_loopback() {
        return Err(Error::config(format!("can't listen on {} for anyone", args.listen))
            .hint("Give --tokens FILE, or --anyone if whoever reaches the address may send."));
    }
    let identity = args.certificate.as_deref().zip(args.key.as_deref());
    let identity =
        identity.map(|(certificate, key)| Identity::read(certificate, key)).transpose()?;
    let scheme = if identity.is_some() { "https" } else { "http" };
    if !tokens.is_empty() && identity.is_none() && !args.listen.ip().is_loopback() {
        tracing::warn!(
            "tokens reach {} without encryption: whoever sees them on their way may send; give \
             --certificate and --key",
            args.listen
        );
    }
    let options = OpenOptions { object_interval: args.object_every, partitions: args.partitions };
    let Appending { log, keyed, .. } = Appending::open(&args.to, &names, options)?;
    let (topics, streams) = (names.topics(), names.streams());
    let renamed =
        |from: Vec<String>, to: Vec<String>| from.into_iter().zip(to).collect::<BTreeMap<_, _>>();
    let began = Instant::now();
    let mut config = Config::new(Arc::new(move || began.elapsed()));
    match keyed {
        true => config.topics = renamed(topics, streams),
        false => config.streams = renamed(streams, topics),
    }
    config.server.tokens = tokens;
    config.server.identity = identity;
    config.server.requests_per_second = args.rate;
    config.server.hosts = args.host.clone();
    config.server.limits.address_share_percent = args.share;
    config.owns = Some(Arc::new(move |name| names.owns(name)));
    config.close_timeout = args.close_within;
    config.access_log = args.access_log.then(|| Arc::new(report) as _);
    let to = log.describe();
    let gateway = Gateway::bind(args.listen, log, config)?;
    let listening = format!("listening on {scheme}://{}, adding to {to}\n", gateway.address());
    let mut started = Ok(());
    // The handler of signals comes first: a reader of the line may stop the gateway at once.
    let serving = async {
        match stopped(shell.name, ENDING).and_then(|end| print(out, &listening).map(|()| end)) {
            Ok(end) => end.await,
            Err(error) => started = Err(error),
        }
    };
    let records = gateway.run(serving)?;
    started?;
    print(out, &format!("{} records acknowledged\n", HumanCount(records)))
}

/// Returns the name of the environment variable that holds a token, for the gateway and for its
/// clients.
pub(super) fn token_variable(shell: &Shell) -> String {
    format!("{}_GATEWAY_TOKEN", shell.name.to_ascii_uppercase().replace('-', "_"))
}

/// Returns the token of the environment, if it has one.
pub(super) fn token(shell: &Shell) -> Result<Option<String>> {
    let variable = token_variable(shell);
    let Ok(token) = std::env::var(&variable) else { return Ok(None) };
    match token.trim() {
        "" if token.is_empty() => Ok(None),
        "" => Err(Error::config(format!("the token in {variable} is blank"))
            .hint("Give one of letters and digits, or unset it.")),
        token => Ok(Some(token.to_string())),
    }
}

fn tokens(shell: &Shell, file: Option<&Path>) -> Result<Vec<String>> {
    let mut tokens: Vec<String> = token(shell)?.into_iter().collect();
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).map_err(|e| {
            Error::config(format!("can't read the tokens in {}", file.display())).because(e)
        })?;
        let before = tokens.len();
        let text = text.trim_start_matches('\u{feff}');
        tokens.extend(
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string),
        );
        if tokens.len() == before {
            return Err(Error::config(format!("there is no token in {}", file.display()))
                .hint("Write one a line."));
        }
    }
    Ok(tokens)
}

/// Prints a line for a request.
fn report(access: &Access<'_>) {
    let Access { peer, method, route, status, bytes, took } = access;
    say(format_args!(
        "{peer} {method} {route} {status} {bytes} B {:.1} ms",
        took.as_secs_f64() * 1e3
    ));
}
