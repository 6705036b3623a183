//! What goes wrong with a request, as each of the two protocols says it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::connect::log::Refusal;

/// The type of what the REST Proxy answers.
pub(super) const KAFKA: &str = "application/vnd.kafka.v2+json";
/// The type of what Kinesis answers.
pub(super) const AMAZON: &str = "application/x-amz-json-1.1";
/// The account that the streams of a gateway belong to.
pub(super) const ACCOUNT: &str = "000000000000";

/// Which protocol a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Confluent REST Proxy v2.
    Kafka,
    /// The methods of API Gateway before Kinesis.
    Kinesis,
}

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The type of the body is none that is understood.
    MediaType,
    /// The body is not JSON, or has another shape.
    Malformed(String),
    /// The body has the shape, but not a value that it must have.
    Invalid(String),
    /// A key or a value can't be decoded.
    Conversion(String),
    /// There is no such path.
    Path,
    /// The path can't be asked that way.
    Method,
    /// The body is longer than the limit.
    TooLarge,
    /// The body didn't come in time.
    Slow,
    /// The connection broke before the body was whole.
    Aborted,
    /// No token, or a wrong one.
    Stranger,
    /// It came under another name, or from a page of another host.
    Foreign(String),
    /// The client asks more often than it may.
    Quota,
    /// There are as many topics as there may be.
    Limit(String),
    /// The log said no; it was asked about the topic of this name.
    Log(Refusal, String),
}

impl Dialect {
    /// The dialect of a path, with or without a stage.
    pub(super) fn of(path: &str) -> Self {
        let root = |name: &str| path.split('/').skip(1).take(2).any(|part| part == name);
        if root("streams") && !path.starts_with("/topics") {
            Dialect::Kinesis
        } else {
            Dialect::Kafka
        }
    }

    /// The answer to a request that goes wrong.
    pub(super) fn refuse(self, fault: &Fault) -> Response {
        let mut response = match self {
            Dialect::Kafka => kafka(fault),
            Dialect::Kinesis => kinesis(fault),
        };
        let headers = response.headers_mut();
        match fault {
            Fault::Quota | Fault::Log(Refusal::Busy(_) | Refusal::Full(_), _) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Fault::Stranger => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of the body is still to come: there is no use for this connection.
            Fault::TooLarge | Fault::Slow | Fault::Aborted => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

fn kafka(fault: &Fault) -> Response {
    let (status, code, message) = match fault {
        Fault::MediaType => (415, 415, "HTTP 415 Unsupported Media Type".to_string()),
        Fault::Malformed(what) => (400, 400, what.clone()),
        Fault::Invalid(what) => (422, 422, what.clone()),
        Fault::Conversion(what) => {
            (422, 42203, format!("Conversion of JSON to Object failed: {what}"))
        }
        Fault::Path => (404, 404, "HTTP 404 Not Found".to_string()),
        Fault::Method => (405, 405, "HTTP 405 Method Not Allowed".to_string()),
        Fault::TooLarge => (413, 413, "HTTP 413 Request Entity Too Large".to_string()),
        Fault::Slow => (408, 408, "HTTP 408 Request Timeout".to_string()),
        Fault::Aborted => (400, 400, "the body ends too early".to_string()),
        Fault::Stranger => (401, 40101, "HTTP 401 Unauthorized".to_string()),
        Fault::Foreign(what) => (403, 403, what.clone()),
        Fault::Limit(what) => (422, 422, what.clone()),
        Fault::Quota => (429, 429, "HTTP 429 Too Many Requests".to_string()),
        Fault::Log(refusal, _) => match refusal {
            Refusal::NoTopic => (404, 40401, "Topic not found.".to_string()),
            Refusal::NoPartition => (404, 40402, "Partition not found.".to_string()),
            Refusal::Exists => (409, 409, "Topic exists.".to_string()),
            Refusal::Unfit(what) => {
                (422, 42203, format!("Conversion of JSON to Object failed: {what}"))
            }
            Refusal::Busy(what) => (503, 50302, what.clone()),
            Refusal::Full(what) => (507, 507, what.clone()),
            Refusal::Denied(what) => (403, 40301, what.clone()),
            Refusal::Failed(what) => (500, 50002, what.clone()),
        },
    };
    answer(status, KAFKA, &json!({ "error_code": code, "message": message }))
}

fn kinesis(fault: &Fault) -> Response {
    let (status, kind, message) = match fault {
        Fault::MediaType => {
            (415, "UnsupportedMediaTypeException", "Unsupported Media Type".to_string())
        }
        Fault::Malformed(what) => (400, "SerializationException", what.clone()),
        Fault::Invalid(what) | Fault::Conversion(what) => {
            (400, "ValidationException", what.clone())
        }
        Fault::Path | Fault::Method => (
            if *fault == Fault::Path { 404 } else { 405 },
            "UnknownOperationException",
            String::new(),
        ),
        Fault::TooLarge => (413, "RequestEntityTooLargeException", "Request Too Long".to_string()),
        Fault::Slow => {
            (408, "RequestTimeoutException", "the body did not come in time".to_string())
        }
        Fault::Aborted => (400, "SerializationException", "the body ends too early".to_string()),
        Fault::Stranger => (400, "AccessDeniedException", "a bearer token is needed".to_string()),
        Fault::Foreign(what) => (403, "AccessDeniedException", what.clone()),
        Fault::Limit(what) => (400, "LimitExceededException", what.clone()),
        Fault::Quota => (400, THROTTLED, "Rate exceeded".to_string()),
        Fault::Log(refusal, stream) => {
            let (kind, message) = refusal_of(refusal, stream);
            (if kind == "InternalFailure" { 500 } else { 400 }, kind, message)
        }
    };
    let mut response = answer(status, AMAZON, &json!({ "__type": kind, "message": message }));
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    response
}

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// The code and message that Kinesis has for a refusal, of a request or of one record of it.
pub(super) fn refusal_of(refusal: &Refusal, stream: &str) -> (&'static str, String) {
    match refusal {
        Refusal::NoTopic => (
            "ResourceNotFoundException",
            format!("Stream {stream} under account {ACCOUNT} not found."),
        ),
        Refusal::NoPartition => {
            ("ResourceNotFoundException", format!("Stream {stream} has no such shard."))
        }
        Refusal::Exists => (
            "ResourceInUseException",
            format!("Stream {stream} under account {ACCOUNT} already exists."),
        ),
        Refusal::Unfit(what) => ("ValidationException", what.clone()),
        Refusal::Busy(what) => (THROTTLED, what.clone()),
        Refusal::Denied(what) => ("AccessDeniedException", what.clone()),
        Refusal::Full(what) | Refusal::Failed(what) => ("InternalFailure", what.clone()),
    }
}

/// An answer in JSON.
pub(super) fn answer(status: u16, kind: &'static str, body: &impl Serialize) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Memory takes any bytes, and all keys are texts.
    let body = serde_json::to_vec(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
