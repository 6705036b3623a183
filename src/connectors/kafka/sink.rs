//! Writing: a commit's records are staged, and made visible together with its number by one
//! transaction.

use std::any::Any;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::connect::{
    Committer, FoundRows, Identity, MaintenanceTask, Part, Recovering, Schema, Sink, SinkContext,
};
use crate::error::{Error, Result};
use crate::store::Store;

use super::KafkaTopic;
use super::rows::{Recovery, Totals};
use super::scan::TopicScan;
use super::writing::Writing;

/// Most bytes of records that are kept in the manifest itself.
const INLINE_MAX_BYTES: usize = 4 << 10;
/// Time limit of one step of a transaction.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Milliseconds without a commit after which its number is committed to the group again. Brokers
/// keep it for a week, or a day.
const REMIND_AFTER_MS: i64 = 3_600_000;

/// The content of a commit, as the manifest records it.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// The rows of the topic, with this commit.
    held: Totals,
    bytes: u64,
    /// The records themselves, or the object in the run's state that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lines: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
}

impl Sink for KafkaTopic {
    fn describe(&self) -> String {
        self.name()
    }

    fn identity(&self) -> Result<Identity> {
        self.identity()
    }

    fn check(&self, schema: &Schema, context: &SinkContext) -> Result<()> {
        // Read uncommitted: the previous run's transaction may still be open, because only `open`
        // aborts it.
        let group = self.group(context, "read_uncommitted")?;
        self.claim(self.last(&group)?.map(|(n, _)| n), schema, context).map(drop)
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        let id = self.id(context);
        let group = self.group(context, "read_committed")?;
        // First, because this fences the previous run, and completes or aborts its transaction.
        // Only then the offset is final.
        let mut writing = Writing::begin(self, &id, group)?;
        let last = writing.last()?;
        let forgotten = self.claim(last.map(|(n, _)| n), schema, context)?;
        self.own(schema, context)?;
        let staging = self.staging(schema, context);
        Ok(Box::new(Commits {
            writing,
            held: last.map(|(_, held)| held),
            forgotten,
            known: context.committed,
            clock: context.clock.clone(),
            reminded: None,
            staging,
            generation: context.generation,
            staged: None,
            total: Totals::default(),
            committed: false,
            tidy: false,
        }))
    }

    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        _brief: &serde_json::Value,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        let schema = Arc::new(schema.clone());
        let recovery = |_| Box::new(Recovery::new(schema.clone(), context.secret)) as _;
        Ok(workers.map(recovery).collect())
    }
}

/// Makes the commits of a topic.
struct Commits {
    writing: Writing,
    /// The rows of the topic by its last commit; `None` before the first.
    held: Option<Totals>,
    /// The rows counted in the topic, until it is clear which commit that was.
    forgotten: Option<TopicScan>,
    /// The number of the last manifest before this run.
    known: u64,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// The time of the last transaction of this run, in milliseconds since 1970.
    reminded: Option<i64>,
    staging: Option<Store>,
    generation: u64,
    /// The records of the commit that was staged last.
    staged: Option<(u64, Vec<u8>)>,
    /// The rows of the topic with all that is staged.
    total: Totals,
    /// True once this run has made a commit.
    committed: bool,
    /// True once objects that earlier runs staged are deleted.
    tidy: bool,
}

impl Commits {
    /// The records of commit `n`.
    fn lines<'a>(&'a self, n: u64, content: &'a Content) -> Result<Cow<'a, [u8]>> {
        let own = self.staged.as_ref().filter(|(staged, _)| *staged == n).map(|(_, lines)| lines);
        let lines: Cow<'_, [u8]> = match (own, &content.lines, &content.object, &self.staging) {
            (Some(lines), ..) => lines.into(),
            (_, Some(lines), ..) => lines.as_bytes().into(),
            (.., Some(object), Some(store)) => store
                .get(object)?
                .ok_or_else(|| self.wrong(n, &format!("{} is gone", store.name(object))))?
                .into(),
            _ => return Err(self.wrong(n, "its records were not kept")),
        };
        if lines.len() as u64 != content.bytes {
            return Err(self.wrong(n, "its records are not as they were staged"));
        }
        Ok(lines)
    }

    fn wrong(&self, n: u64, what: &str) -> Error {
        let name = self.writing.topic.name();
        Error::data(format!("can't make commit {n} of {name} visible: {what}"))
            .hint("Restore the state's folder staged, or begin anew with another topic and state.")
    }

    /// Returns the number of the last commit that is visible. Where the group has forgotten it, the
    /// rows of the topic are either those with commit `n`, or those before it.
    fn shown(&mut self, n: u64, content: &Content) -> Result<u64> {
        match (&self.forgotten, self.writing.shown) {
            (Some(scan), _) if scan.held == content.held => Ok(n),
            (Some(scan), _) if scan.with(&self.lines(n, content)?) == Some(content.held) => Ok(0),
            (Some(scan), _) => Err(self.strange(scan.held.rows, content.held.rows)),
            (None, Some(shown)) => Ok(shown),
            (None, None) => Ok(self.writing.last()?.map_or(0, |(n, _)| n)),
        }
    }

    /// Returns the error of a topic that holds `there` rows instead of `rows`.
    fn strange(&self, there: u64, rows: u64) -> Error {
        let what = match there == rows {
            true => format!("{rows} rows, but others"),
            false => format!("{there} rows, not the {rows}"),
        };
        let name = self.writing.topic.name();
        match self.forgotten {
            None => Error::data(format!("{name} holds {what} that were read again"))
                .hint("Go on with the state that belongs to the topic, or write to another one with a new state."),
            Some(_) => Error::data(format!("{name} holds {what} of its last commit, whose number the group has forgotten")).hint(
                "Brokers forget it after offsets.retention.minutes without a commit. Bring back the rows that the topic had, or \
                 write to another one with a new state.",
            ),
        }
    }

    /// Commits the last number to the group again if that was long ago: else the group forgets it.
    fn remind(&mut self) -> Result<()> {
        let now = (self.clock)();
        if let (Some(n @ 1..), Some(held)) = (self.writing.shown, self.held)
            && self.reminded.is_none_or(|last| now.saturating_sub(last) >= REMIND_AFTER_MS)
        {
            self.writing.transact(n, &[], held)?;
            self.reminded = Some(now);
        }
        Ok(())
    }
}

