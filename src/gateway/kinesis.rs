//! The methods of API Gateway before Kinesis: list, create, describe and delete streams, put one
//! record or many.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Number, Value, json};

use crate::connect::append::{Appended, NewRecord, PartitionInfo, Position, Refusal};

use super::app::{App, inner, outer};
use super::records::{Bounded, Each};
use super::refusal::{ACCOUNT, AMAZON_TYPE, Protocol, RequestRefusal, kinesis_code, respond};
use super::rest::{Named, one_line, parameter, parse};

/// Most records of a request.
const MAX_RECORDS: usize = 500;
/// Most characters of a key.
const KEY_MAX_CHARACTERS: usize = 256;

#[derive(Deserialize)]
struct Put<'a> {
    #[serde(borrow, rename = "Data", alias = "data", default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "PartitionKey", alias = "partition-key")]
    key: Option<&'a RawValue>,
}

/// Reads a field that is present. A null is a value here; a missing field is none.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Puts<'a> {
    #[serde(borrow, alias = "Records")]
    records: Option<Bounded<Put<'a>, MAX_RECORDS>>,
}

/// Reads the records of a request, up to their limit.
fn many(body: &[u8]) -> Result<Vec<Put<'_>>, RequestRefusal> {
    let Some(records) = parse::<Puts<'_>>(body)?.records else { return Ok(Vec::new()) };
    if records.count > MAX_RECORDS { Err(count(records.count)) } else { Ok(records.kept) }
}

