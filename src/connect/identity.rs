//! The identity of a log or of a table: the same after a move, under another URL, and through other
//! brokers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies a log or a sink by its own name and id, not by its location.
///
/// The name holds kind and topic, as in `kafka topic demo.pin`. The id is given by the system that
/// holds the log or the table, such as the id of a Kafka cluster. Some systems give none; then the
/// recorded contents decide at the next start.
///
/// ```
/// use watershed::connect::Identity;
///
/// let recorded = Identity::new("kafka topic demo.pin").with_id("cluster Xv1");
/// assert!(recorded.matches(&Identity::new("kafka topic demo.pin").with_id("cluster Xv1")));
/// assert!(recorded.matches(&Identity::new("kafka topic demo.pin"))); // unknown id
/// assert!(!recorded.matches(&Identity::new("kafka topic demo.pin").with_id("cluster Qq7")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl Identity {
    /// Names a log or a sink that has no id.
    pub fn new(name: impl Into<String>) -> Self {
        Identity { name: name.into(), id: None }
    }

    /// Adds the id, which no other log or sink of this name has.
    #[must_use]
    pub fn with_id(self, id: impl Into<String>) -> Self {
        Identity { id: Some(id.into()), ..self }
    }

    /// Returns true if both may be the same: the names are equal, and so are the ids if both are
    /// known.
    pub fn matches(&self, other: &Identity) -> bool {
        self.name == other.name && (self.id.is_none() || other.id.is_none() || self.id == other.id)
    }

    /// Returns the id, if the system gives one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns true if both are certainly the same: the names are equal, and the ids are known and
    /// equal.
    pub(crate) fn is_surely(&self, other: &Identity) -> bool {
        self.id.is_some() && self == other
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{} ({id})", self.name),
            None => f.write_str(&self.name),
        }
    }
}
