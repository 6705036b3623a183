//! Binds topics by URL: the scheme selects the connector, and the program's topics the names in it.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::lake::Lake;
use super::shell::{Names, Shell};
use super::values;
use crate::connect::Source;
use crate::connectors::archive::{Archive, HybridSource};
#[cfg(feature = "kafka")]
use crate::connectors::kafka::Kafka;
#[cfg(feature = "kinesis")]
use crate::connectors::kinesis::Kinesis;
use crate::error::{Error, Result};
use crate::store::Store;

/// The default place of an archive.
pub(super) const ARCHIVE: &str = "data/archive";

/// The places that topics are bound to.
#[derive(Args, Clone)]
pub(super) struct BindArgs {
    /// Source to read: the folder of an archive, s3://bucket/prefix, or kafka://host:port or
    /// kinesis://region if built with that feature. Repeat it for several sources; records of later
    /// ones win. An archive and a kafka:// directly after it are one log: each partition is read
    /// from the archive first, and from its next offset on from Kafka
    #[arg(long, value_name = "URL")]
    pub(super) from: Vec<String>,
    /// Read an archive and the kafka:// after it as two logs; records of the later one win
    #[arg(long)]
    pub(super) apart: bool,
    /// Folder of the Delta tables, or s3://bucket/prefix
    #[arg(long, value_name = "URL", default_value = "data/lake", value_parser = values::lake)]
    pub(super) lake: String,
    /// Folder of the manifests, by which a run continues [default: <lake>/_watershed]
    #[arg(long, value_name = "URL")]
    pub(super) state: Option<String>,
}

/// A program bound to the places that its command line names.
pub(super) struct Binding<'a> {
    pub(super) shell: &'a Shell,
    pub(super) names: Names,
    pub(super) args: BindArgs,
}

impl Binding<'_> {
    pub(super) fn lake(&self) -> Lake<'_> {
        let BindArgs { lake, state, .. } = &self.args;
        Lake::new(self.shell, lake, state.as_deref(), self.names.clone())
    }

    /// Returns the URLs that are read, in order.
    pub(super) fn urls(&self) -> Vec<&str> {
        if self.args.from.is_empty() {
            vec![self.shell.default_source]
        } else {
            self.args.from.iter().map(String::as_str).collect()
        }
    }

    /// Returns true if the default archive is to be read and does not exist.
    pub(super) fn lacks_default(&self) -> bool {
        self.args.from.is_empty() && !Path::new(self.shell.default_source).join("topics").exists()
    }

    /// Opens the sources of each topic that is read, in order.
    pub(super) fn sources(&self) -> Result<Bound> {
        self.sources_with(None)
    }

    /// Opens the sources of each topic that is read, in order. Archives delete released objects
    /// of the age `keep`.
    pub(super) fn sources_with(&self, keep: Option<Duration>) -> Result<Bound> {
        let reads = self.shell.reads.iter();
        let mut sources: Vec<_> = reads.map(|topic| (*topic, Vec::new())).collect();
        let mut archived = false;
        for url in self.urls() {
            let logs = match keep.filter(|_| is_archive(url)) {
                Some(age) => kept(self.shell, &self.names, url, age)?,
                None => logs(self.shell, &self.names, url)?,
            };
            let continues = archived && !self.args.apart && url.starts_with("kafka://");
            archived = is_archive(url);
            for (topic, sources) in &mut sources {
                let log = logs(topic)?;
                let before = if continues { sources.pop() } else { None };
                sources.push(match before {
                    Some(archive) => Box::new(HybridSource::new(archive, log)) as Box<dyn Source>,
                    None => log,
                });
            }
        }
        Ok(sources)
    }
}

