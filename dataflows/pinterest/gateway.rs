//! The command `gateway`: records that come by HTTP, into an archive that `run --follow` reads,
//! into Kafka or into Kinesis.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::executor::block_on;
use indicatif::HumanCount;
use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
#[cfg(feature = "kafka")]
use watershed::connectors::kafka::Kafka;
#[cfg(feature = "kinesis")]
use watershed::connectors::kinesis::Kinesis;
use watershed::gateway::{Access, Append, Config, Gateway, Identity, Refusal};
use watershed::{Error, Result};

use crate::run::{ARCHIVE, KINDS, at_signals, plainly};
use crate::{duration, print, user_id};

/// Where a token may be instead of in a file: the environment of the gateway, and that of who sends
/// to it.
pub(crate) const TOKEN: &str = "PINTEREST_GATEWAY_TOKEN";
/// Said at the first signal.
const ENDING: &str = "once what was taken is where it belongs";

#[derive(Args)]
pub(crate) struct GatewayArgs {
    /// Address to listen on, such as localhost:8082, or :8082 for every address of this machine;
    /// port 0 is any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8082", value_parser = listen)]
    listen: SocketAddr,
    /// Where records go: the folder of an archive, or if built with that feature kafka://host:port
    /// or kinesis://region; Kinesis promises no order to the records of one request, not even to
    /// those of one key
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
    /// File of bearer tokens, one a line, of which a request must have one; PINTEREST_GATEWAY_TOKEN
    /// has one more
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
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    close_within: Duration,
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
    let identity =
        identity.map(|(certificate, key)| Identity::read(certificate, key)).transpose()?;
    let scheme = if identity.is_some() { "https" } else { "http" };
    if !tokens.is_empty() && identity.is_none() && !args.listen.ip().is_loopback() {
        tracing::warn!(
            "tokens reach {} without encryption: whoever sees them on their way may send; give --certificate and --key",
            args.listen
        );
    }
    let log = open(&args.to, args.object_every)?;
    make_topics(&*log, &names(&args.to, &args.user_id), args.partitions)?;
    let (topics, streams) = (topics(&args.user_id), streams(&args.user_id));
    let renamed =
        |from: [String; 3], to: [String; 3]| from.into_iter().zip(to).collect::<BTreeMap<_, _>>();
    let began = Instant::now();
    let owner = args.user_id.clone();
    let mut config = Config::new(Arc::new(move || began.elapsed()));
    config.server.tokens = tokens;
    config.server.identity = identity;
    config.server.requests_per_second = args.rate;
    config.server.hosts = args.host.clone();
    config.server.limits.address_share_percent = args.share;
    config.owns = Some(Arc::new(move |name| is_owned(&owner, name)));
    config.close_timeout = args.close_within;
    config.access_log = args.access_log.then(|| Arc::new(say) as _);
    match has_streams(&args.to) {
        true => config.topics = renamed(topics, streams),
        false => config.streams = renamed(streams, topics),
    }
    let to = log.describe();
    let gateway = Gateway::bind(args.listen, log, config)?;
    let listening = format!("listening on {scheme}://{}, adding to {to}\n", gateway.address());
    let mut said = Ok(());
    // Whoever has read that it listens may also stop it.
    let serving = async {
        match stopped(ENDING).and_then(|stopped| print(out, &listening).map(|()| stopped)) {
            Ok(stopped) => stopped.await,
            Err(error) => said = Err(error),
        }
    };
    let records = gateway.run(serving)?;
    said?;
    print(out, &format!("{} records acknowledged\n", HumanCount(records)))
}

/// Opens what `url` names for appending.
pub(crate) fn open(url: &str, object_every: Duration) -> Result<Arc<dyn Append>> {
    match url.split_once("://") {
        None | Some(("file", _)) => {
            let folder = Path::new(url.strip_prefix("file://").unwrap_or(url));
            let options = AppendOptions { object_interval: object_every, ..AppendOptions::default() };
            Ok(Arc::new(ArchiveAppender::open(folder, options)?))
        }
        #[cfg(feature = "kafka")]
        Some(("kafka", _)) => Ok(Arc::new(Kafka::open(url)?.appender()?)),
        #[cfg(feature = "kinesis")]
        Some(("kinesis", _)) => Ok(Arc::new(Kinesis::open(url)?.appender())),
        Some((scheme, _)) if ["kafka", "kinesis"].contains(&scheme) => {
            Err(Error::config(format!("can't send to {}: {scheme} is not built in", plainly(url)))
                .hint(format!("Build with --features {scheme}.")))
        }
        Some(_) => Err(Error::config(format!("can't send to {}: there is no log of that kind", plainly(url)))
            .hint("Give the folder of an archive, as a path or a file:// URL, or kafka://host:port or kinesis://region.")),
    }
}

