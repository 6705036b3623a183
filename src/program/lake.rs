//! The Delta tables of a program, the last commit that all of them show, and the archive beside
//! them.

use super::shell::{Names, Output, Shell};
use crate::connectors::archive::{Archive, ArchiveTopic};
use crate::connectors::delta::Table;
use crate::error::{Error, Result};
use crate::runtime::changed;
use crate::store::Store;
use crate::sync::side_by_side;

/// The name of the archive's folder in the lake.
const ARCHIVE: &str = "archive";

/// The folder of the Delta tables and the archive, and the place of the manifests.
pub(super) struct Lake<'a> {
    pub(super) shell: &'a Shell,
    pub(super) state: String,
    url: String,
    names: Names,
}

impl<'a> Lake<'a> {
    /// Returns the lake at `url`; the manifests are in it if no other `state` is given.
    pub(super) fn new(shell: &'a Shell, url: &str, state: Option<&str>, names: Names) -> Self {
        let url = url.trim_end_matches('/').to_string();
        let state = state.map_or_else(|| format!("{url}/_watershed"), String::from);
        Lake { shell, state, url, names }
    }

    /// Returns the place of the table of `topic`.
    pub(super) fn table(&self, topic: &str) -> String {
        format!("{}/{}", self.url, self.names.table(self.shell.output(topic), topic))
    }

    /// Returns the URL of the archive, and the name of `topic` in it.
    pub(super) fn archived(&self, topic: &str) -> (String, String) {
        let name = match self.shell.output(topic) {
            Some(Output { prefixed: true, .. }) => self.names.topic(topic),
            _ => topic.to_string(),
        };
        (format!("{}/{ARCHIVE}", self.url), name)
    }

    /// Opens `topic` in the archive, which need not exist.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub(super) fn archive_topic(&self, topic: &str) -> Result<ArchiveTopic> {
        let (url, name) = self.archived(topic);
        Ok(Archive::open(&url)?.topic(name))
    }

    /// Opens the table of `topic` as it was at `commit`.
    ///
    /// # Errors
    /// When it doesn't exist, or its files of that commit are gone.
    pub(super) fn open(&self, topic: &str, commit: u64) -> Result<Table> {
        let url = self.table(topic);
        Table::as_of(&url, commit)?.ok_or_else(|| self.lacks(&url))
    }

    fn lacks(&self, url: &str) -> Error {
        Error::config(format!("there is no table {url}"))
            .hint(format!("Run `{} run` first, or give its --lake.", self.shell.name))
    }

    /// Returns the number of the last commit that changed the table of `topic`; 0 before the first.
    fn shown(&self, topic: &str) -> Result<u64> {
        let url = self.table(topic);
        Table::last_manifest(&url)?.ok_or_else(|| self.lacks(&url))
    }

    /// Returns the number of the last commit that every table shows; 0 before the first.
    pub(super) fn last_commit(&self) -> Result<u64> {
        let shown = |topic| move || Ok((topic, self.shown(topic)?));
        let shown =
            side_by_side("a thread that reads the log of a table", self.shell.tables().map(shown));
        let shown: Vec<(&str, u64)> = shown.into_iter().collect::<Result<_>>()?;
        let last = shown.iter().map(|(_, commit)| *commit).max().unwrap_or(0);
        let behind = shown.iter().filter(|(_, commit)| *commit < last);
        let mut behind = behind.map(|(topic, _)| *topic).peekable();
        if behind.peek().is_none() {
            return Ok(last);
        }
        // A table that the commit doesn't change stays at an earlier one. If a table that it
        // changes is behind, a run is publishing the commit right now, or died while it did. All
        // tables show the commit before it, because a commit begins only when the one before is
        // complete.
        match changed(&Store::open(&self.state)?, last)? {
            Some(changed) if behind.any(|topic| changed.iter().any(|c| c == topic)) => Ok(last - 1),
            Some(_) => Ok(last),
            None => {
                let state = &self.state;
                tracing::warn!(
                    "{state} has no commit {last}, so it is unknown if all tables show it; give \
                     the --state of the run"
                );
                Ok(last)
            }
        }
    }
}
