//! The reset of a table: one version of the log removes all files and gives the table to another
//! application. Earlier versions stay readable.
//!
//! The table gets the id of the new application. So a run of the replaced one refuses it, and that
//! run can't add a version either: the next one is the version of the reset, and reading it ends
//! the run.

use serde_json::{Value, json};

use crate::connect::{Mode, Schema, SinkContext};
use crate::error::{Error, Result};
use crate::faults;

use super::log::{COMMIT_ATTEMPTS, Log};
use super::sink::{Delta, id};
use super::snapshot::{self, Snapshot};
use super::{files, protocol};

/// A place before the reset of its table.
enum Place {
    /// There is no table.
    Empty,
    /// The table of the replaced application.
    Replaced(Box<Snapshot>),
    /// The table of the new application.
    Cleared(Box<Snapshot>),
}

impl Delta {
    /// Returns the table of the place.
    ///
    /// # Errors
    /// When it belongs to another application than the new and the replaced one, or is no table.
    fn place(&self, schema: &Schema, context: &SinkContext, replaced: &str) -> Result<Place> {
        if self.store.list("_delta_log")?.is_empty() {
            self.check_empty(&SinkContext { committed: 0, ..context.clone() })?;
            return Ok(Place::Empty);
        }
        let table = Box::new(snapshot::load(&self.store, None, Some(&context.app))?);
        if table.id == id(schema, &context.app) {
            return Ok(Place::Cleared(table));
        }
        let name = self.name();
        let refuse = |reason: String| {
            let error = Error::data(format!("can't reset the table {name}: {reason}"));
            Err(error.hint("Give another folder, or restore the table and its state together."))
        };
        if table.id != id(schema, replaced) {
            return refuse("it was not made by this application and state".into());
        }
        if protocol::may_have_vectors(&table.protocol).is_none() {
            return refuse(format!("it has features that are not supported: {}", table.protocol));
        }
        Ok(Place::Replaced(table))
    }

    pub(super) fn check_reset(
        &self,
        schema: &Schema,
        context: &SinkContext,
        replaced: &str,
    ) -> Result<()> {
        self.place(schema, context, replaced).map(drop)
    }

    /// Makes an empty table of the new application, unless it is made.
    ///
    /// # Errors
    /// When it is unknown whether the table is empty.
    pub(super) fn reset(
        &self,
        schema: &Schema,
        context: &SinkContext,
        replaced: &str,
    ) -> Result<()> {
        let metadata = protocol::metadata(&id(schema, &context.app), schema, (context.clock)());
        for _ in 0..COMMIT_ATTEMPTS {
            let table = match self.place(schema, context, replaced)? {
                Place::Empty => match self.create_table(context, &metadata)? {
                    Some(_) => return Ok(()),
                    None => continue,
                },
                Place::Replaced(table) => table,
                Place::Cleared(table) => {
                    // The run that made the version may have died before it was durable.
                    return Log::at(self.store.clone(), context, table.version, 0).sync();
                }
            };
            let mut log = Log::at(self.store.clone(), context, table.version, 0);
            let declared = protocol::may_have_vectors(&table.protocol) == Some(true);
            let metadata = match declared {
                true => protocol::with_vectors(metadata.clone()),
                false => metadata.clone(),
            };
            let mut actions = vec![json!({ "metaData": metadata })];
            let now = (context.clock)();
            actions.extend(table.files.iter().filter_map(|add| removal(add, schema.mode, now)));
            faults::point("reset.table.before");
            if log.reset(replaced, context.committed, &actions)? {
                faults::point("reset.table.after");
                return Ok(());
            }
        }
        Err(Error::connect(format!("can't reset the table {}", self.name()))
            .hint("Another program keeps committing to this table."))
    }
}

/// Returns the action that removes the file that `add` describes. In append mode the files of other
/// programs stay.
fn removal(add: &Value, mode: Mode, now: i64) -> Option<Value> {
    let add = &add["add"];
    let is_own = add["path"].as_str().and_then(files::generation).is_some();
    let vector = add.get("deletionVector").filter(|vector| !vector.is_null());
    (is_own || mode == Mode::Snapshot)
        .then(|| files::removal(add["path"].clone(), add["size"].clone(), vector, now, true))
}
