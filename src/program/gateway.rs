//! The command `gateway`: appends records that arrive by HTTP to an archive, which `run --follow`
//! reads, or to Kafka or Kinesis.

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

/// The work that is left at the first signal.
const ENDING: &str = "once all acknowledged records are in the log";

#[derive(Args)]
pub(super) struct GatewayArgs {
    /// Address to listen on, such as localhost:8082, or :8082 for all addresses of this machine;
    /// port 0 selects a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8082")]
    #[arg(value_parser = values::listen)]
    listen: SocketAddr,
    /// Log to append to: the folder of an archive, or kafka://host:port or kinesis://region if
    /// built with that feature. Kinesis does not keep the order of the records of one request, not
    /// even of those with one key
    #[arg(long, value_name = "URL", default_value = ARCHIVE)]
    to: String,
    /// Partitions of the topics that it creates
    #[arg(long, value_name = "P", default_value_t = 1)]
    partitions: u32,
    /// Time for which acknowledged records are collected for an object of the archive
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = values::duration)]
    object_every: Duration,
    /// File of bearer tokens, one per line; each request must have one of them
    #[arg(long, value_name = "PATH")]
    tokens: Option<PathBuf>,
    /// Certificates for TLS in PEM, beginning with the gateway's own
    #[arg(long, value_name = "PATH", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "PATH", requires = "certificate")]
    key: Option<PathBuf>,
    /// Accept requests without tokens, also from other machines
    #[arg(long)]
    anyone: bool,
    /// Name of the gateway for its clients, with a port or for any port; repeat it for more.
    /// Without tokens, the Host of a request must be one of these names, localhost or the address,
    /// and so must its Origin, if it has one: pages of other sites are refused
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Percent of the connections, and of the bytes in flight, that one address may have; use 100
    /// behind a proxy that is the only client
    #[arg(long, value_name = "PERCENT", default_value_t = 75)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=100))]
    share: u8,
    /// Most requests a second of a token, or without tokens of an address [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Longest time from the first signal until all acknowledged records are in the log; a second
    /// signal ends the gateway at once
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = values::duration)]
    close_within: Duration,
    /// Print a line for each request, without its records
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
            .hint("Give --tokens FILE, or --anyone if every client that reaches it may send."));
    }
    let identity = args.certificate.as_deref().zip(args.key.as_deref());
    let identity =
        identity.map(|(certificate, key)| Identity::read(certificate, key)).transpose()?;
    let scheme = if identity.is_some() { "https" } else { "http" };
    if !tokens.is_empty() && identity.is_none() && !args.listen.ip().is_loopback() {
        tracing::warn!(
            "tokens reach {} without encryption, so others on the network can read and use them; \
             give --certificate and --key",
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
    // Install the signal handler before the line is printed: its reader may stop the gateway at
    // once.
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
                .hint("Write one token per line."));
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
