//! The methods that API Gateway has before Kinesis: list, create, describe and delete streams, put
//! a record or many.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Number, json};

use crate::connect::log::{Entry, Part, Place, Position, Refusal};

use super::fault::{ACCOUNT, AMAZON, Dialect, Fault, answer, refusal_of};
use super::records::{Bounded, Each};
use super::rest::{Named, one_line, parameter, parse};
use super::{App, inner, outer};

/// The most records of a request.
const RECORDS: usize = 500;
/// The longest key, in characters.
const KEY: usize = 256;

#[derive(Deserialize)]
struct Put<'a> {
    #[serde(borrow, rename = "Data", alias = "data", default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "PartitionKey", alias = "partition-key")]
    key: Option<&'a RawValue>,
}

/// A null is a value here, other than a field that is missing.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Puts<'a> {
    #[serde(borrow, alias = "Records")]
    records: Option<Bounded<Put<'a>, RECORDS>>,
}

/// Reads the records of a request, as many as it may have.
fn many(body: &[u8]) -> Result<Vec<Put<'_>>, Fault> {
    let Some(records) = parse::<Puts<'_>>(body)?.records else { return Ok(Vec::new()) };
    if records.count > RECORDS { Err(count(records.count)) } else { Ok(records.kept) }
}

fn count(records: usize) -> Fault {
    Fault::Invalid(format!("a request has 1 to {RECORDS} records, not {records}"))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Taken<T> {
    failed_record_count: usize,
    records: T,
}

#[derive(Default, Deserialize)]
struct Create {
    #[serde(rename = "ShardCount")]
    shards: Option<u32>,
}

fn name(path: &Named) -> &str {
    parameter(path, "stream").unwrap_or_default()
}

fn refuse(fault: &Fault) -> Response {
    Dialect::Kinesis.refuse(fault)
}

/// `GET /streams`.
pub(super) async fn list(State(app): State<Arc<App>>) -> Response {
    match app.log.topics().await {
        Ok(topics) => {
            let mut names: Vec<String> =
                topics.into_iter().map(|topic| outer(&app.config.streams, topic)).collect();
            names.sort_unstable();
            answer(200, AMAZON, &json!({ "HasMoreStreams": false, "StreamNames": names }))
        }
        Err(refusal) => refuse(&Fault::Log(refusal, String::new())),
    }
}

/// `GET /streams/{stream}`: what `DescribeStream` says.
pub(super) async fn describe(State(app): State<Arc<App>>, path: Named) -> Response {
    let stream = name(&path);
    let parts = match app.log.partitions(&inner(&app.config.streams, stream)).await {
        Ok(parts) => parts,
        Err(refusal) => return refuse(&Fault::Log(refusal, stream.to_string())),
    };
    let shard = |part: &Part| {
        json!({
            "ShardId": shard_id(part.number),
            "HashKeyRange": { "StartingHashKey": part.hashes.0.to_string(), "EndingHashKey": part.hashes.1.to_string() },
            "SequenceNumberRange": { "StartingSequenceNumber": sequence(&Position::Offset(0)) },
        })
    };
    let description = json!({ "StreamDescription": {
        "StreamName": stream,
        "StreamARN": format!("arn:aws:kinesis:local:{ACCOUNT}:stream/{stream}"),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": { "StreamMode": "PROVISIONED" },
        "Shards": parts.iter().map(shard).collect::<Vec<_>>(),
        "HasMoreShards": false,
        "RetentionPeriodHours": 24,
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "EncryptionType": "NONE",
    }});
    answer(200, AMAZON, &description)
}

/// `POST /streams/{stream}` with `{"ShardCount":n}`, which is one unless it is said.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    path: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A browser sends a body without a type, or with a plain one, for any page without asking
    // first.
    if !headers.contains_key(header::CONTENT_TYPE) || !is_json(&headers) {
        return refuse(&Fault::MediaType);
    }
    let parsed = if body.is_empty() { Ok(Create::default()) } else { parse::<Create>(&body) };
    let created = match parsed {
        Ok(create) => make(&app, name(&path), create.shards.unwrap_or(1)).await,
        Err(fault) => Err(fault),
    };
    created.map_or_else(|fault| refuse(&fault), IntoResponse::into_response)
}

async fn make(app: &App, stream: &str, shards: u32) -> Result<(), Fault> {
    let failed = |refusal| Fault::Log(refusal, stream.to_string());
    let topic = app.own(&inner(&app.config.streams, stream)).map_err(failed)?;
    let (topics, partitions) = (app.config.topics_limit, app.config.partitions_limit);
    if !(1..=partitions).contains(&shards) {
        return Err(Fault::Invalid(format!("a stream has 1 to {partitions} shards, not {shards}")));
    }
    // One after the other: two that come at once are two.
    let _alone = app.creating.lock().await;
    let there = app.log.topics().await.map_err(failed)?;
    if !there.contains(&topic)
        && there.iter().filter(|topic| app.own(topic).is_ok()).count() >= topics
    {
        return Err(Fault::Limit(format!("there may be {topics} streams")));
    }
    app.log.create(&topic, shards).await.map_err(failed)
}