/// The topics of a user.
fn topics(user_id: &str) -> [String; 3] {
    KINDS.map(|(kind, _)| format!("{user_id}.{kind}"))
}

/// The streams of a user.
pub(crate) fn streams(user_id: &str) -> [String; 3] {
    KINDS.map(|(kind, _)| format!("streaming-{user_id}-{kind}"))
}

/// Whether what `url` names has streams, not topics.
pub(crate) fn has_streams(url: &str) -> bool {
    url.starts_with("kinesis://")
}

/// What the topics of a user are called in what `url` names.
pub(crate) fn names(url: &str, user_id: &str) -> [String; 3] {
    if has_streams(url) { streams(user_id) } else { topics(user_id) }
}

/// Makes the topics that are not there.
pub(crate) fn make_topics(log: &dyn Append, names: &[String; 3], partitions: u32) -> Result<()> {
    for name in names {
        // Whoever may only write need not ask for more.
        let made = block_on(log.partitions(name)).map(|_| ()).or_else(|refusal| match refusal {
            Refusal::NoTopic => block_on(log.create(name, partitions)),
            other => Err(other),
        });
        match made {
            Ok(()) | Err(Refusal::Exists) => {}
            Err(Refusal::Invalid(why)) => {
                return Err(Error::usage(format!("can't create {name}: {why}")));
            }
            Err(refusal) => {
                let error =
                    if let Refusal::Denied(_) = refusal { Error::config } else { Error::connect };
                return Err(error(format!(
                    "can't find or create {name} in {}: {refusal}",
                    log.describe()
                )));
            }
        }
    }
    Ok(())
}

/// The token of the environment, if it has one.
pub(crate) fn token() -> Result<Option<String>> {
    let Ok(token) = std::env::var(TOKEN) else { return Ok(None) };
    match token.trim() {
        "" if token.is_empty() => Ok(None),
        "" => Err(Error::config(format!("the token in {TOKEN} is blank"))
            .hint("Give one of letters and digits, or unset it.")),
        token => Ok(Some(token.to_string())),
    }
}

fn tokens(file: Option<&Path>) -> Result<Vec<String>> {
    let mut tokens: Vec<String> = token()?.into_iter().collect();
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

/// An address, a name and a port, or a port of every address of this machine.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let named = || if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_string() };
    let found = named().to_socket_addrs().map_err(|_| {
        "give an address such as 127.0.0.1:8082, localhost:8082 or :8082".to_string()
    })?;
    // A name may have several: a client that takes it literally tries the old kind first.
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| "there is no address of this name".to_string())
}

fn say(access: &Access<'_>) {
    let Access { peer, method, route, status, bytes, took } = access;
    crate::say(format_args!(
        "{peer} {method} {route} {status} {bytes} B {:.1} ms",
        took.as_secs_f64() * 1e3
    ));
}

/// Returns a future that ends at the first SIGINT or SIGTERM from now on, which is then `said`; the
/// second ends the process.
pub(crate) fn stopped(said: &'static str) -> Result<impl Future<Output = ()>> {
    let (told, stopped) = tokio::sync::oneshot::channel();
    at_signals(said, move || told.send(()).unwrap_or_default())?;
    Ok(async move { stopped.await.unwrap_or_default() })
}

/// True for the name of a topic or a stream that is a user's: the user's id, and one more word.
fn is_owned(user_id: &str, name: &str) -> bool {
    let one = |rest: Option<&str>, between: char| {
        rest.and_then(|rest| rest.strip_prefix(between))
            .is_some_and(|word| !word.is_empty() && !word.contains(between))
    };
    let stream = name.strip_prefix("streaming-").and_then(|name| name.strip_prefix(user_id));
    one(name.strip_prefix(user_id), '.') || one(stream, '-')
}

#[cfg(test)]
mod tests {
    use super::is_owned;

    #[test]
    fn a_user_owns_names_of_one_more_word() {
        for name in ["demo.pin", "demo.more", "streaming-demo-pin", "streaming-demo-more"] {
            assert!(is_owned("demo", name), "{name}");
        }
        for name in [
            "demo",
            "demo.",
            "demo.x.pin",
            "demonstration.pin",
            "other.pin",
            "streaming-demo-",
            "streaming-demo-x-pin",
            "",
        ] {
            assert!(!is_owned("demo", name), "{name}");
        }
        assert!(is_owned("demo.x", "demo.x.pin") && is_owned("demo-x", "streaming-demo-x-pin"));
    }
}
