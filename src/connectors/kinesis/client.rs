//! The service through the AWS SDK. It never tries again by itself: who calls knows how fast and
//! how often it may.

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

use super::api::{Api, Entry, Fault, FaultKind, Page, Raw, Shard, Start, Written};
use crate::time::Timestamp;

const CONNECTING: Duration = Duration::from_secs(3);
const CALLING: Duration = Duration::from_secs(15);
/// How old what is read may be, in milliseconds, so that retention, a day at least, leaves what
/// follows for as long as an iterator lives.
const YOUNG: i64 = 23 * 3_600_000;

/// What the environment says, for a region.
pub(super) async fn config(region: &str) -> SdkConfig {
    let region = Region::new(region.to_string());
    aws_config::defaults(BehaviorVersion::latest()).region(region).http_client(http()).load().await
}

fn http() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// A client that gives up in time, and tries nothing twice: that would hide throttling and wait
/// inside a call.
pub(super) fn client(config: &SdkConfig) -> Client {
    let times =
        TimeoutConfig::builder().connect_timeout(CONNECTING).operation_timeout(CALLING).build();
    let http = config.http_client().unwrap_or_else(http);
    let config = aws_sdk_kinesis::config::Builder::from(config).http_client(http);
    Client::from_conf(config.retry_config(RetryConfig::disabled()).timeout_config(times).build())
}

/// The calls, by the SDK.
pub(super) struct Sdk(pub(super) Client);

impl Api for Sdk {
    fn identity<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<String, Fault>> {
        async move {
            let answer =
                self.0.describe_stream_summary().stream_name(stream).send().await.map_err(fault)?;
            let summary =
                answer.stream_description_summary.ok_or_else(|| passing("no description came"))?;
            let created = summary.stream_creation_timestamp.secs();
            Ok(format!("{}, created {created}", summary.stream_arn))
        }
        .boxed()
    }

    fn shards<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<Shard>, Fault>> {
        async move {
            listed(&self.0, stream).await?.iter().map(shard).collect::<Result<Vec<_>, Fault>>()
        }
        .boxed()
    }

    fn iterator<'a>(
        &'a self,
        stream: &'a str,
        shard: &'a str,
        start: &'a Start,
    ) -> BoxFuture<'a, Result<String, Fault>> {
        let call = self.0.get_shard_iterator().stream_name(stream).shard_id(shard);
        let call = match start {
            Start::Horizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::At(sequence) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(sequence),
        };
        async move {
            call.send()
                .await
                .map_err(fault)?
                .shard_iterator
                .ok_or_else(|| passing("no iterator came"))
        }
        .boxed()
    }

    fn records<'a>(&'a self, iterator: &'a str, limit: i32) -> BoxFuture<'a, Result<Page, Fault>> {
        let call = self.0.get_records().shard_iterator(iterator).limit(limit);
        async move {
            let answer = call.send().await.map_err(fault)?;
            let raw = |record: aws_sdk_kinesis::types::Record| Raw {
                arrived: record
                    .approximate_arrival_timestamp
                    .and_then(|time| i64::try_from(time.as_nanos() / 1000).ok().map(Timestamp)),
                sequence: record.sequence_number,
                key: record.partition_key,
                data: record.data.into_inner(),
            };
            // An answer that is full says nothing of what is behind it.
            let newest =
                answer.millis_behind_latest == Some(0) && answer.records.len() < limit as usize;
            Ok::<_, Fault>(Page {
                records: answer.records.into_iter().map(raw).collect(),
                next: answer.next_shard_iterator,
                newest,
                old: answer.millis_behind_latest.is_some_and(|behind| behind > YOUNG),
            })
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        stream: &'a str,
        entries: &'a [Entry],
    ) -> BoxFuture<'a, Result<Vec<Result<Written, String>>, Fault>> {
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
                entries.map_err(|e| Fault { kind: FaultKind::Invalid, cause: e.into() })?;
            let answer = self
                .0
                .put_records()
                .stream_name(stream)
                .set_records(Some(entries))
                .send()
                .await
                .map_err(fault)?;
            let written = |result: PutRecordsResultEntry| match (
                result.error_code,
                result.shard_id,
                result.sequence_number,
            ) {
                (None, Some(shard), Some(sequence)) => Ok(Written { shard, sequence }),
                (code, ..) => Err(code.unwrap_or_else(|| "no answer".to_string())),
            };
            Ok::<_, Fault>(answer.records.into_iter().map(written).collect())
        }
        .boxed()
    }
}

/// All shards of a stream, as the service tells them.
pub(super) async fn listed(client: &Client, stream: &str) -> Result<Vec<Listed>, Fault> {
    let (mut shards, mut token) = (Vec::new(), None);
    loop {
        let call = client.list_shards();
        // The name or the token: both together are refused.
        let call = match token {
            None => call.stream_name(stream),
            Some(token) => call.next_token(token),
        };
        let answer = call.send().await.map_err(fault)?;
        shards.extend(answer.shards.unwrap_or_default());
        token = answer.next_token;
        if token.is_none() {
            return Ok(shards);
        }
    }
}

fn shard(listed: &Listed) -> Result<Shard, Fault> {
    let number = |id: &str| {
        Shard::number(id).map_err(|e| Fault { kind: FaultKind::Invalid, cause: e.into() })
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

fn passing(what: &str) -> Fault {
    Fault { kind: FaultKind::Passing, cause: what.into() }
}

/// What can be done about an error of the SDK.
pub(super) fn fault<E, R>(error: SdkError<E, R>) -> Fault
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default().to_string();
    let kind = match code.as_str() {
        "ExpiredIteratorException" => FaultKind::Expired,
        "ResourceNotFoundException" => FaultKind::Missing,
        "ResourceInUseException" => FaultKind::InUse,
        "LimitExceededException"
        | "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "KMSThrottlingException" => FaultKind::Throttled,
        "InvalidArgumentException" | "ValidationException" => FaultKind::Invalid,
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
        | "KMSOptInRequired" => FaultKind::Denied,
        _ if has_no_credentials(&error) => FaultKind::Denied,
        _ if matches!(error, SdkError::ConstructionFailure(_)) => FaultKind::Invalid,
        _ => FaultKind::Passing,
    };
    // The SDK's own text of a service error is only its type; its answers are not shown, for they
    // may be long.
    let cause = match (error.message(), code.is_empty()) {
        (Some(message), false) => format!("{code}, {message}").into(),
        (None, false) => code.into(),
        _ => said(&error).into(),
    };
    Fault { kind, cause }
}

fn has_no_credentials(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// All that an error says of itself: of a connection, no single layer tells enough.
fn said(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    // Where no credentials are, a page follows of where they were looked for.
    texts.join(": ").split(" Attempted:").next().unwrap_or_default().to_string()
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}
