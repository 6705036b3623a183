//! The oracles: batch programs that share no code with the library, one for each program.

mod choices;
mod pinterest;
mod visits;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;

use super::worlds::Kind;
use crate::support::lake::Tables;
use choices::Choices;

/// The state of all outputs at a commit.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    pub(crate) tables: Tables,
    /// The tables whose rows depend on where epochs end.
    pub(crate) choices: BTreeMap<String, Choices>,
    /// The number of late records, by the name of the step that has left them out.
    pub(crate) late: BTreeMap<String, u64>,
}

/// The oracle of a program.
pub(crate) enum Oracle {
    Pinterest(pinterest::Server),
    Visits(visits::Archive),
}

impl Oracle {
    /// Starts the oracle of the program that runs in worlds of this kind.
    pub(crate) fn start(kind: Kind) -> Self {
        match kind {
            Kind::Visits => Oracle::Visits(visits::Archive::default()),
            Kind::Archive | Kind::Kafka | Kind::Kinesis => {
                Oracle::Pinterest(pinterest::Server::start())
            }
        }
    }

    /// Notes a reset of the state. Answers are requested in the order of commits, because what was
    /// looked up by a commit stays.
    pub(crate) fn reset(&mut self) {
        match self {
            Oracle::Pinterest(_) => {}
            Oracle::Visits(records) => records.forget(),
        }
    }

    /// Returns the outputs of a version for the records of an archive up to the `ends` of its
    /// partitions, by topic and partition; null for all records.
    pub(crate) fn answer(&mut self, archive: &Path, ends: &Json, version: u8) -> Answer {
        match self {
            Oracle::Pinterest(server) => {
                Answer { tables: server.tables(archive, ends), ..Answer::default() }
            }
            Oracle::Visits(records) => records.answer(archive, ends, version),
        }
    }
}
