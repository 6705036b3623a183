//! The state that all requests of a gateway share, and its policy for the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::response::Response;

use crate::connect::append::{Append, Appended, NewRecord, Refusal};
use crate::http::{self, Access, Checks, Policy};

use super::Config;
use super::metrics::Metrics;
use super::refusal::{Protocol, RequestRefusal};

/// The state that all requests share.
pub(super) struct App {
    pub(super) log: Arc<dyn Append>,
    pub(super) config: Config,
    /// Held while a topic is created, so that the limit of topics holds.
    pub(super) creating: tokio::sync::Mutex<()>,
    pub(super) metrics: Metrics,
    stopping: AtomicBool,
}

impl App {
    pub(super) fn new(log: Arc<dyn Append>, config: Config) -> Self {
        App {
            log,
            config,
            creating: tokio::sync::Mutex::default(),
            metrics: Metrics::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Refuses new requests from now on.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Checks that this gateway may create and delete `topic`.
    pub(super) fn check_owned(&self, topic: &str) -> Result<(), Refusal> {
        match &self.config.owns {
            Some(owns) if !owns(topic) => Err(Refusal::Denied(
                "this gateway creates and deletes only its own topics".to_string(),
            )),
            _ => Ok(()),
        }
    }

    /// Appends records to a topic of the log, and returns a result for each.
    ///
    /// # Errors
    /// When all records are refused, for a reason that does not depend on one of them.
    pub(super) async fn append(
        &self,
        topic: &str,
        entries: Vec<NewRecord>,
    ) -> Result<Vec<Result<Appended, Refusal>>, Refusal> {
        let length = |entry: &NewRecord| entry.value.as_ref().map_or(0, |value| value.len());
        let bytes: usize = entries.iter().map(length).sum();
        let places = self.log.append(topic, entries).await?;
        let refused = places.iter().filter(|place| place.is_err()).count();
        let taken = (places.len() - refused) as u64;
        self.metrics.count_records(topic, taken, bytes as u64, refused as u64);
        match places.first() {
            Some(Err(
                why @ (Refusal::NoTopic | Refusal::Busy(_) | Refusal::Full(_) | Refusal::Denied(_)),
            )) if places.iter().all(|place| place.as_ref().err() == Some(why)) => Err(why.clone()),
            _ => Ok(places),
        }
    }
}

impl Policy for App {
    fn checks(&self, path: &str) -> Checks {
        match path {
            "/health" | "/ready" => Checks::Public,
            "/metrics" => Checks::Client,
            _ => Checks::All,
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn refuse(&self, path: &str, refusal: http::Refusal) -> Response {
        Protocol::of(path).refuse(&RequestRefusal::Admission(refusal))
    }

    fn answered(&self, access: &Access<'_>) {
        self.metrics.count_request(access);
        if let Some(access_log) = &self.config.access_log {
            access_log(access);
        }
    }
}

/// Returns the name of a topic in the log. `names` has the topics with another name there.
pub(super) fn inner(names: &BTreeMap<String, String>, name: &str) -> String {
    names.get(name).map_or(name, String::as_str).to_string()
}

/// Returns the name of a topic for clients. `names` has the topics with another name in the log.
pub(super) fn outer(names: &BTreeMap<String, String>, topic: String) -> String {
    let renamed = names.iter().find(|(_, of)| **of == topic);
    renamed.map_or(topic, |(name, _)| name.clone())
}
