//! Tokens for Amazon MSK. A token is a presigned URL of the action `kafka-cluster:Connect`, signed
//! with the credentials of the AWS environment.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use tokio::runtime::Runtime;

use crate::error::Result;
use crate::sync::{io_runtime, lock};

type Cause = Box<dyn std::error::Error>;

/// The lifetime of a token.
const TOKEN_LIFETIME: Duration = Duration::from_secs(900);
/// Credentials with less lifetime left are fetched again.
const CREDENTIALS_MIN_LIFETIME: Duration = Duration::from_secs(300);
/// The time limit for fetching credentials.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(10);

/// A signer of tokens for the clusters of one region.
pub(super) struct Msk {
    region: String,
    runtime: &'static Runtime,
    config: SdkConfig,
    credentials: Mutex<Option<Credentials>>,
}

impl Msk {
    /// Reads the AWS environment. Credentials are fetched with the first token.
    pub(super) fn new(region: &str) -> Result<Self> {
        let runtime = io_runtime()?;
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.to_string()))
            .http_client(http);
        let config = runtime.block_on(config.load());
        Ok(Msk { region: region.to_string(), runtime, config, credentials: Mutex::default() })
    }

    /// Returns a token that is valid from now on.
    pub(super) fn token(&self) -> Result<OAuthToken, Cause> {
        let now = self.config.time_source().unwrap_or_default().now();
        let mut known = lock(&self.credentials);
        let fresh = |held: &Credentials| {
            held.expiry().is_none_or(|expiry| expiry > now + CREDENTIALS_MIN_LIFETIME)
        };
        let credentials = match known.take().filter(fresh) {
            Some(credentials) => credentials,
            None => self.fetch()?,
        };
        *known = Some(credentials.clone());
        token(&self.region, credentials, now)
    }

    fn fetch(&self) -> Result<Credentials, Cause> {
        let provider =
            self.config.credentials_provider().ok_or("the AWS environment gives no credentials")?;
        let fetched = async {
            tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await
        };
        Ok(self.runtime.block_on(fetched)??)
    }
}

/// Returns a token for clusters of `region`, valid from `now` on.
pub(super) fn token(
    region: &str,
    credentials: Credentials,
    now: SystemTime,
) -> Result<OAuthToken, Cause> {
    let until = credentials.expiry().unwrap_or(now + TOKEN_LIFETIME).min(now + TOKEN_LIFETIME);
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(TOKEN_LIFETIME);
    let identity = credentials.into();
    let signing = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("kafka-cluster")
        .time(now);
    let url = format!("https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect");
    let request =
        SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(&[]))?;
    let (signed, _) = sign(request, &signing.settings(settings).build()?.into())?.into_parts();
    let mut url = url;
    for (name, value) in signed.params() {
        url.extend(["&", &encode(name), "=", &encode(value)]);
    }
    url.push_str("&User-Agent=watershed");
    let lifetime_ms = until.duration_since(UNIX_EPOCH)?.as_millis() as i64;
    Ok(OAuthToken {
        token: URL_SAFE_NO_PAD.encode(url),
        principal_name: String::new(),
        lifetime_ms,
    })
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