/// `DELETE /streams/{stream}`.
pub(super) async fn delete(State(app): State<Arc<App>>, path: Named) -> Response {
    let stream = name(&path);
    let deleted = match app.own(&inner(&app.config.streams, stream)) {
        Ok(topic) => app.log.delete(&topic).await,
        Err(refusal) => Err(refusal),
    };
    match deleted {
        Ok(()) => ().into_response(),
        Err(refusal) => refuse(&Fault::Log(refusal, stream.to_string())),
    }
}

/// `PUT /streams/{stream}/record`: the stream is that of the path, whatever the body says.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    path: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let stream = name(&path);
    let records = |body| Ok(vec![parse::<Put<'_>>(body)?]);
    match put_all(&app, stream, &headers, &body, records, |body, data| Ok(one_line(body, data)))
        .await
        .as_deref()
    {
        Ok([Ok(place)]) => answer(
            200,
            AMAZON,
            &json!({ "SequenceNumber": sequence(&place.position), "ShardId": shard_id(place.partition) }),
        ),
        Ok([Err(refusal)]) => refuse(&Fault::Log(refusal.clone(), stream.to_string())),
        Ok(_) => refuse(&Fault::Log(
            Refusal::Failed("the log gave no answer".to_string()),
            stream.to_string(),
        )),
        Err(fault) => refuse(fault),
    }
}

/// `PUT /streams/{stream}/records`: the answer says of each record whether it was taken. A text is
/// stored as its characters.
pub(super) async fn put_many(
    State(app): State<Arc<App>>,
    path: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let stream = name(&path);
    let places = match put_all(&app, stream, &headers, &body, many, characters).await {
        Ok(places) => places,
        Err(fault) => return refuse(&fault),
    };
    let record = |place: &Result<Place, Refusal>| match place {
        Ok(place) => {
            json!({ "SequenceNumber": sequence(&place.position), "ShardId": shard_id(place.partition) })
        }
        Err(refusal) => {
            let (code, message) = refusal_of(refusal, stream);
            json!({ "ErrorCode": code, "ErrorMessage": message })
        }
    };
    let failed = places.iter().filter(|place| place.is_err()).count();
    answer(200, AMAZON, &Taken { failed_record_count: failed, records: Each(&places, record) })
}

async fn put_all<'a>(
    app: &App,
    stream: &str,
    headers: &HeaderMap,
    body: &'a Bytes,
    records: impl FnOnce(&'a [u8]) -> Result<Vec<Put<'a>>, Fault>,
    stored: impl Fn(&Bytes, &RawValue) -> Result<Bytes, Fault>,
) -> Result<Vec<Result<Place, Refusal>>, Fault> {
    if !is_json(headers) {
        return Err(Fault::MediaType);
    }
    let records = records(body)?;
    if !(1..=RECORDS).contains(&records.len()) {
        return Err(count(records.len()));
    }
    let entries =
        records.into_iter().map(|put| entry(body, put, &stored)).collect::<Result<_, _>>()?;
    app.append(&inner(&app.config.streams, stream), entries)
        .await
        .map_err(|refusal| Fault::Log(refusal, stream.to_string()))
}

fn is_json(headers: &HeaderMap) -> bool {
    // API Gateway takes a body without a type for JSON.
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind == "application/json" || kind == AMAZON
}

fn entry(
    body: &Bytes,
    put: Put<'_>,
    stored: impl Fn(&Bytes, &RawValue) -> Result<Bytes, Fault>,
) -> Result<Entry, Fault> {
    let data = put.data.ok_or_else(|| Fault::Invalid("a record has no data".to_string()))?;
    let key = put.key.ok_or_else(|| Fault::Invalid("a record has no partition key".to_string()))?;
    // The mapping template writes a number as text. Nothing else is looked into: it may be as long
    // as a body.
    let key = match key.get().as_bytes() {
        [b'"', ..] => serde_json::from_str::<String>(key.get()).ok(),
        [b'-' | b'0'..=b'9', ..] => {
            serde_json::from_str::<Number>(key.get()).ok().map(|key| key.to_string())
        }
        _ => None,
    };
    let key = key.ok_or_else(|| Fault::Malformed("a partition key is a text".to_string()))?;
    if !(1..=KEY).contains(&key.chars().count()) {
        return Err(Fault::Invalid(format!("a partition key has 1 to {KEY} characters")));
    }
    Ok(Entry { partition: None, key: Some(key.into()), value: Some(stored(body, data)?) })
}

/// The characters of a text, as the mapping template of `PutRecords` takes them; the JSON of any
/// other value.
fn characters(body: &Bytes, data: &RawValue) -> Result<Bytes, Fault> {
    if !data.get().starts_with('"') {
        return Ok(one_line(body, data));
    }
    let text: String =
        serde_json::from_str(data.get()).map_err(|e| Fault::Malformed(e.to_string()))?;
    let lines = text.contains(['\n', '\r']);
    // Only in JSON does a blank between two tokens say the same as a line end; anything else is the
    // log's to take or refuse.
    if lines && serde_json::from_str::<IgnoredAny>(&text).is_ok() {
        return Ok(text.replace(['\n', '\r'], " ").into());
    }
    Ok(text.into())
}

fn shard_id(partition: u32) -> String {
    format!("shardId-{partition:012}")
}

/// 56 digits, as those of Kinesis, in the order of the offsets.
fn sequence(position: &Position) -> String {
    match position {
        Position::Offset(offset) => format!("49{offset:054}"),
        Position::Sequence(digits) => digits.clone(),
        Position::Unknown => String::new(),
    }
}
