//! Tokens for `OAUTHBEARER`: read from a file that something else keeps fresh, or signed for Amazon
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
/// The longest token.
const LONGEST: usize = 64 << 10;

/// The mechanism of Amazon MSK, as it is called elsewhere too.
const MSK: &str = "AWS_MSK_IAM";

/// Where tokens come from, if they are needed.
#[derive(Clone)]
pub(super) enum Tokens {
    None,
    File(Arc<PathBuf>),
    #[cfg(feature = "msk")]
    Msk(Arc<Msk>),
}

/// What is read of a token.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    /// When it runs out, in seconds since 1970; as a float, because the standard allows fractions.
    exp: f64,
}

impl Tokens {
    /// Takes what concerns tokens out of the properties of the cluster at `brokers`.
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
                .hint("Give the file:// URL of a file that holds a token."));
            }
            None => return Ok(Tokens::None),
            Some(url) => url.strip_prefix("file://").map(PathBuf::from),
        };
        let path = path.ok_or_else(|| {
            Error::config(format!("the property {ENDPOINT} of Kafka is no file:// URL"))
                .hint("Let another program fetch tokens, and name the file it writes.")
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
            Error::config(format!("can't tell the AWS region of {brokers}"))
                .hint("Set AWS_REGION, or give the names that MSK gives.")
        })?;
        Ok(Tokens::Msk(Arc::new(Msk::new(&region)?)))
    }

    #[cfg(not(feature = "msk"))]
    fn msk(brokers: &str) -> Result<Self> {
        Err(Error::config(format!("can't sign for {brokers}: {MSK} is not built in"))
            .hint("Build with the feature msk."))
    }

    /// The token as it is now.
    pub(super) fn token(&self) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        let path = match self {
            Tokens::None => return Err("no file of tokens is named".into()),
            Tokens::File(path) => path,
            #[cfg(feature = "msk")]
            Tokens::Msk(msk) => return msk.token(),
        };
        let text = std::fs::read_to_string(path.as_path())
            .map_err(|e| format!("can't read the token in {}: {e}", path.display()))?;
        read(text.trim_start_matches('\u{feff}').trim()).ok_or_else(|| {
            format!("{} holds no JSON web token that says when it runs out", path.display()).into()
        })
    }
}

fn read(token: &str) -> Option<OAuthToken> {
    let claims = token.split('.').nth(1).filter(|_| token.len() <= LONGEST)?;
    let claims: Claims =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()?;
    Some(OAuthToken {
        token: token.to_string(),
        principal_name: claims.sub,
        lifetime_ms: (claims.exp * 1000.0) as i64,
    })
}

/// The region in the names of MSK's brokers, `b-1.cluster.id.c2.kafka.<region>.amazonaws.com`.
#[cfg(feature = "msk")]
pub(super) fn region(brokers: &str) -> Option<&str> {
    let (_, rest) =
        brokers.split_once(".kafka.").or_else(|| brokers.split_once(".kafka-serverless."))?;
    rest.split_once(".amazonaws.com")
        .map(|(region, _)| region)
        .filter(|region| !region.contains('.'))
}
