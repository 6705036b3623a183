//! The log of a table: the one place where commits are made, each exactly once.
//!
//! Only a definite success of a single conditional creation counts. Whatever else comes back, the log is read again: it
//! says whether the commit is there, because every commit carries its number.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::connect::{Create, Store};
use crate::error::{Error, Result};

/// Milliseconds since 1970.
pub(super) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How often a commit is tried before its outcome is called undecidable.
const TRIES: u32 = 8;

/// The name of version `version` in the table's folder.
pub(super) fn at(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

/// The actions of version `version`; `None` if there is no such version.
///
/// # Errors
/// When it can't be read.
pub(super) fn read(store: &Store, version: u64) -> Result<Option<Vec<Value>>> {
    let path = at(version);
    let Some(bytes) = store.get(&path)? else { return Ok(None) };
    let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let actions: Result<Vec<Value>, _> = lines.map(serde_json::from_slice).collect();
    actions.map(Some).map_err(|e| Error::data(format!("can't read {}", store.name(&path))).because(e))
}

/// The number of the commit that `actions` are of `app`, if they are one.
pub(super) fn commit(actions: &[Value], app: &str) -> Option<u64> {
    actions.iter().find_map(|a| a["txn"]["version"].as_u64().filter(|_| a["txn"]["appId"] == app))
}

/// Whether `actions` are a version that `app` has made.
pub(super) fn own(actions: &[Value], app: &str) -> bool {
    let info = actions.iter().find_map(|a| a.get("commitInfo"));
    manifest(actions).is_some() && info.is_some_and(|info| info["operationParameters"]["queryId"] == app)
}

/// The number of the manifest that `actions` were written for, if they are a version of ours.
pub(super) fn manifest(actions: &[Value]) -> Option<u64> {
    let info = actions.iter().find_map(|a| a.get("commitInfo"))?;
    info["engineInfo"].as_str().filter(|engine| engine.starts_with("watershed/"))?;
    info["operationParameters"]["epochId"].as_str()?.parse().ok()
}

/// What a version consists of, and what it does.
fn body(app: &str, n: u64, operation: &str, now: i64, actions: &[Value]) -> Vec<u8> {
    let info = json!({"commitInfo": {
        "timestamp": now,
        "operation": operation,
        "operationParameters": {"queryId": app, "epochId": n.to_string()},
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

/// Gives a store that has not answered time to come to itself.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for: the other side says nothing")]
fn back_off(attempt: u32) {
    std::thread::sleep(Duration::from_millis(20 << attempt));
}

/// A table's log as far as it is known.
pub(super) struct Log {
    pub(super) store: Store,
    pub(super) app: String,
    pub(super) now: Clock,
    /// The last version that is known.
    pub(super) version: u64,
    /// The last manifest that is in the table; 0 before the first.
    pub(super) txn: u64,
    /// Whether `version` was read, so that it is visible but perhaps not yet durable.
    pub(super) unsynced: bool,
}

impl Log {
    /// Creates the table: version 0, of `actions`. It need not be created by this call, but must hold the same.
    ///
    /// # Errors
    /// When it can't be created, or another table is there.
    pub(super) fn create(store: Store, app: &str, now: Clock, actions: &[Value]) -> Result<Self> {
        let body = body(app, 0, "CREATE TABLE", now(), actions);
        put(&store, 0, &body)?;
        Ok(Log { store, app: app.into(), now, version: 0, txn: 0, unsynced: false })
    }

    /// Makes commit `n` visible, unless it is. `foreign` judges each version that is not ours.
    ///
    /// # Errors
    /// What `foreign` says; and when it can't be decided whether the commit is visible.
    pub(super) fn commit(&mut self, n: u64, actions: &[Value], foreign: &dyn Fn(&[Value]) -> Result<()>) -> Result<()> {
        let txn = [&[json!({"txn": {"appId": self.app, "version": n}})], actions].concat();
        let mut unknown = None;
        for attempt in 0..TRIES {
            self.refresh(foreign)?;
            if self.txn >= n {
                return self.sync();
            }
            let body = body(&self.app, n, "STREAMING UPDATE", (self.now)(), &txn);
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
            None => error.hint("Something else commits to this table all the time."),
        })
    }

    /// Adds a version that belongs to no manifest: it moves rows and changes none.
    ///
    /// # Errors
    /// When something else came first, or it can't be decided whether it is visible.
    pub(super) fn rearrange(&mut self, actions: &[Value]) -> Result<()> {
        let body = body(&self.app, self.txn, "OPTIMIZE", (self.now)(), actions);
        put(&self.store, self.version + 1, &body)?;
        self.version += 1;
        Ok(())
    }

    /// Reads what came after the last known version.
    fn refresh(&mut self, foreign: &dyn Fn(&[Value]) -> Result<()>) -> Result<()> {
        while let Some(actions) = read(&self.store, self.version + 1)? {
            match commit(&actions, &self.app) {
                Some(n) => self.txn = self.txn.max(n),
                // A version that moves rows, given up because nobody could say whether it was made.
                None if own(&actions, &self.app) => {
                    let message = format!("{} was rearranged after all, long after it was asked for", self.store.name(""));
                    return Err(Error::connect(message).hint("Start again: what is there is found anew."));
                }
                None => foreign(&actions)?,
            }
            self.version += 1;
            self.unsynced = true;
        }
        Ok(())
    }

    /// Makes durable what was only seen: a commit may be visible without having reached the disk.
    fn sync(&mut self) -> Result<()> {
        if let Some(folder) = self.store.folder().filter(|_| self.unsynced) {
            let file = folder.join(at(self.version));
            let sync = |path: &std::path::Path| std::fs::File::open(path).and_then(|f| f.sync_all());
            let synced = sync(&file).and_then(|()| file.parent().map_or(Ok(()), sync));
            synced.map_err(|e| Error::connect(format!("can't sync {}", file.display())).because(e))?;
        }
        self.unsynced = false;
        Ok(())
    }
}

/// Creates `version` with exactly `body`, whoever is the one that does.
fn put(store: &Store, version: u64, body: &[u8]) -> Result<()> {
    let path = at(version);
    let mut last = None;
    for attempt in 0..TRIES {
        match store.create(&path, body)? {
            Create::Created => return Ok(()),
            Create::Taken => {}
            Create::Unknown(e) => last = Some(e),
        }
        match store.get(&path)? {
            Some(there) if there == body => return Ok(()),
            Some(_) => return Err(Error::superseded(format!("something else has created {}", store.name(&path)))),
            None => back_off(attempt),
        }
    }
    Err(last.unwrap_or_else(|| Error::connect(format!("can't create {}", store.name(&path)))))
}
