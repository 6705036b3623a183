//! Counterexamples as text: one action a line, with the run and its step.

use std::fmt;

use crate::protocol::{Action, State};
use crate::run::{Chore, Phase, Showing};
use crate::world::{Layer, Manifest, Named, Version};

/// Returns a path of states and actions as text.
pub fn text(path: Vec<(State, Option<Action>)>) -> String {
    let lines = path.iter().enumerate().map(|(number, (state, action))| match action {
        Some(action) => format!("{:3}  {}", number + 1, line(state, action)),
        None => last(state),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn line(state: &State, action: &Action) -> String {
    let run = |at: &usize| format!("run {}", state.runs[*at].memory.generation);
    match action {
        Action::Committer(at, step) => {
            format!("{}: {} {step:?}", run(at), state.runs[*at].phase)
        }
        Action::Chore(at, step) => {
            format!("{}: {} {step:?}", run(at), state.runs[*at].chore)
        }
        Action::Crash(at) => format!("{} is killed", run(at)),
        Action::Lands(at) => format!("a late request lands: {:?}", state.late[*at]),
        Action::Damage(layer) => format!("a bit of {layer} flips"),
        Action::Start => "a run starts".to_owned(),
        Action::Reset => "a run starts that resets the state".to_owned(),
        Action::Foreign => "another program makes a version of the table".to_owned(),
    }
}

fn last(state: &State) -> String {
    let world = &state.world;
    let records: Vec<u8> = world.table.rows.iter().map(|row| row.record).collect();
    format!(
        "     table: commit {} with records {records:?}; log: commit {} with records {:?}; manifests \
         end at {:?}; the source begins at {}; refusal: {:?}",
        world.table.txn,
        world.log.commit,
        world.log.records,
        world.decided,
        world.source_begin,
        state.refusal
    )
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Create(manifest) => write!(f, "create {manifest}"),
            Phase::ReadBack(manifest) => write!(f, "read back {manifest}"),
            Phase::ShowTable(showing) => write!(f, "read the table for {showing}"),
            Phase::PutVersion(showing) => write!(f, "put into the table {showing}"),
            Phase::ShowLog(showing) => write!(f, "append to the log {showing}"),
            Phase::WriteOffset(showing) => write!(f, "write the offset of {showing}"),
            Phase::PutCompaction(Version::Compaction(_, from, ..)) => {
                write!(f, "compact {} files", from.len())
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Chore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chore::Idle => Ok(()),
            Chore::PutLayer(snapshot) => {
                snapshot.layers.last().map_or(Ok(()), |layer| write!(f, "{layer}:"))
            }
            Chore::PutSnapshot(snapshot) => write!(f, "{}:", snapshot.name),
            Chore::Delete(snapshots, layers) => {
                let (snapshot, layer) = (snapshots.last(), layers.last());
                match (snapshot, layer) {
                    (Some(snapshot), _) => write!(f, "{}:", snapshot.name),
                    (None, Some(layer)) => write!(f, "{layer}:"),
                    (None, None) => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Showing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commit {} ({}..{})", self.n, self.changes.from, self.manifest.end)
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a manifest of run {} up to {}", self.generation, self.end)?;
        let mut named = self.named.iter().flatten();
        named.try_for_each(|name| write!(f, ", naming {name}"))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snap/{}-{}", self.generation, self.manifest)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layer { generation, manifest, from, to } = self;
        write!(f, "layer/{generation}-{manifest} ({from}..{to})")
    }
}
