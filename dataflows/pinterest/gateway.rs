//! The command `gateway`: records that come by HTTP, into an archive that `run --follow` reads.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::HumanCount;
use watershed::gateway::{Access, Config, Folder, FolderOptions, Gateway, Identity, Log, Refusal};
use watershed::{Error, Result};

use crate::run::{ARCHIVE, KINDS};
use crate::{duration, print, user_id};

/// Where a token may be instead of in a file: the environment of the gateway, and that of who sends to it.
pub(crate) const TOKEN: &str = "PINTEREST_GATEWAY_TOKEN";

#[derive(Args)]
pub(crate) struct GatewayArgs {
    /// Address to listen on; port 0 is any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    /// Folder of the archive to add to
    #[arg(long, value_name = "URL", default_value = ARCHIVE)]
    to: String,
    /// Topics are <ID>.pin, <ID>.geo, <ID>.user; streams streaming-<ID>-pin and so on
    #[arg(long, value_name = "ID", default_value = "demo", value_parser = user_id)]
    user_id: String,
    /// Partitions of these topics, where they are not there yet
    #[arg(long, value_name = "P", default_value_t = 1)]
    partitions: u32,
    /// How long records are gathered for an object of the archive, after they were acknowledged
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    object_every: Duration,
    /// File of bearer tokens, one a line, of which a request must have one; PINTEREST_GATEWAY_TOKEN has one more
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
    /// Requests a second of a token, or without tokens of an address [default: any]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Print a line for each request, without what was sent
    #[arg(long)]
    access_log: bool,
}

/// Serves until SIGINT or SIGTERM.
pub(crate) fn gateway(args: &GatewayArgs, out: &mut dyn Write) -> Result<()> {
    let tokens = tokens(args.tokens.as_deref())?;
    if tokens.is_empty() && !args.anyone && !args.listen.ip().is_loopback() {
        return Err(Error::config(format!("can't listen on {} for anyone", args.listen))
            .hint("Give --tokens FILE, or --anyone if whoever reaches the address may send."));
    }
    let identity = args.certificate.as_deref().zip(args.key.as_deref());
    let identity = identity.map(|(certificate, key)| Identity::read(certificate, key)).transpose()?;
    let scheme = if identity.is_some() { "https" } else { "http" };
    let log = open(&args.to, args.object_every)?;
    make_topics(&*log, &args.user_id, args.partitions)?;
    let began = Instant::now();
    let config = Config {
        streams: streams(&args.user_id),
        tokens,
        identity,
        rate: args.rate,
        access: args.access_log.then(|| Arc::new(say) as _),
        ..Config::new(Arc::new(move || began.elapsed()))
    };
    let to = log.describe();
    let gateway = Gateway::bind(args.listen, log, config)?;
    let listening = format!("listening on {scheme}://{}, adding to {to}\n", gateway.address());
    let mut said = Ok(());
    // Whoever has read that it listens may also stop it.
    let serving = async {
        match stopped().and_then(|stopped| print(out, &listening).map(|()| stopped)) {
            Ok(stopped) => stopped.await,
            Err(error) => said = Err(error),
        }
    };
    let records = gateway.run(serving)?;
    said?;
    print(out, &format!("{} records acknowledged\n", HumanCount(records)))
}

/// Opens what `url` names for appending.
pub(crate) fn open(url: &str, object_every: Duration) -> Result<Arc<dyn Log>> {
    match url.split_once("://") {
        None | Some(("file", _)) => {
            let folder = Path::new(url.strip_prefix("file://").unwrap_or(url));
            Ok(Arc::new(Folder::open(folder, FolderOptions { object_every, ..FolderOptions::default() })?))
        }
        Some((scheme, _)) => Err(Error::config(format!("can't send to {url}: there is no log for {scheme}://"))
            .hint("Give the folder of an archive, as a path or a file:// URL.")),
    }
}

/// Makes the three topics, unless they are there.
pub(crate) fn make_topics(log: &dyn Log, user_id: &str, partitions: u32) -> Result<()> {
    for (kind, _) in KINDS {
        match futures::executor::block_on(log.create(&format!("{user_id}.{kind}"), partitions)) {
            Ok(()) | Err(Refusal::Exists) => {}
            Err(Refusal::Unfit(why)) => return Err(Error::usage(format!("can't create the topic {user_id}.{kind}: {why}"))),
            Err(refusal) => {
                return Err(Error::connect(format!("can't create the topic {user_id}.{kind} in {}: {refusal}", log.describe())));
            }
        }
    }
    Ok(())
}

/// The streams of a user, and the topics that they are.
fn streams(user_id: &str) -> BTreeMap<String, String> {
    KINDS.iter().map(|(kind, _)| (format!("streaming-{user_id}-{kind}"), format!("{user_id}.{kind}"))).collect()
}

fn tokens(file: Option<&Path>) -> Result<Vec<String>> {
    let mut tokens: Vec<String> = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).into_iter().collect();
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .map_err(|e| Error::config(format!("can't read the tokens in {}", file.display())).because(e))?;
        let before = tokens.len();
        tokens.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string));
        if tokens.len() == before {
            return Err(Error::config(format!("there is no token in {}", file.display())).hint("Write one a line."));
        }
    }
    Ok(tokens)
}

fn say(access: &Access<'_>) {
    let Access { peer, method, route, status, bytes, took } = access;
    eprintln!("{peer} {method} {route} {status} {bytes} B {:.1} ms", took.as_secs_f64() * 1e3);
}

/// What ends at SIGINT or SIGTERM, from now on.
pub(crate) fn stopped() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e| Error::internal("can't listen to signals").because(e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