fn count(records: usize) -> RequestRefusal {
    RequestRefusal::Invalid(format!("a request has 1 to {MAX_RECORDS} records, not {records}"))
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

fn refuse(refusal: &RequestRefusal) -> Response {
    Protocol::Kinesis.refuse(refusal)
}

/// `GET /streams`.
pub(super) async fn list(State(app): State<Arc<App>>) -> Response {
    match app.log.topics().await {
        Ok(topics) => {
            let mut names: Vec<String> =
                topics.into_iter().map(|topic| outer(&app.config.streams, topic)).collect();
            names.sort_unstable();
            respond(200, AMAZON_TYPE, &json!({ "HasMoreStreams": false, "StreamNames": names }))
        }
        Err(refusal) => refuse(&RequestRefusal::Append(refusal, String::new())),
    }
}

/// `GET /streams/{stream}`: the response of `DescribeStream`.
pub(super) async fn describe(State(app): State<Arc<App>>, path: Named) -> Response {
    let stream = name(&path);
    let parts = match app.log.partitions(&inner(&app.config.streams, stream)).await {
        Ok(parts) => parts,
        Err(refusal) => return refuse(&RequestRefusal::Append(refusal, stream.to_string())),
    };
    let shard = |part: &PartitionInfo| {
        let (first, last) = (part.hashes.0.to_string(), part.hashes.1.to_string());
        json!({
            "ShardId": shard_id(part.number),
            "HashKeyRange": { "StartingHashKey": first, "EndingHashKey": last },
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
    respond(200, AMAZON_TYPE, &description)
}

/// `POST /streams/{stream}` with `{"ShardCount":n}`; the default is one shard.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    path: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A browser lets any page send a body without a type, or with a plain one, without a preflight
    // request. Such a body must not create a stream.
    if !headers.contains_key(header::CONTENT_TYPE) || !is_json(&headers) {
        return refuse(&RequestRefusal::MediaType);
    }
    let parsed = if body.is_empty() { Ok(Create::default()) } else { parse::<Create>(&body) };
    let created = match parsed {
        Ok(create) => make(&app, name(&path), create.shards.unwrap_or(1)).await,
        Err(refusal) => Err(refusal),
    };
    created.map_or_else(|refusal| refuse(&refusal), IntoResponse::into_response)
}

async fn make(app: &App, stream: &str, shards: u32) -> Result<(), RequestRefusal> {
    let failed = |refusal| RequestRefusal::Append(refusal, stream.to_string());
    let topic = inner(&app.config.streams, stream);
    app.check_owned(&topic).map_err(failed)?;
    let (topics, partitions) = (app.config.topics_limit, app.config.partitions_limit);
    if !(1..=partitions).contains(&shards) {
        return Err(RequestRefusal::Invalid(format!(
            "a stream has 1 to {partitions} shards, not {shards}"
        )));
    }
    // Two concurrent creations count as two.
    let _creating = app.creating.lock().await;
    let there = app.log.topics().await.map_err(failed)?;
    if !there.contains(&topic)
        && there.iter().filter(|topic| app.check_owned(topic).is_ok()).count() >= topics
    {
        return Err(RequestRefusal::TopicLimit(format!("there may be {topics} streams")));
    }
    app.log.create(&topic, shards).await.map_err(failed)
}

/// `DELETE /streams/{stream}`.
pub(super) async fn delete(State(app): State<Arc<App>>, path: Named) -> Response {
    let stream = name(&path);
    let topic = inner(&app.config.streams, stream);
    let deleted = match app.check_owned(&topic) {
        Ok(()) => app.log.delete(&topic).await,
        Err(refusal) => Err(refusal),
    };
    match deleted {
        Ok(()) => ().into_response(),
        Err(refusal) => refuse(&RequestRefusal::Append(refusal, stream.to_string())),
    }
}

/// Returns the place of an appended record.
fn placed(place: &Appended) -> Value {
    let sequence = sequence(&place.position);
    json!({ "SequenceNumber": sequence, "ShardId": shard_id(place.partition) })
}

/// `PUT /streams/{stream}/record`. The path names the stream; a name in the body is ignored.
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
        Ok([Ok(place)]) => respond(200, AMAZON_TYPE, &placed(place)),
        Ok([Err(refusal)]) => refuse(&RequestRefusal::Append(refusal.clone(), stream.to_string())),
        Ok(_) => refuse(&RequestRefusal::Append(
            Refusal::Failed("the log returned no result".to_string()),
            stream.to_string(),
        )),
        Err(refusal) => refuse(refusal),
    }
}

/// `PUT /streams/{stream}/records`. The response has a result for each record. A string is stored
/// as its characters, without quotes.
pub(super) async fn put_many(
    State(app): State<Arc<App>>,
    path: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let stream = name(&path);
    let places = match put_all(&app, stream, &headers, &body, many, characters).await {
        Ok(places) => places,
        Err(refusal) => return refuse(&refusal),
    };
    let record = |place: &Result<Appended, Refusal>| match place {
        Ok(place) => placed(place),
        Err(refusal) => {
            let (code, message) = kinesis_code(refusal, stream);
            json!({ "ErrorCode": code, "ErrorMessage": message })
        }
    };
    let failed = places.iter().filter(|place| place.is_err()).count();
    respond(
        200,
        AMAZON_TYPE,
        &Taken { failed_record_count: failed, records: Each(&places, record) },
    )
}

async fn put_all<'a>(
    app: &App,
    stream: &str,
    headers: &HeaderMap,
    body: &'a Bytes,
    records: impl FnOnce(&'a [u8]) -> Result<Vec<Put<'a>>, RequestRefusal>,
    stored: impl Fn(&Bytes, &RawValue) -> Result<Bytes, RequestRefusal>,
) -> Result<Vec<Result<Appended, Refusal>>, RequestRefusal> {
    if !is_json(headers) {
        return Err(RequestRefusal::MediaType);
    }
    let records = records(body)?;
    if !(1..=MAX_RECORDS).contains(&records.len()) {
        return Err(count(records.len()));
    }
    let entries =
        records.into_iter().map(|put| entry(body, put, &stored)).collect::<Result<_, _>>()?;
    app.append(&inner(&app.config.streams, stream), entries)
        .await
        .map_err(|refusal| RequestRefusal::Append(refusal, stream.to_string()))
}

fn is_json(headers: &HeaderMap) -> bool {
    // API Gateway reads a body without a type as JSON.
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind == "application/json" || kind == AMAZON_TYPE
}

fn entry(
    body: &Bytes,
    put: Put<'_>,
    stored: impl Fn(&Bytes, &RawValue) -> Result<Bytes, RequestRefusal>,
) -> Result<NewRecord, RequestRefusal> {
    let data =
        put.data.ok_or_else(|| RequestRefusal::Invalid("a record has no data".to_string()))?;
    let key = put
        .key
        .ok_or_else(|| RequestRefusal::Invalid("a record has no partition key".to_string()))?;
    // API Gateway's mapping template writes a number as a string. Any other key is refused without
    // parsing it, because it may be as long as a body.
    let key = match key.get().as_bytes() {
        [b'"', ..] => serde_json::from_str::<String>(key.get()).ok(),
        [b'-' | b'0'..=b'9', ..] => {
            serde_json::from_str::<Number>(key.get()).ok().map(|key| key.to_string())
        }
        _ => None,
    };
    let key =
        key.ok_or_else(|| RequestRefusal::Malformed("a partition key is a text".to_string()))?;
    if !(1..=KEY_MAX_CHARACTERS).contains(&key.chars().count()) {
        return Err(RequestRefusal::Invalid(format!(
            "a partition key has 1 to {KEY_MAX_CHARACTERS} characters"
        )));
    }
    Ok(NewRecord { partition: None, key: Some(key.into()), value: Some(stored(body, data)?) })
}

/// Returns the characters of a string, as the mapping template of `PutRecords` does, or the JSON of
/// any other value.
fn characters(body: &Bytes, data: &RawValue) -> Result<Bytes, RequestRefusal> {
    if !data.get().starts_with('"') {
        return Ok(one_line(body, data));
    }
    let text: String =
        serde_json::from_str(data.get()).map_err(|e| RequestRefusal::Malformed(e.to_string()))?;
    let lines = text.contains(['\n', '\r']);
    // Only in JSON a blank means the same as a line end. Other text is left to the log, which may
    // refuse it.
    if lines && serde_json::from_str::<IgnoredAny>(&text).is_ok() {
        return Ok(text.replace(['\n', '\r'], " ").into());
    }
    Ok(text.into())
}

fn shard_id(partition: u32) -> String {
    format!("shardId-{partition:012}")
}

/// Returns a sequence number of 56 digits, as in Kinesis. Sequence numbers have the order of
/// offsets.
fn sequence(position: &Position) -> String {
    match position {
        Position::Offset(offset) => format!("49{offset:054}"),
        Position::Sequence(digits) => digits.clone(),
        Position::Unknown => String::new(),
    }
}