/// The topics that are read, with their sources.
pub(super) type Bound = Vec<(&'static str, Vec<Box<dyn Source>>)>;

/// Opens the source of a logical topic at one URL.
pub(super) type Logs<'a> = Box<dyn Fn(&str) -> Result<Box<dyn Source>> + 'a>;

/// Opens the service or the archive at `url`.
pub(super) fn logs<'a>(shell: &'a Shell, names: &'a Names, url: &'a str) -> Result<Logs<'a>> {
    match url.split_once("://") {
        Some((scheme, _)) if shell.schemes.contains_key(scheme) => {
            Ok(Box::new(move |topic| shell.schemes[scheme](url, topic)))
        }
        #[cfg(feature = "kafka")]
        Some(("kafka", _)) => {
            let kafka = Kafka::open(url)?;
            Ok(Box::new(move |topic| {
                let name = names.topic(topic);
                let topic = kafka.topic(&name)?;
                Ok(Box::new(topic.watched_as(&format!("watershed-{name}"))))
            }))
        }
        #[cfg(feature = "kinesis")]
        Some(("kinesis", _)) => {
            let kinesis = Kinesis::open(url)?;
            Ok(Box::new(move |topic| Ok(Box::new(kinesis.stream(names.stream(topic))))))
        }
        None | Some(("file" | "s3", _)) => {
            let archive = archive(shell, url)?;
            Ok(Box::new(move |topic| Ok(Box::new(archive.topic(names.topic(topic))))))
        }
        Some((scheme, _)) => Err(Error::config(format!(
            "can't read {scheme}:// URLs: there is no source of that kind"
        ))
        .hint(kinds(shell))),
    }
}

/// Opens the archive at `url`, of which released objects of this age are deleted.
fn kept<'a>(shell: &'a Shell, names: &'a Names, url: &'a str, age: Duration) -> Result<Logs<'a>> {
    let archive = archive(shell, url)?;
    Ok(Box::new(move |topic| Ok(Box::new(archive.topic(names.topic(topic)).with_retention(age)))))
}

/// Returns the sentence that lists all kinds of sources.
fn kinds(shell: &Shell) -> String {
    let own: String = shell.schemes.keys().map(|scheme| format!("{scheme}://; ")).collect();
    format!(
        "Give {own}an archive: a folder, as a path or a file:// URL, or s3://bucket/prefix; or \
         kafka://host:port or kinesis://region, if the program is built with that feature."
    )
}

/// Returns true for the URL or the path of an archive.
pub(super) fn is_archive(url: &str) -> bool {
    matches!(url.split_once("://"), None | Some(("file" | "s3", _)))
}

/// Opens the archive at `url`, which must exist.
pub(super) fn archive(shell: &Shell, url: &str) -> Result<Archive> {
    let store = Store::open(url)?;
    let there = match store.folder() {
        Some(folder) => folder.join("topics").try_exists().map_err(|e| {
            Error::connect(format!("can't read {}", store.name("topics")))
                .because(e)
                .hint("Check that it exists and that this user may read it.")
        })?,
        None => !store.folders("topics")?.is_empty(),
    };
    if there {
        return Archive::open(url);
    }
    let to = if store.folder().is_some() { url } else { "FOLDER" };
    let made = shell
        .generator
        .map(|words| format!(", or make an archive with `{} {words} {to}`", shell.name));
    let missing = store.name("topics");
    Err(Error::config(format!("there is no archive in {url}: {missing} is missing"))
        .hint(format!("Give another --from{}.", made.unwrap_or_default())))
}

/// Refuses a URL that can't be a place for tables, without access to the place.
pub(super) fn check_place(url: &str) -> Result<()> {
    if is_archive(url) && !url.split('/').nth(2).is_some_and(|bucket| bucket.contains('@')) {
        return Ok(());
    }
    Store::open(url).map(|_| ())
}

/// Returns a name for the `url` of a refused argument. The URL itself may contain a secret.
///
/// ```
/// use watershed::program::plainly;
///
/// assert_eq!(plainly("mysql://me:secret@host"), "a mysql:// URL");
/// assert_eq!(plainly("data/archive"), "data/archive");
/// ```
pub fn plainly(url: &str) -> String {
    url.split_once("://")
        .map_or_else(|| url.to_string(), |(scheme, _)| format!("a {scheme}:// URL"))
}
