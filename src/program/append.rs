//! Logs that records are appended to, by URL: for the gateway, and for commands that send records.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;

use super::bind::plainly;
use super::shell::Names;
use crate::connectors::archive::{AppendOptions, ArchiveAppender};
#[cfg(feature = "kafka")]
use crate::connectors::kafka::Kafka;
#[cfg(feature = "kinesis")]
use crate::connectors::kinesis::Kinesis;
use crate::error::{Error, Result};
use crate::gateway::{Append, Refusal};

/// The topics of a program in a log that is open for appending.
pub struct Appending {
    /// The log. Close it in the end with [`gateway::close`](crate::gateway::close).
    pub log: Arc<dyn Append>,
    /// The names of the program's topics there, in the order of [`Program::reads`].
    ///
    /// [`Program::reads`]: super::Program::reads
    pub topics: Vec<String>,
    /// True if each record needs a key, as in Kinesis.
    pub keyed: bool,
}

impl Appending {
    /// Opens the log at `url`, and creates missing topics.
    pub(super) fn open(url: &str, names: &Names, options: OpenOptions) -> Result<Self> {
        let log = open(url, options.object_interval)?;
        let topics = names.at(url);
        create_topics(&*log, &topics, options.partitions)?;
        Ok(Appending { log, topics, keyed: has_streams(url) })
    }
}

/// The options of a log that is opened for appending.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenOptions {
    /// Time for which records are collected for an object of an archive.
    pub(super) object_interval: Duration,
    /// Partitions of topics that are created.
    pub(super) partitions: u32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { object_interval: AppendOptions::default().object_interval, partitions: 1 }
    }
}

/// Returns true if the service at `url` has streams instead of topics.
fn has_streams(url: &str) -> bool {
    url.starts_with("kinesis://")
}

/// Opens the log at `url` for appending.
fn open(url: &str, object_interval: Duration) -> Result<Arc<dyn Append>> {
    let refused = |why: String, hint: String| {
        Err(Error::config(format!("can't send to {}: {why}", plainly(url))).hint(hint))
    };
    match url.split_once("://") {
        None | Some(("file", _)) => {
            let folder = Path::new(url.strip_prefix("file://").unwrap_or(url));
            let options = AppendOptions { object_interval, ..AppendOptions::default() };
            Ok(Arc::new(ArchiveAppender::open(folder, options)?))
        }
        #[cfg(feature = "kafka")]
        Some(("kafka", _)) => Ok(Arc::new(Kafka::open(url)?.appender()?)),
        #[cfg(feature = "kinesis")]
        Some(("kinesis", _)) => Ok(Arc::new(Kinesis::open(url)?.appender())),
        Some((scheme, _)) if ["kafka", "kinesis"].contains(&scheme) => {
            refused(format!("{scheme} is not built in"), format!("Build with --features {scheme}."))
        }
        Some(_) => refused(
            "there is no log of that kind".into(),
            "Give the folder of an archive, as a path or a file:// URL, or kafka://host:port or \
             kinesis://region."
                .into(),
        ),
    }
}

/// Creates missing topics.
fn create_topics(log: &dyn Append, topics: &[String], partitions: u32) -> Result<()> {
    for name in topics {
        // Create a topic only if it is missing: a client may lack the right to create topics.
        let made = block_on(log.partitions(name)).map(|_| ()).or_else(|refusal| match refusal {
            Refusal::NoTopic => block_on(log.create(name, partitions)),
            other => Err(other),
        });
        match made {
            Ok(()) | Err(Refusal::Exists) => {}
            Err(Refusal::Invalid(why)) => {
                return Err(Error::usage(format!("can't create {name}: {why}")));
            }
            Err(refusal) => {
                let error =
                    if let Refusal::Denied(_) = refusal { Error::config } else { Error::connect };
                return Err(error(format!(
                    "can't find or create {name} in {}: {refusal}",
                    log.describe()
                )));
            }
        }
    }
    Ok(())
}
