//! Refused requests, and the response that each of the two protocols has for them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::connect::append::Refusal;
use crate::http;

/// The media type of the REST Proxy's responses.
pub(super) const KAFKA_TYPE: &str = "application/vnd.kafka.v2+json";
/// The media type of Kinesis' responses.
pub(super) const AMAZON_TYPE: &str = "application/x-amz-json-1.1";
/// The account that owns the streams of a gateway.
pub(super) const ACCOUNT: &str = "000000000000";

/// The protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Confluent REST Proxy v2.
    RestProxy,
    /// The methods of API Gateway before Kinesis.
    Kinesis,
}

/// The reason why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestRefusal {
    /// The server did not admit it.
    Admission(http::Refusal),
    /// The media type of the body is not supported.
    MediaType,
    /// The body is not JSON, or has another shape.
    Malformed(String),
    /// The body has the right shape but an invalid value.
    Invalid(String),
    /// A key or a value can't be decoded.
    Conversion(String),
    /// The path does not exist.
    UnknownPath,
    /// The path does not support the method.
    Method,
    /// The greatest number of topics is reached.
    TopicLimit(String),
    /// The log refused it, for a topic of this name.
    Append(Refusal, String),
}

impl Protocol {
    /// Returns the protocol of a path, with or without a stage.
    pub(super) fn of(path: &str) -> Self {
        let root = |name: &str| path.split('/').skip(1).take(2).any(|part| part == name);
        if root("streams") && !path.starts_with("/topics") {
            Protocol::Kinesis
        } else {
            Protocol::RestProxy
        }
    }