impl Committer for Commits {
    fn recovered(&mut self, found: FoundRows) -> Result<()> {
        let FoundRows { rows, digest } = found;
        let there =
            self.forgotten.as_ref().map_or(self.held, |scan| Some(scan.held)).unwrap_or_default();
        self.total = Totals { rows, digest };
        if there != self.total {
            return Err(self.strange(there.rows, rows));
        }
        if self.forgotten.take().is_some() {
            // Any number from the topic's own last commit to the last of all says the same.
            (self.writing.shown, self.held) = (Some(self.known), Some(there));
        }
        self.remind()
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<serde_json::Value>> {
        let mut lines = Vec::new();
        for part in parts {
            let (more, records): (Totals, _) = part.read()?;
            self.total.add(more);
            lines.extend_from_slice(records);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let mut content =
            Content { held: self.total, bytes: lines.len() as u64, lines: None, object: None };
        if let Some(store) = &self.staging {
            if lines.len() <= INLINE_MAX_BYTES {
                content.lines = Some(String::from_utf8_lossy(&lines).into_owned());
            } else {
                // The generation keeps a run that doesn't know of its end from writing over what
                // its successor stages.
                let object = format!("{}-{n}.json", self.generation);
                store.put(&object, &lines)?;
                content.object = Some(object);
            }
        }
        self.staged = Some((n, lines));
        let content = serde_json::to_value(&content);
        content.map(Some).map_err(|e| {
            Error::internal(format!("can't record commit {n} of {}", self.writing.topic.name()))
                .because(e)
        })
    }

    fn commit(&mut self, n: u64, content: &serde_json::Value) -> Result<()> {
        let content = Content::deserialize(content)
            .map_err(|e| self.wrong(n, "its record is damaged").because(e))?;
        self.committed |= self.staged.as_ref().is_some_and(|(staged, _)| *staged == n);
        let shown = self.shown(n, &content)?;
        self.forgotten = None;
        if shown < n {
            // Until it is known what came of it.
            self.writing.shown = None;
            self.writing.transact(n, &self.lines(n, &content)?, content.held)?;
            self.reminded = Some((self.clock)());
        }
        (self.writing.shown, self.held, self.staged) =
            (Some(shown.max(n)), Some(content.held), None);
        if let (Some(object), Some(store)) = (&content.object, &self.staging) {
            store.delete(object)?;
        }
        Ok(())
    }

    /// Reminds the group, and deletes objects that earlier runs staged and never committed.
    fn maintain(&mut self) -> Result<Option<MaintenanceTask>> {
        // Not a task: no transaction is made beside another.
        self.remind()?;
        // Not before a commit of this run: until then the last one of an earlier run may be needed.
        let Some(store) = self.staging.clone().filter(|_| !self.tidy && self.committed) else {
            return Ok(None);
        };
        let now = self.generation;
        Ok(Some(Box::new(move || {
            for (name, _) in store.list("")? {
                let generation =
                    name.split_once('-').and_then(|(generation, _)| generation.parse::<u64>().ok());
                if generation.is_some_and(|generation| generation < now) {
                    store.delete(&name)?;
                }
            }
            Ok(Box::new(()))
        })))
    }

    fn maintained(&mut self, _result: Box<dyn Any + Send>) -> Result<()> {
        self.tidy = true;
        Ok(())
    }
}
