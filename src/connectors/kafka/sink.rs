//! Writes rows. The records of a commit are staged first, and then made visible by one transaction,
//! together with the number of the commit.

use std::any::Any;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::connect::{
    Committer, FoundRows, Identity, MaintenanceTask, Part, Recovering, Schema, Sink, SinkContext,
};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::store::Store;

use super::KafkaTopic;
use super::rows::{Recovery, Totals};
use super::scan::TopicScan;
use super::transactions::Transactions;

/// The most bytes of records that the manifest itself keeps.
const INLINE_MAX_BYTES: usize = 4 << 10;
/// Without a commit for this many milliseconds, the number of the last one is committed again.
/// Brokers keep it for a week, old ones for a day.
const RENEW_INTERVAL_MS: i64 = 3_600_000;

/// The content of a commit, as the manifest records it.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// The rows of the topic, with this commit.
    held: Totals,
    bytes: u64,
    /// The records themselves, or the name of an object in the run's state that holds them.
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
        let group = self.group_client(context, "read_uncommitted")?;
        self.claim(self.last_commit(&group)?.map(|last| last.n), schema, context).map(drop)
    }

    /// Accepts only a topic without records that the replaced application has never opened. Another
    /// one may have readers, and a transaction of that application may still be open.
    fn check_clear(&self, schema: &Schema, context: &SinkContext, replaced: &str) -> Result<()> {
        let fresh = SinkContext { committed: 0, ..context.clone() };
        let refuse = || {
            let message = format!("can't reset the state: {} can't be emptied", self.name());
            Error::config(message).hint("Write to another topic.")
        };
        if self.owns(schema, &SinkContext { app: replaced.to_string(), ..context.clone() })? {
            return Err(refuse());
        }
        self.claim(None, schema, &fresh).map(drop).map_err(|error| match error.kind() {
            ErrorKind::Data => refuse().because(error),
            _ => error,
        })
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        let id = self.id(context);
        let group = self.group_client(context, "read_committed")?;
        // This comes first, because it fences the previous run, and completes or aborts its
        // transaction. Only then is the offset final.
        let mut transactions = Transactions::open(self, &id, group)?;
        let last = transactions.last_commit()?;
        let scan = self.claim(last.map(|last| last.n), schema, context)?;
        self.record_owner(schema, context)?;
        let staging = self.staging(schema, context);
        Ok(Box::new(TopicCommitter {
            transactions,
            visible_totals: last.map(|last| last.totals),
            scan,
            last_manifest: context.committed,
            clock: context.clock.clone(),
            renewed_ms: None,
            staging,
            generation: context.generation,
            staged: None,
            staged_totals: Totals::default(),
            committed: false,
            cleaned: false,
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

/// The records of a staged commit.
struct Staged {
    n: u64,
    lines: Vec<u8>,
}

/// Makes the commits of a topic.
struct TopicCommitter {
    transactions: Transactions,
    /// The totals of the topic at its last visible commit; `None` before the first.
    visible_totals: Option<Totals>,
    /// The rows that the topic holds, while it is unknown which commit was the last.
    scan: Option<TopicScan>,
    /// The number of the last manifest before this run.
    last_manifest: u64,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// The time of this run's last transaction, in milliseconds since 1970.
    renewed_ms: Option<i64>,
    staging: Option<Store>,
    generation: u64,
    /// The commit that was staged last.
    staged: Option<Staged>,
    /// The totals of the topic with everything that is staged.
    staged_totals: Totals,
    /// True once this run has made a commit.
    committed: bool,
    /// True once objects that earlier runs staged are deleted.
    cleaned: bool,
}

impl TopicCommitter {
    /// Returns the records of commit `n`.
    fn lines<'a>(&'a self, n: u64, content: &'a Content) -> Result<Cow<'a, [u8]>> {
        let own = self.staged.as_ref().filter(|staged| staged.n == n).map(|staged| &staged.lines);
        let lines: Cow<'_, [u8]> = match (own, &content.lines, &content.object, &self.staging) {
            (Some(lines), ..) => lines.into(),
            (_, Some(lines), ..) => lines.as_bytes().into(),
            (.., Some(object), Some(store)) => store
                .get(object)?
                .ok_or_else(|| self.invisible(n, &format!("{} is missing", store.name(object))))?
                .into(),
            _ => return Err(self.invisible(n, "its records were not stored")),
        };
        if lines.len() as u64 != content.bytes {
            return Err(self.invisible(n, "its records differ from those that were staged"));
        }
        Ok(lines)
    }

    fn invisible(&self, n: u64, why: &str) -> Error {
        let name = self.transactions.topic.name();
        Error::data(format!("can't make commit {n} of {name} visible: {why}"))
            .hint("Restore the folder `staged` of the state, or begin anew with another topic.")
            .advise(Advice::BeginAnew)
    }

    /// Returns the number of the last visible commit. If the group has forgotten it, the topic
    /// holds either the rows of commit `n`, or those before it.
    fn last_visible(&mut self, n: u64, content: &Content) -> Result<u64> {
        match (&self.scan, self.transactions.visible) {
            (Some(scan), _) if scan.totals == content.held => Ok(n),
            (Some(scan), _) if scan.with(&self.lines(n, content)?) == Some(content.held) => Ok(0),
            (Some(scan), _) => Err(self.mismatch(scan.totals.rows, content.held.rows)),
            (None, Some(visible)) => Ok(visible),
            (None, None) => Ok(self.transactions.last_commit()?.map_or(0, |last| last.n)),
        }
    }

    /// Returns the error of a topic that holds `found` rows instead of `rows`.
    fn mismatch(&self, found: u64, rows: u64) -> Error {
        let rows = match found == rows {
            true => format!("{rows} rows, but others"),
            false => format!("{found} rows, not the {rows}"),
        };
        let name = self.transactions.topic.name();
        match self.scan {
            None => Error::data(format!("{name} holds {rows} that were read again"))
                .hint(
                    "Continue with the state that belongs to the topic, or begin anew with \
                     another topic.",
                )
                .advise(Advice::BeginAnew),
            Some(_) => Error::data(format!(
                "{name} holds {rows} of its last commit, whose number the group has forgotten"
            ))
            .hint(
                "Brokers forget it after offsets.retention.minutes without a commit. Restore the \
                 rows of the topic, or begin anew with another topic.",
            )
            .advise(Advice::BeginAnew),
        }
    }

    /// Commits the last number to the group again if the last time is long ago. Otherwise brokers
    /// delete it.
    fn renew_offset(&mut self) -> Result<()> {
        let now = (self.clock)();
        if let (Some(n @ 1..), Some(totals)) = (self.transactions.visible, self.visible_totals)
            && self.renewed_ms.is_none_or(|last| now.saturating_sub(last) >= RENEW_INTERVAL_MS)
        {
            self.transactions.transact(n, &[], totals)?;
            self.renewed_ms = Some(now);
        }
        Ok(())
    }
}

impl Committer for TopicCommitter {
    fn recovered(&mut self, found: FoundRows) -> Result<()> {
        let FoundRows { rows, digest, skipped } = found;
        let visible = self.scan.as_ref().map_or(self.visible_totals, |scan| Some(scan.totals));
        let visible = visible.unwrap_or_default();
        // The digests of skipped rows are unknown, so only the number of all rows is compared.
        let digest = if skipped > 0 { visible.digest } else { digest };
        self.staged_totals = Totals { rows, digest };
        if visible != self.staged_totals {
            return Err(self.mismatch(visible.rows, rows));
        }
        if self.scan.take().is_some() {
            // No row has changed since the topic's own last commit, so that any number from there
            // to the last manifest is right.
            (self.transactions.visible, self.visible_totals) =
                (Some(self.last_manifest), Some(visible));
        }
        self.renew_offset()
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<serde_json::Value>> {
        let mut lines = Vec::new();
        for part in parts {
            let (more, records): (Totals, _) = part.read()?;
            self.staged_totals.add(more);
            lines.extend_from_slice(records);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let mut content = Content {
            held: self.staged_totals,
            bytes: lines.len() as u64,
            lines: None,
            object: None,
        };
        if let Some(store) = &self.staging {
            if lines.len() <= INLINE_MAX_BYTES {
                content.lines = Some(String::from_utf8_lossy(&lines).into_owned());
            } else {
                // The generation separates the objects of runs: a run that has not noticed its
                // successor must not overwrite the successor's object.
                let object = format!("{}-{n}.json", self.generation);
                store.put(&object, &lines)?;
                content.object = Some(object);
            }
        }
        self.staged = Some(Staged { n, lines });
        let content = serde_json::to_value(&content);
        content.map(Some).map_err(|e| {
            Error::internal(format!(
                "can't record commit {n} of {}",
                self.transactions.topic.name()
            ))
            .because(e)
        })
    }

    fn commit(&mut self, n: u64, content: &serde_json::Value) -> Result<()> {
        let content = Content::deserialize(content)
            .map_err(|e| self.invisible(n, "its record is damaged").because(e))?;
        self.committed |= self.staged.as_ref().is_some_and(|staged| staged.n == n);
        let visible = self.last_visible(n, &content)?;
        self.scan = None;
        if visible < n {
            // Unknown until the transaction succeeds.
            self.transactions.visible = None;
            self.transactions.transact(n, &self.lines(n, &content)?, content.held)?;
            self.renewed_ms = Some((self.clock)());
        }
        (self.transactions.visible, self.visible_totals, self.staged) =
            (Some(visible.max(n)), Some(content.held), None);
        if let (Some(object), Some(store)) = (&content.object, &self.staging) {
            store.delete(object)?;
        }
        Ok(())
    }

    /// Renews the group's offset, and deletes objects that earlier runs staged and never committed.
    fn maintain(&mut self) -> Result<Option<MaintenanceTask>> {
        // Do this here and not in the task, because two transactions can't run at the same time.
        self.renew_offset()?;
        // Wait for the first commit of this run. Until then the last object of an earlier run may
        // be needed.
        let Some(store) = self.staging.clone().filter(|_| !self.cleaned && self.committed) else {
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
        self.cleaned = true;
        Ok(())
    }
}
