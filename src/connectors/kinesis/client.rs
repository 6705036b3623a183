//! Calls the service by the AWS SDK. The SDK retries nothing: the callers know their limits and
//! pauses.

use std::error::Error as StdError;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::SharedHttpClient;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, PutRecordsResultEntry, Shard as Listed, ShardIteratorType,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::api::{Api, CallError, CallErrorKind, Entry, Page, Shard, Start, StoredRecord, Written};
use crate::time::Timestamp;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// The oldest age, in milliseconds, of records whose successors are safe. Retention is a day at
/// least, so that the successors outlive an iterator.
const SAFE_AGE_MS: i64 = 23 * 3_600_000;

/// Loads the AWS environment, for a region.
pub(super) async fn config(region: &str) -> SdkConfig {
    let region = Region::new(region.to_string());
    aws_config::defaults(BehaviorVersion::latest()).region(region).http_client(http()).load().await
}

fn http() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// Returns a client with time limits and without retries. Retries of the SDK would hide throttling,
/// and block inside of a call.
pub(super) fn client(config: &SdkConfig) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    let http = config.http_client().unwrap_or_else(http);
    let config = aws_sdk_kinesis::config::Builder::from(config).http_client(http);
    Client::from_conf(config.retry_config(RetryConfig::disabled()).timeout_config(timeouts).build())
}

/// Makes the calls by the SDK.
pub(super) struct Sdk(pub(super) Client);

impl Api for Sdk {
    fn identity<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<String, CallError>> {
        async move {
            let response = self
                .0
                .describe_stream_summary()
                .stream_name(stream)
                .send()
                .await
                .map_err(call_error)?;
            let summary = response
                .stream_description_summary
                .ok_or_else(|| transient("the response has no description"))?;
            let created = summary.stream_creation_timestamp.secs();
            Ok(format!("{}, created {created}", summary.stream_arn))
        }
        .boxed()
    }

    fn shards<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<Shard>, CallError>> {
        async move {
            list_shards(&self.0, stream)
                .await?
                .iter()
                .map(shard)
                .collect::<Result<Vec<_>, CallError>>()
        }
        .boxed()
    }

    fn iterator<'a>(
        &'a self,
        stream: &'a str,
        shard: &'a str,
        start: &'a Start,
    ) -> BoxFuture<'a, Result<String, CallError>> {
        let call = self.0.get_shard_iterator().stream_name(stream).shard_id(shard);
        let call = match start {
            Start::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::AtSequence(sequence) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(sequence),
        };
        async move {
            call.send()
                .await
                .map_err(call_error)?
                .shard_iterator
                .ok_or_else(|| transient("the response has no iterator"))
        }
        .boxed()
    }

    fn records<'a>(
        &'a self,
        iterator: &'a str,
        limit: i32,
    ) -> BoxFuture<'a, Result<Page, CallError>> {
        let call = self.0.get_records().shard_iterator(iterator).limit(limit);
        async move {
            let response = call.send().await.map_err(call_error)?;
            let stored = |record: aws_sdk_kinesis::types::Record| StoredRecord {
                arrived: record
                    .approximate_arrival_timestamp
                    .and_then(|time| i64::try_from(time.as_nanos() / 1000).ok().map(Timestamp)),
                sequence: record.sequence_number,
                key: record.partition_key,
                data: record.data.into_inner(),
            };
            // A full page may be followed by more records.
            let caught_up =
                response.millis_behind_latest == Some(0) && response.records.len() < limit as usize;
            Ok::<_, CallError>(Page {
                records: response.records.into_iter().map(stored).collect(),
                next: response.next_shard_iterator,
                caught_up,
                near_horizon: response
                    .millis_behind_latest
                    .is_some_and(|behind| behind > SAFE_AGE_MS),
            })
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        stream: &'a str,
        entries: &'a [Entry],
    ) -> BoxFuture<'a, Result<Vec<Result<Written, String>>, CallError>> {
        async move {
            let entry = |entry: &Entry| {
                let hash = entry.hash.map(|hash| hash.to_string());
                let made = PutRecordsRequestEntry::builder()
                    .partition_key(&entry.key)
                    .set_explicit_hash_key(hash);
                made.data(Blob::new(entry.data.as_ref())).build()
            };
            let entries = entries.iter().map(entry).collect::<Result<_, _>>();
            let entries =
                entries.map_err(|e| CallError { kind: CallErrorKind::Invalid, cause: e.into() })?;
            let response = self
                .0
                .put_records()
                .stream_name(stream)
                .set_records(Some(entries))
                .send()
                .await
                .map_err(call_error)?;
            let written = |result: PutRecordsResultEntry| match (
                result.error_code,
                result.shard_id,
                result.sequence_number,
            ) {
                (None, Some(shard), Some(sequence)) => Ok(Written { shard, sequence }),
                (code, ..) => Err(code.unwrap_or_else(|| "no result".to_string())),
            };
            Ok::<_, CallError>(response.records.into_iter().map(written).collect())
        }
        .boxed()
    }
}

