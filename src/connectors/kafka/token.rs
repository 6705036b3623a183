//! Tokens for `OAUTHBEARER`: read from a file that another program refreshes, or signed for Amazon
//! MSK.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

use crate::error::{Error, Result};

#[cfg(feature = "msk")]
use super::msk::Msk;

/// The property that names the file, as in Kafka's own clients.
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
/// The size limit of a token.
const TOKEN_MAX_BYTES: usize = 64 << 10;

/// The mechanism of Amazon MSK; other clients use the same name.
const MSK: &str = "AWS_MSK_IAM";

/// The source of tokens, if the mechanism uses any.
#[derive(Clone)]
pub(super) enum Tokens {
    None,
    File(Arc<PathBuf>),
    #[cfg(feature = "msk")]
    Msk(Arc<Msk>),
}

/// The claims of a token that Kafka needs.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    /// The time of expiry in seconds since 1970; a float, because the standard allows fractions.
    exp: f64,
}

impl Tokens {
    /// Removes the settings of tokens from the properties of the cluster at `brokers`.
    pub(super) fn take(properties: &mut BTreeMap<String, String>, brokers: &str) -> Result<Self> {
        let mechanism =
            properties.get("sasl.mechanism").or_else(|| properties.get("sasl.mechanisms")).cloned();
        if mechanism.as_deref() == Some(MSK) {
            properties.retain(|name, _| !name.starts_with("sasl.mechanism"));
            properties.insert("sasl.mechanism".to_string(), "OAUTHBEARER".to_string());
            properties
                .entry("security.protocol".to_string())
                .or_insert_with(|| "sasl_ssl".to_string());
            return Self::msk(brokers);
        }
        let path = match properties.remove(ENDPOINT) {
            None if mechanism.as_deref() == Some("OAUTHBEARER") => {
                return Err(Error::config(format!(
                    "the mechanism OAUTHBEARER of Kafka needs the property {ENDPOINT}"
                ))
                .hint("Give the file:// URL of a file that contains a token."));
            }
            None => return Ok(Tokens::None),
            Some(url) => url.strip_prefix("file://").map(PathBuf::from),
        };
        let path = path.ok_or_else(|| {
            Error::config(format!("the property {ENDPOINT} of Kafka is not a file:// URL")).hint(
                "Let another program write the token to a file, and give the URL of this file.",
            )
        })?;
        Ok(Tokens::File(Arc::new(path)))
    }

    pub(super) fn are_used(&self) -> bool {
        !matches!(self, Tokens::None)
    }

    #[cfg(feature = "msk")]
    fn msk(brokers: &str) -> Result<Self> {
        let own = std::env::var("AWS_REGION").ok();
        let region = region(brokers).map(str::to_string).or(own).ok_or_else(|| {
            Error::config(format!("can't find the AWS region of {brokers}"))
                .hint("Set AWS_REGION, or use the names of the brokers that MSK shows.")
        })?;
        Ok(Tokens::Msk(Arc::new(Msk::new(&region)?)))
    }

    #[cfg(not(feature = "msk"))]
    fn msk(brokers: &str) -> Result<Self> {
        Err(Error::config(format!("can't sign for {brokers}: {MSK} is not built in"))
            .hint("Build with the feature msk."))
    }

    /// Returns the current token.
    pub(super) fn token(&self) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        let path = match self {
            Tokens::None => return Err("no file with a token is configured".into()),
            Tokens::File(path) => path,
            #[cfg(feature = "msk")]
            Tokens::Msk(msk) => return msk.token(),
        };
        let text = std::fs::read_to_string(path.as_path())
            .map_err(|e| format!("can't read the token in {}: {e}", path.display()))?;
        read(text.trim_start_matches('\u{feff}').trim()).ok_or_else(|| {
            format!("{} has no JSON web token with a time of expiry", path.display()).into()
        })
    }
}

fn read(token: &str) -> Option<OAuthToken> {
    let claims = token.split('.').nth(1).filter(|_| token.len() <= TOKEN_MAX_BYTES)?;
    let claims: Claims =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()?;
    Some(OAuthToken {
        token: token.to_string(),
        principal_name: claims.sub,
        lifetime_ms: (claims.exp * 1000.0) as i64,
    })
}

/// Returns the region in a name of MSK's brokers, `b-1.cluster.id.c2.kafka.<region>.amazonaws.com`.
#[cfg(feature = "msk")]
pub(super) fn region(brokers: &str) -> Option<&str> {
    let (_, rest) =
        brokers.split_once(".kafka.").or_else(|| brokers.split_once(".kafka-serverless."))?;
    rest.split_once(".amazonaws.com")
        .map(|(region, _)| region)
        .filter(|region| !region.contains('.'))
}
