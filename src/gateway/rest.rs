//! Confluent REST Proxy v2: producing, and the list of topics.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::connect::append::{Appended, NewRecord, Position, Refusal};

use super::app::{App, inner, outer};
use super::records::{Bounded, Each};
use super::refusal::{KAFKA_TYPE, Protocol, RequestRefusal, respond};

/// Most records of a request.
const MAX_RECORDS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Produce<'a> {
    #[serde(borrow)]
    records: Option<Bounded<Record<'a>, MAX_RECORDS>>,
    // Clients with schema support send these fields as null.
    #[serde(borrow, rename = "key_schema")]
    _key_schema: Option<&'a RawValue>,
    #[serde(borrow, rename = "key_schema_id")]
    _key_schema_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "value_schema")]
    _value_schema: Option<&'a RawValue>,
    #[serde(borrow, rename = "value_schema_id")]
    _value_schema_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    partition: Option<i64>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// The parameters of a path, or an error if one of them is not UTF-8.
pub(super) type Named = Result<Path<HashMap<String, String>>, PathRejection>;

/// A parameter of a path; `None` if it is not UTF-8.
pub(super) fn parameter<'a>(path: &'a Named, name: &str) -> Option<&'a str> {
    path.as_ref().ok()?.get(name).map(String::as_str)
}

/// The format of keys and values in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Embedded {
    Json,
    Base64,
}

/// `GET /topics`: the names of the topics, ascending.
pub(super) async fn topics(State(app): State<Arc<App>>) -> Response {
    match app.log.topics().await {
        Ok(topics) => {
            let mut names: Vec<String> =
                topics.into_iter().map(|topic| outer(&app.config.topics, topic)).collect();
            names.sort_unstable();
            respond(200, KAFKA_TYPE, &names)
        }
        Err(refusal) => Protocol::RestProxy.refuse(&RequestRefusal::Append(refusal, String::new())),
    }
}

/// `POST /topics/{topic}` and `POST /topics/{topic}/partitions/{partition}`.
pub(super) async fn produce(
    State(app): State<Arc<App>>,
    path: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (topic, partition) =
        (parameter(&path, "topic").unwrap_or_default(), parameter(&path, "partition"));
    match append(&app, topic, partition, &headers, &body).await {
        Ok(places) => respond(200, KAFKA_TYPE, &offsets(&places)),
        Err(refusal) => Protocol::RestProxy.refuse(&refusal),
    }
}

async fn append(
    app: &App,
    topic: &str,
    partition: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Vec<Result<Appended, Refusal>>, RequestRefusal> {
    let embedded = embedded(headers).ok_or(RequestRefusal::MediaType)?;
    let log = |refusal| RequestRefusal::Append(refusal, topic.to_string());
    let partition =
        partition.map(|p| p.parse().map_err(|_| log(Refusal::NoPartition))).transpose()?;
    let entries = entries(body, embedded, partition)?;
    app.append(&inner(&app.config.topics, topic), entries).await.map_err(log)
}

fn embedded(headers: &HeaderMap) -> Option<Embedded> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match kind.split(';').next()?.trim().to_ascii_lowercase().as_str() {
        "application/vnd.kafka.json.v2+json" => Some(Embedded::Json),
        "application/vnd.kafka.binary.v2+json" => Some(Embedded::Base64),
        _ => None,
    }
}

fn entries(
    body: &Bytes,
    embedded: Embedded,
    partition: Option<u32>,
) -> Result<Vec<NewRecord>, RequestRefusal> {
    if body.is_empty() {
        return Err(RequestRefusal::Invalid("Request body may not be null".to_string()));
    }
    let produce: Produce<'_> = parse(body)?;
    let records = produce.records.filter(|records| records.count > 0);
    let records =
        records.ok_or_else(|| RequestRefusal::Invalid("records may not be empty".to_string()))?;
    if records.count > MAX_RECORDS {
        return Err(RequestRefusal::Invalid(format!(
            "records may have at most {MAX_RECORDS} elements, not {}",
            records.count
        )));
    }
    let entry = |record: Record<'_>| {
        let asked = record.partition.map(u32::try_from).transpose();
        let asked = asked.map_err(|_| {
            RequestRefusal::Invalid("partition must be greater than or equal to 0".to_string())
        })?;
        let bytes = |value: Option<&RawValue>| {
            value.map(|value| decoded(body, value, embedded)).transpose()
        };
        Ok(NewRecord {
            partition: partition.or(asked),
            key: bytes(record.key)?,
            value: bytes(record.value)?,
        })
    };
    records.kept.into_iter().map(entry).collect()
}

/// Parses a JSON object.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RequestRefusal> {
    // Serde accepts an array too, as the fields in their order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(RequestRefusal::Malformed("expected an object, found an array".to_string()));
    }
    serde_json::from_slice(body).map_err(|e| RequestRefusal::Malformed(e.to_string()))
}

fn decoded(body: &Bytes, value: &RawValue, embedded: Embedded) -> Result<Bytes, RequestRefusal> {
    match embedded {
        Embedded::Json => Ok(one_line(body, value)),
        Embedded::Base64 => {
            let text: Cow<'_, str> = serde_json::from_str::<Text<'_>>(value.get())
                .map_err(|e| RequestRefusal::Conversion(e.to_string()))?
                .0;
            STANDARD
                .decode(&*text)
                .map(Bytes::from)
                .map_err(|e| RequestRefusal::Conversion(e.to_string()))
        }
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns the text of a value as it was sent, but on one line. Between two tokens, a blank means
/// the same as a line end.
pub(super) fn one_line(body: &Bytes, value: &RawValue) -> Bytes {
    let text = value.get().as_bytes();
    if memchr::memchr2(b'\n', b'\r', text).is_none() {
        return body.slice_ref(text);
    }
    text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}

#[derive(Serialize)]
struct Offsets<T> {
    offsets: T,
    key_schema_id: (),
    value_schema_id: (),
}

fn offsets(places: &[Result<Appended, Refusal>]) -> impl Serialize {
    let offset = |place: &Result<Appended, Refusal>| match place {
        Ok(Appended { partition, position }) => {
            let offset = if let Position::Offset(offset) = position { Some(offset) } else { None };
            json!({ "partition": partition, "offset": offset, "error_code": null, "error": null })
        }
        Err(refusal) => {
            let code = if matches!(refusal, Refusal::Busy(_)) { 50003 } else { 50002 };
            let error = refusal.to_string();
            json!({ "partition": null, "offset": null, "error_code": code, "error": error })
        }
    };
    Offsets { offsets: Each(places, offset), key_schema_id: (), value_schema_id: () }
}
