//! Buckets of S3 and of compatible servers, configured as for the tools of AWS.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Setting, S3ConditionalPut,
};
use object_store::path::Path as Key;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};

use super::remote::{self, Bucket, Remote};
use super::responses::Connector;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{io_runtime, lock};

/// The time limit for credentials to be found.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(4);
/// The time limit for the first response of a bucket.
const FIRST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(9);
const UNREACHED_HINT: &str = "Check AWS_ENDPOINT_URL, AWS_REGION and the network.";
/// The time limit for one request, as a setting.
const REQUEST_TIMEOUT: &str = "120 seconds";
/// The time after which a failing request is not repeated any more.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings by their names in the environment, such as `AWS_REGION`.
type Settings = BTreeMap<String, String>;

/// The buckets in use. Stores on one bucket share its connections and threads.
static BUCKETS: Mutex<BTreeMap<String, Arc<Bucket>>> = Mutex::new(BTreeMap::new());

/// Opens `bucket/prefix`.
pub(super) fn open(path: &str) -> Result<Remote> {
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    // Do not repeat a refused name in the message: it may be a secret that does not belong in a
    // URL.
    if bucket.is_empty() || bucket.len() > 255 || !bucket.chars().all(known) {
        return Err(Error::config(
            "can't open an s3:// URL: it does not begin with the name of a bucket",
        )
        .hint("Give s3://bucket/prefix; credentials come from the environment or from ~/.aws."));
    }
    let key = Key::from(prefix);
    if key.as_ref() != prefix.trim_end_matches('/') {
        return Err(Error::config(format!(
            "can't open s3://{bucket}/{prefix}: its path would have to be written {key}"
        ))
        .hint("Give a path of plain names with one slash between."));
    }
    let prefix = key;
    let mut buckets = lock(&BUCKETS);
    let found = match buckets.get(bucket) {
        Some(found) => found.clone(),
        None => {
            let found = Arc::new(connect(bucket, &prefix, &settings())?);
            buckets.insert(bucket.to_string(), found.clone());
            found
        }
    };
    Ok(Remote::on(found, prefix))
}

/// Connects to a bucket and checks that `prefix` may be listed.
fn connect(bucket: &str, prefix: &Key, settings: &Settings) -> Result<Bucket> {
    let message = format!("can't open s3://{bucket}");
    let build = |builder: AmazonS3Builder| {
        builder.build().map_err(|e| Error::config(message.clone()).because(e))
    };
    let builder = builder(bucket, settings)?;
    let objects = build(builder.clone())?;
    let builder = builder.with_credentials(objects.credentials().clone());
    let retrying = |max_retries| {
        build(builder.clone().with_retry(RetryConfig { max_retries, ..RetryConfig::default() }))
    };
    let runtime = io_runtime()?;
    runtime.block_on(reach(&retrying(2)?, prefix, &message))?;
    let once = retrying(0)?;
    Ok(Bucket::new(format!("s3://{bucket}/"), Arc::new(objects), Arc::new(once), runtime))
}

async fn reach(objects: &AmazonS3, prefix: &Key, message: &str) -> Result<()> {
    if !matches!(
        tokio::time::timeout(CREDENTIALS_TIMEOUT, objects.credentials().get_credential()).await,
        Ok(Ok(_))
    ) {
        return Err(Error::config(format!("{message}: there are no credentials")).hint(
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for one of \
                ~/.aws/credentials.",
        ));
    }
    match tokio::time::timeout(FIRST_RESPONSE_TIMEOUT, objects.list(Some(prefix)).next()).await {
        Ok(Some(Err(e))) => match remote::failed(message.to_string(), e) {
            error if error.kind() == ErrorKind::Connect => Err(error.hint(UNREACHED_HINT)),
            error => Err(error),
        },
        Ok(_) => Ok(()),
        Err(_) => Err(Error::connect(format!(
            "{message}: no answer within {} seconds",
            FIRST_RESPONSE_TIMEOUT.as_secs()
        ))
        .hint(UNREACHED_HINT)),
    }
}

pub(super) fn builder(bucket: &str, settings: &Settings) -> Result<AmazonS3Builder> {
    let retry = RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_http_connector(Connector)
        .with_config(Setting::Client(ClientConfigKey::ConnectTimeout), "3 seconds")
        .with_config(Setting::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT)
        .with_config(Setting::Client(ClientConfigKey::PoolMaxIdlePerHost), "128")
        .with_retry(retry);
    for (name, value) in settings {
        if let Ok(setting) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(setting, value);
        }
    }
    let endpoint = [Setting::S3Endpoint, Setting::Endpoint]
        .iter()
        .find_map(|name| builder.get_config_value(name));
    if let Some(host) = endpoint.as_deref().and_then(|endpoint| endpoint.strip_prefix("http://")) {
        let allowed = builder.get_config_value(&Setting::Client(ClientConfigKey::AllowHttp));
        if !loopback(host) && allowed.as_deref() != Some("true") {
            return Err(Error::config(format!(
                "can't open s3://{bucket}: its endpoint is reached without encryption"
            ))
            .hint(
                "Give an https:// endpoint, or set AWS_ALLOW_HTTP=true if the network is trusted.",
            ));
        }
        builder = builder.with_allow_http(true);
    }
    Ok(builder.with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch))
}

/// Returns true if `rest`, the part of a URL after `http://`, names this machine.
fn loopback(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => authority.split(':').next().unwrap_or(authority),
    };
    // The part before an @ is a user, whatever it looks like.
    !authority.contains('@')
        && (host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

/// Returns the settings of the environment, completed by those of its profile.
fn settings() -> Settings {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment: Settings = std::env::vars_os().filter_map(text).collect();
    let mut settings = Settings::new();
    let home = environment.get("HOME").map(|home| PathBuf::from(home).join(".aws"));
    let files = [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
    for (named, usual) in files {
        let path =
            environment.get(named).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(usual)));
        let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let chosen = environment.get("AWS_PROFILE").map_or("default", String::as_str);
        settings.extend(profile(&text, chosen));
    }
    if environment.contains_key("AWS_ACCESS_KEY_ID") {
        // Never mix two pairs of credentials.
        settings.retain(|name, _| {
            !["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].contains(&&**name)
        });
    }
    settings.extend(environment.into_iter().filter(|(name, _)| name.starts_with("AWS_")));
    settings
}

/// Returns the settings of a profile in a file of `~/.aws`, by their names in the environment.
pub(super) fn profile(text: &str, chosen: &str) -> Settings {
    let known = [
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "region",
        "endpoint_url",
    ];
    let mut inside = false;
    let mut settings = Settings::new();
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = section.strip_prefix("profile ").unwrap_or(section).trim() == chosen;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            let name = name.trim();
            if known.contains(&name) {
                let name = name.strip_prefix("aws_").unwrap_or(name).to_ascii_uppercase();
                settings.insert(format!("AWS_{name}"), value.trim().to_string());
            }
        }
    }
    settings
}