    /// Returns the response to a refused request.
    pub(super) fn refuse(self, refusal: &RequestRefusal) -> Response {
        let mut response = match self {
            Protocol::RestProxy => rest_proxy(refusal),
            Protocol::Kinesis => kinesis(refusal),
        };
        if let RequestRefusal::Append(Refusal::Busy(_) | Refusal::Full(_), _) = refusal {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn rest_proxy(refusal: &RequestRefusal) -> Response {
    let (status, code, message) = match refusal {
        RequestRefusal::Admission(refusal) => rest_proxy_admission(refusal),
        RequestRefusal::MediaType => (415, 415, "HTTP 415 Unsupported Media Type".to_string()),
        RequestRefusal::Malformed(why) => (400, 400, why.clone()),
        RequestRefusal::Invalid(why) | RequestRefusal::TopicLimit(why) => (422, 422, why.clone()),
        RequestRefusal::Conversion(why) => (422, 42203, conversion_failed(why)),
        RequestRefusal::UnknownPath => (404, 404, "HTTP 404 Not Found".to_string()),
        RequestRefusal::Method => (405, 405, "HTTP 405 Method Not Allowed".to_string()),
        RequestRefusal::Append(refusal, _) => match refusal {
            Refusal::NoTopic => (404, 40401, "Topic not found.".to_string()),
            Refusal::NoPartition => (404, 40402, "Partition not found.".to_string()),
            Refusal::Exists => (409, 409, "Topic exists.".to_string()),
            Refusal::Invalid(why) => (422, 42203, conversion_failed(why)),
            Refusal::Busy(why) => (503, 50302, why.clone()),
            Refusal::Full(why) => (507, 507, why.clone()),
            Refusal::Denied(why) => (403, 40301, why.clone()),
            Refusal::Failed(why) => (500, 50002, why.clone()),
        },
    };
    respond(status, KAFKA_TYPE, &json!({ "error_code": code, "message": message }))
}

fn rest_proxy_admission(refusal: &http::Refusal) -> (u16, u16, String) {
    use http::Refusal::*;
    match refusal {
        BodyTooLarge => (413, 413, "HTTP 413 Request Entity Too Large".to_string()),
        BodyTimeout => (408, 408, "HTTP 408 Request Timeout".to_string()),
        BodyAborted | BadHost(_) => (400, 400, message(refusal)),
        Unauthorized => (401, 40101, "HTTP 401 Unauthorized".to_string()),
        UnknownHost(_) | ForeignOrigin => (403, 403, message(refusal)),
        RateLimited => (429, 429, "HTTP 429 Too Many Requests".to_string()),
        Stopping | NoSlot | NoBodyRoom => (503, 50302, message(refusal)),
        Failed(_) => (500, 50002, message(refusal)),
    }
}

fn conversion_failed(why: &str) -> String {
    format!("Conversion of JSON to Object failed: {why}")
}

fn kinesis(refusal: &RequestRefusal) -> Response {
    let (status, kind, message) = match refusal {
        RequestRefusal::Admission(refusal) => kinesis_admission(refusal),
        RequestRefusal::MediaType => {
            (415, "UnsupportedMediaTypeException", "Unsupported Media Type".to_string())
        }
        RequestRefusal::Malformed(why) => (400, "SerializationException", why.clone()),
        RequestRefusal::Invalid(why) | RequestRefusal::Conversion(why) => {
            (400, "ValidationException", why.clone())
        }
        RequestRefusal::UnknownPath => (404, "UnknownOperationException", String::new()),
        RequestRefusal::Method => (405, "UnknownOperationException", String::new()),
        RequestRefusal::TopicLimit(why) => (400, "LimitExceededException", why.clone()),
        RequestRefusal::Append(refusal, stream) => {
            let (kind, message) = kinesis_code(refusal, stream);
            (if kind == FAILED { 500 } else { 400 }, kind, message)
        }
    };
    let body = json!({ "__type": kind, "message": message });
    let mut response = respond(status, AMAZON_TYPE, &body);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    response
}

fn kinesis_admission(refusal: &http::Refusal) -> (u16, &'static str, String) {
    use http::Refusal::*;
    match refusal {
        BodyTooLarge => (413, "RequestEntityTooLargeException", "Request Too Long".to_string()),
        BodyTimeout => (408, "RequestTimeoutException", message(refusal)),
        BodyAborted | BadHost(_) => (400, "SerializationException", message(refusal)),
        Unauthorized => (400, "AccessDeniedException", message(refusal)),
        UnknownHost(_) | ForeignOrigin => (403, "AccessDeniedException", message(refusal)),
        RateLimited => (400, THROTTLED, "Rate exceeded".to_string()),
        Stopping | NoSlot | NoBodyRoom => (400, THROTTLED, message(refusal)),
        Failed(_) => (500, FAILED, message(refusal)),
    }
}

/// The cause of a refused admission, where the protocol has no message of its own.
fn message(refusal: &http::Refusal) -> String {
    use http::Refusal::*;
    let message = match refusal {
        BadHost(why) => why,
        UnknownHost(host) => return format!("{host} is not a name of this gateway"),
        ForeignOrigin => "pages of another host may not send requests",
        Unauthorized => "a bearer token is needed",
        RateLimited => "the client sends too many requests",
        Stopping => "the gateway is stopping",
        NoSlot => "too many connections are served",
        NoBodyRoom => "too many bytes are in flight",
        BodyTooLarge => "the body is too long",
        BodyTimeout => "the body did not arrive in time",
        BodyAborted => "the body ends too early",
        Failed(why) => why,
    };
    message.to_string()
}

const THROTTLED: &str = "ProvisionedThroughputExceededException";
const FAILED: &str = "InternalFailure";

/// Kinesis' code and message for a refused request, or for one refused record of a request.
pub(super) fn kinesis_code(refusal: &Refusal, stream: &str) -> (&'static str, String) {
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
        Refusal::Invalid(why) => ("ValidationException", why.clone()),
        Refusal::Busy(why) => (THROTTLED, why.clone()),
        Refusal::Denied(why) => ("AccessDeniedException", why.clone()),
        Refusal::Full(why) | Refusal::Failed(why) => (FAILED, why.clone()),
    }
}

/// Returns a response in JSON.
pub(super) fn respond(status: u16, media_type: &'static str, body: &impl Serialize) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Serialization into memory can't fail, as all keys are strings.
    let body = serde_json::to_vec(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, media_type)], body).into_response()
}