/// Returns all shards of a stream, as the service lists them.
pub(super) async fn list_shards(client: &Client, stream: &str) -> Result<Vec<Listed>, CallError> {
    let (mut shards, mut token) = (Vec::new(), None);
    loop {
        let call = client.list_shards();
        // Give the name or the token: a call with both is refused.
        let call = match token {
            None => call.stream_name(stream),
            Some(token) => call.next_token(token),
        };
        let response = call.send().await.map_err(call_error)?;
        shards.extend(response.shards.unwrap_or_default());
        token = response.next_token;
        if token.is_none() {
            return Ok(shards);
        }
    }
}

fn shard(listed: &Listed) -> Result<Shard, CallError> {
    let number = |id: &str| {
        Shard::number(id).map_err(|e| CallError { kind: CallErrorKind::Invalid, cause: e.into() })
    };
    let parents = [&listed.parent_shard_id, &listed.adjacent_parent_shard_id];
    Ok(Shard {
        number: number(&listed.shard_id)?,
        parents: parents.into_iter().flatten().map(|id| number(id)).collect::<Result<_, _>>()?,
        closed: listed
            .sequence_number_range
            .as_ref()
            .is_some_and(|range| range.ending_sequence_number.is_some()),
    })
}

fn transient(cause: &str) -> CallError {
    CallError { kind: CallErrorKind::Transient, cause: cause.into() }
}

/// Classifies an error of the SDK.
pub(super) fn call_error<E, R>(error: SdkError<E, R>) -> CallError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default().to_string();
    let kind = match code.as_str() {
        "ExpiredIteratorException" => CallErrorKind::Expired,
        "ResourceNotFoundException" => CallErrorKind::Missing,
        "ResourceInUseException" => CallErrorKind::InUse,
        "LimitExceededException"
        | "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "KMSThrottlingException" => CallErrorKind::Throttled,
        "InvalidArgumentException" | "ValidationException" => CallErrorKind::Invalid,
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "OptInRequired"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired" => CallErrorKind::Denied,
        _ if has_no_credentials(&error) => CallErrorKind::Denied,
        _ if matches!(error, SdkError::ConstructionFailure(_)) => CallErrorKind::Invalid,
        _ => CallErrorKind::Transient,
    };
    // The SDK shows only the type of a service error. Responses are not shown, because they may be
    // long.
    let cause = match (error.message(), code.is_empty()) {
        (Some(message), false) => format!("{code}, {message}").into(),
        (None, false) => code.into(),
        _ => messages(&error).into(),
    };
    CallError { kind, cause }
}

fn has_no_credentials(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// Returns the messages of an error and its causes. For a failed connection, no single one is
/// enough.
fn messages(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    // Without credentials, the SDK appends a long list of the places where it looked.
    texts.join(": ").split(" Attempted:").next().unwrap_or_default().to_string()
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}
