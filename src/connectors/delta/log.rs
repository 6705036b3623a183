//! The log of a table, where each commit is made exactly once.
//!
//! Only a definite success of a single conditional creation counts. After any other outcome the log
//! is read again: every commit carries its number, so the log shows whether it was made.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::store::{Create, Store};

use crate::connect::SinkContext;
use crate::error::{Error, Result};
use crate::faults;
use crate::sync::pause;

/// Milliseconds since 1970.
pub(super) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The number of attempts to make a commit before its outcome is reported as unknown.
pub(super) const COMMIT_ATTEMPTS: u32 = 8;

/// Returns the name of version `version` in the table's folder.
pub(super) fn at(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

/// Returns the actions of version `version`; `None` if there is no such version.
///
/// # Errors
/// When it can't be read.
pub(super) fn read(store: &Store, version: u64) -> Result<Option<Vec<Value>>> {
    let path = at(version);
    let Some(bytes) = store.get(&path)? else { return Ok(None) };
    let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let actions: Result<Vec<Value>, _> = lines.map(serde_json::from_slice).collect();
    actions
        .map(Some)
        .map_err(|e| Error::data(format!("can't read {}", store.name(&path))).because(e))
}

/// Returns the number of the commit of `app` that `actions` are, if they are one.
pub(super) fn commit(actions: &[Value], app: &str) -> Option<u64> {
    actions.iter().find_map(|a| a["txn"]["version"].as_u64().filter(|_| a["txn"]["appId"] == app))
}

/// Returns true if `app` made the version with these `actions`.
pub(super) fn own(actions: &[Value], app: &str) -> bool {
    manifest(actions).is_some()
        && parameters(actions).is_some_and(|parameters| parameters["queryId"] == app)
}

/// Returns the number of the manifest for which `actions` were written, if this library wrote them.
pub(super) fn manifest(actions: &[Value]) -> Option<u64> {
    let info = actions.iter().find_map(|a| a.get("commitInfo"))?;
    info["engineInfo"].as_str().filter(|engine| engine.starts_with("watershed/"))?;
    info["operationParameters"]["epochId"].as_str()?.parse().ok()
}

/// Returns the number of the run that made the version with these `actions`.
pub(super) fn generation(actions: &[Value]) -> Option<u64> {
    parameters(actions)?["generation"].as_str()?.parse().ok()
}

/// Returns the time of a version by its `actions`, in milliseconds since 1970.
pub(super) fn time(actions: &[Value]) -> Option<i64> {
    actions.iter().find_map(|a| a["commitInfo"]["timestamp"].as_i64())
}

/// Returns the moves of rows that [`Log::compaction`] recorded, if `actions` are such a version.
pub(super) fn moves(actions: &[Value]) -> Option<Vec<Value>> {
    serde_json::from_str(parameters(actions)?["moves"].as_str()?).ok()
}

/// Returns true if `actions` took the table from `app` and gave it to another application.
fn replaces(actions: &[Value], app: &str) -> bool {
    manifest(actions).is_some()
        && parameters(actions).is_some_and(|parameters| parameters["replaced"] == app)
}

/// Returns true if `actions` add or remove files.
pub(super) fn moves_rows(actions: &[Value]) -> bool {
    actions.iter().any(|action| action.get("add").is_some() || action.get("remove").is_some())
}

fn parameters(actions: &[Value]) -> Option<&Value> {
    actions.iter().find_map(|a| a.get("commitInfo")?.get("operationParameters"))
}

/// Pauses, so that a store that failed can recover.
fn back_off(attempt: u32) {
    pause(Duration::from_millis(20 << attempt));
}

/// A table's log, up to the last version that was read or made.
pub(super) struct Log {
    pub(super) store: Store,
    pub(super) app: String,
    /// The number of this run.
    generation: u64,
    pub(super) now: Clock,
    /// The last version that was read or made.
    pub(super) version: u64,
    /// The last manifest that is in the table; 0 before the first.
    pub(super) txn: u64,
    /// True if `version` was read: it is visible, but perhaps not yet durable.
    unsynced: bool,
    /// True once a version of a newer run was read. Then this run makes no more versions.
    pub(super) superseded: bool,
}

impl Log {
    /// Returns the log of a table whose last version is `version`, of manifest `txn`, for the run
    /// of `context`.
    pub(super) fn at(store: Store, context: &SinkContext, version: u64, txn: u64) -> Self {
        let (app, generation, now) =
            (context.app.clone(), context.generation, context.clock.clone());
        Log { store, app, generation, now, version, txn, unsynced: true, superseded: false }
    }

    /// Creates the table: version 0, of `actions`. Another call may have created the same version.
    /// Returns `None` if another table exists.
    ///
    /// # Errors
    /// When it can't be created.
    pub(super) fn create(
        store: Store,
        context: &SinkContext,
        actions: &[Value],
    ) -> Result<Option<Self>> {
        let mut log = Log::at(store, context, 0, 0);
        let body = log.body(context.committed, "CREATE TABLE", None, actions);
        log.unsynced = false;
        Ok(put(&log.store, 0, &body)?.then_some(log))
    }

    /// Adds a version of this run that changes nothing. A version that another run made for the
    /// log's previous end can't be created any more, however late it arrives. Returns false if
    /// another version came first.
    ///
    /// # Errors
    /// When it is unknown whether the version exists.
    pub(super) fn fence(&mut self) -> Result<bool> {
        let body = self.body(self.txn, "TAKE OVER", None, &[]);
        let there = put(&self.store, self.version + 1, &body)?;
        self.version += u64::from(there);
        Ok(there)
    }

    /// Adds commit `n`, of `actions`, which takes the table from the application `replaced`.
    /// Returns false if another version came first.
    ///
    /// # Errors
    /// When it is unknown whether the version exists.
    pub(super) fn reset(&mut self, replaced: &str, n: u64, actions: &[Value]) -> Result<bool> {
        let txn = [&[self.txn_action(n)], actions].concat();
        let replaced = ("replaced", replaced.to_string());
        let body = self.body(n, "REPLACE TABLE", Some(replaced), &txn);
        put(&self.store, self.version + 1, &body)
    }

    fn txn_action(&self, n: u64) -> Value {
        json!({"txn": {"appId": self.app, "version": n}})
    }

    /// Makes commit `n` visible, unless it is. `refuse_external` checks each version of another
    /// program.
    ///
    /// # Errors
    /// The errors of `refuse_external`. When a newer run has taken over. When it is unknown whether
    /// the commit is visible.
    pub(super) fn commit(
        &mut self,
        n: u64,
        actions: &[Value],
        refuse_external: &dyn Fn(&[Value]) -> Result<()>,
    ) -> Result<()> {
        let txn = [&[self.txn_action(n)], actions].concat();
        let mut unknown = None;
        for attempt in 0..COMMIT_ATTEMPTS {
            self.refresh(refuse_external)?;
            if self.txn >= n && !faults::bug("no_txn_check") {
                return self.sync();
            }
            if self.superseded {
                return Err(taken_over(&self.store));
            }
            let body = self.body(n, "STREAMING UPDATE", None, &txn);
            match self.store.create(&at(self.version + 1), &body)? {
                Create::Created => {
                    (self.version, self.txn, self.unsynced) = (self.version + 1, n, false);
                    return Ok(());
                }
                Create::Taken => {}
                Create::Unknown(e) => {
                    unknown = Some(e);
                    back_off(attempt);
                }
            }
        }
        let error = Error::connect(format!("can't make commit {n} of {}", self.store.name("")));
        Err(match unknown {
            Some(cause) => error.because(cause),
            None => error.hint("Another program keeps committing to this table."),
        })
    }

    /// Returns the bytes of a version that belongs to no manifest: it moves rows, as `moves`
    /// records, and changes none.
    pub(super) fn compaction(&self, moves: Vec<Value>, actions: &[Value]) -> Vec<u8> {
        self.body(self.txn, "OPTIMIZE", Some(("moves", Value::from(moves).to_string())), actions)
    }

    /// Adds the version `body` that moves rows; false if another version came first. After an error
    /// [`resolve`](Log::resolve) has to be called.
    ///
    /// # Errors
    /// When it is unknown whether the version exists.
    pub(super) fn commit_compaction(&mut self, body: &[u8]) -> Result<bool> {
        if self.superseded {
            return Ok(false);
        }
        while faults::bug("old_rearrangement") && !put(&self.store, self.version + 1, body)? {
            self.version += 1;
        }
        let path = at(self.version + 1);
        let unknown = match self.store.create(&path, body)? {
            Create::Created => None,
            Create::Taken => Some(None),
            Create::Unknown(error) => Some(Some(error)),
        };
        let made = match unknown {
            None => true,
            Some(unknown) => match self.store.get(&path)? {
                Some(there) => {
                    self.unsynced |= there == body;
                    there == body
                }
                None => {
                    let error = Error::connect(format!(
                        "can't determine whether {} exists",
                        self.store.name(&path)
                    ));
                    return Err(unknown.map_or(error, |cause| cause));
                }
            },
        };
        self.version += u64::from(made);
        Ok(made)
    }

    /// Determines whether the version `body` exists, whose creation had an unknown outcome. If not,
    /// it can never be created any more.
    ///
    /// # Errors
    /// When the outcome can't be determined.
    pub(super) fn resolve(&mut self, body: &[u8]) -> Result<bool> {
        if self.fence()? {
            return Ok(false);
        }
        let made = self.store.get(&at(self.version + 1))?.is_some_and(|there| there == body);
        self.version += u64::from(made);
        self.unsynced |= made;
        Ok(made)
    }

    /// Returns the bytes of a version: a line for the run and its manifest, then the actions.
    /// `more` is one more parameter of the operation.
    fn body(
        &self,
        n: u64,
        operation: &str,
        more: Option<(&str, String)>,
        actions: &[Value],
    ) -> Vec<u8> {
        let (epoch, generation) = (n.to_string(), self.generation.to_string());
        let mut parameters =
            json!({"queryId": self.app, "epochId": epoch, "generation": generation});
        if let Some((name, value)) = more {
            parameters[name] = value.into();
        }
        let info = json!({"commitInfo": {
            "timestamp": (self.now)(),
            "operation": operation,
            "operationParameters": parameters,
            "isBlindAppend": false,
            "engineInfo": concat!("watershed/", env!("CARGO_PKG_VERSION")),
        }});
        let mut body = info.to_string();
        for action in actions {
            body.push('\n');
            body.push_str(&action.to_string());
        }
        body.into_bytes()
    }

    /// Reads the versions after the last one.
    fn refresh(&mut self, refuse_external: &dyn Fn(&[Value]) -> Result<()>) -> Result<()> {
        while let Some(actions) = read(&self.store, self.version + 1)? {
            if replaces(&actions, &self.app) {
                self.superseded = true;
                return Err(taken_over(&self.store));
            }
            let own = own(&actions, &self.app);
            self.superseded |=
                own && generation(&actions).is_some_and(|generation| generation > self.generation);
            match commit(&actions, &self.app) {
                Some(n) => self.txn = self.txn.max(n),
                None if own && self.superseded => {}
                None if own && moves_rows(&actions) => {
                    let message = format!(
                        "a compaction of {} was made long after its request",
                        self.store.name("")
                    );
                    return Err(Error::connect(message)
                        .hint("Start the program again: it reads the table anew."));
                }
                None if own => {}
                None => refuse_external(&actions)?,
            }
            self.version += 1;
            self.unsynced = true;
        }
        Ok(())
    }

    /// Makes the last version durable if it was read: a commit may be visible before it has reached
    /// the disk.
    pub(super) fn sync(&mut self) -> Result<()> {
        if self.unsynced {
            self.store.confirm(&at(self.version))?;
        }
        self.unsynced = false;
        Ok(())
    }
}

/// Returns the error of a run that finds a newer one in the table.
pub(super) fn taken_over(store: &Store) -> Error {
    Error::superseded(format!("a newer run has taken over {}", store.name("")))
        .hint("This run stops; its commits are kept.")
}

/// Creates `version` with exactly `body`, by this call or an equal one; false if another version
/// exists.
fn put(store: &Store, version: u64, body: &[u8]) -> Result<bool> {
    let path = at(version);
    let mut last = None;
    for attempt in 0..COMMIT_ATTEMPTS {
        match store.create(&path, body)? {
            Create::Created => return Ok(true),
            Create::Taken => {}
            Create::Unknown(e) => last = Some(e),
        }
        match store.get(&path)? {
            Some(there) if there == body => return store.confirm(&path).map(|()| true),
            Some(_) => return Ok(false),
            None => back_off(attempt),
        }
    }
    Err(last.unwrap_or_else(|| Error::connect(format!("can't create {}", store.name(&path)))))
}
