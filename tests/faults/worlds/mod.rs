//! The logs that a program follows: an archive that grows ([`archive`]), also one of event time
//! ([`visits`]), topics of a Kafka broker ([`kafka`]), and streams of a Kinesis server
//! ([`kinesis`]).

mod archive;
#[cfg(any(feature = "kafka", feature = "kinesis"))]
mod held;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kinesis")]
mod kinesis;
#[cfg_attr(
    not(any(feature = "kafka", feature = "kinesis")),
    allow(dead_code, reason = "an archive needs only its objects")
)]
mod portions;
#[cfg(feature = "kafka")]
mod transactions;
mod visits;

pub(crate) use visits::generate as generate_visits;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::Value as Json;

use crate::support::proxy::Proxy;

/// The kind of a log, and the program that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Archive,
    /// An archive of records with times, and a program of windows, sessions and joins.
    Visits,
    Kafka,
    Kinesis,
}

/// All kinds.
pub(crate) const KINDS: [Kind; 4] = [Kind::Archive, Kind::Visits, Kind::Kafka, Kind::Kinesis];

/// The topics of `pinterest`, without the name of their user.
const TOPICS: [&str; 3] = ["pin", "geo", "user"];

/// A change of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Retention deletes records that the last snapshot covers.
    Retention,
    AddPartition,
    SplitShard,
    MergeShards,
}

/// The time of a change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Occasion {
    BetweenLives,
    /// After the first commit of a life.
    InLife,
    /// While a run is paused, after the one that took over has made some commits.
    InPause,
}

/// All occasions.
pub(crate) const OCCASIONS: [Occasion; 3] =
    [Occasion::BetweenLives, Occasion::InLife, Occasion::InPause];

/// Conditions that versions of a program, and logs of a service, bring about, as the report counts
/// them.
pub(crate) const ADOPTED: &str = "states adopted by another version";
pub(crate) const REDELIVERED: &str = "records redelivered";
pub(crate) const COMMITTED: &str = "transactions committed";
pub(crate) const ABORTED: &str = "transactions aborted";
pub(crate) const MORE_PARTITIONS: &str = "lives with more partitions than workers";

impl Kind {
    /// Returns the name of the service that must run; none for an archive.
    pub(crate) fn service(self) -> Option<&'static str> {
        match self {
            Kind::Archive | Kind::Visits => None,
            Kind::Kafka => Some("kafka"),
            Kind::Kinesis => Some("kinesis"),
        }
    }

    /// Returns the name of the program that follows it.
    pub(crate) fn program(self) -> &'static str {
        if self == Kind::Visits { "visits" } else { "pinterest" }
    }

    /// Returns the changes that its logs can make.
    pub(crate) fn changes(self) -> &'static [Change] {
        match self {
            Kind::Archive | Kind::Visits => &[],
            Kind::Kafka => &[Change::Retention, Change::AddPartition],
            Kind::Kinesis => &[Change::SplitShard, Change::MergeShards],
        }
    }

    /// Returns the conditions that a long campaign must have met.
    pub(crate) fn conditions(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Kind::Archive => &[],
            Kind::Visits => &[ADOPTED],
            Kind::Kafka => &[REDELIVERED, COMMITTED, ABORTED, MORE_PARTITIONS],
            Kind::Kinesis => &[REDELIVERED, MORE_PARTITIONS],
        };
        let changes = self.changes().iter();
        let changes = changes.flat_map(|change| OCCASIONS.map(|occasion| change.name(occasion)));
        own.iter().copied().chain(changes).collect()
    }

    /// Returns true if its logs can be used on this machine. Starts the service if it does not run.
    pub(crate) fn is_ready(self) -> bool {
        match self {
            Kind::Archive | Kind::Visits => true,
            #[cfg(feature = "kafka")]
            Kind::Kafka => crate::support::broker::cluster().is_some(),
            #[cfg(feature = "kinesis")]
            Kind::Kinesis => crate::support::shards::server().is_some(),
            #[cfg(not(all(feature = "kafka", feature = "kinesis")))]
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Archive => "archive",
            Kind::Visits => "visits",
            Kind::Kafka => "kafka",
            Kind::Kinesis => "kinesis",
        })
    }
}

impl Change {
    /// Returns its name in the report.
    pub(crate) fn name(&self, occasion: Occasion) -> &'static str {
        let [between, in_life, in_pause] = match self {
            Change::Retention => [
                "retention deletes beginnings between lives",
                "retention deletes beginnings in a life",
                "retention deletes beginnings in a pause",
            ],
            Change::AddPartition => [
                "a partition is added between lives",
                "a partition is added in a life",
                "a partition is added in a pause",
            ],
            Change::SplitShard => [
                "a shard is split between lives",
                "a shard is split in a life",
                "a shard is split in a pause",
            ],
            Change::MergeShards => [
                "shards are merged between lives",
                "shards are merged in a life",
                "shards are merged in a pause",
            ],
        };
        match occasion {
            Occasion::BetweenLives => between,
            Occasion::InLife => in_life,
            Occasion::InPause => in_pause,
        }
    }
}

/// The arguments and the environment by which the program reads a log.
pub(crate) struct Address {
    pub(crate) args: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// Counts by the names of conditions.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// A log that grows while the program follows it.
pub(crate) trait Log {
    /// Returns its address, behind a proxy if there is one.
    fn address(&self, proxy: Option<&Proxy>) -> Address;

    /// Returns a proxy in front of the service; none if there is no service.
    fn proxy(&self) -> Option<Proxy> {
        None
    }

    /// Returns the archive that holds every record at its position, for the oracle.
    fn held(&self) -> &Path;

    /// Returns the number of portions that are left.
    fn left(&self) -> usize;

    /// Adds the next portion of records.
    fn feed(&mut self);

    /// Returns the largest number of partitions that a topic has.
    fn partitions(&self) -> usize;

    /// Makes a change that the program of `lake` must survive. Returns false if it is impossible
    /// now.
    fn change(&mut self, _change: Change, _lake: &Path) -> bool {
        false
    }

    /// Returns the position of the first record of a partition.
    fn first(&self, _partition: u32) -> u64 {
        0
    }

    /// Returns the differences between the records that were added and the positions that a
    /// manifest records for `topic`.
    fn misplaced(&self, _topic: &str, _source: &Json) -> Vec<String> {
        Vec::new()
    }

    /// Returns the counts of conditions so far.
    fn tally(&self) -> Tally {
        Tally::new()
    }
}

/// Returns the log of a world: it adds the records of the archive `all`, in an order that depends
/// on the seed. The folder of the world has room for its files.
pub(crate) fn log(kind: Kind, folder: &Path, seed: u64) -> Box<dyn Log> {
    let all = folder.join("all");
    match kind {
        Kind::Archive | Kind::Visits => {
            Box::new(archive::ArchiveLog::new(&all, &folder.join("archive"), seed))
        }
        #[cfg(feature = "kafka")]
        Kind::Kafka => Box::new(kafka::KafkaLog::new(&all, &folder.join("held"), seed)),
        #[cfg(feature = "kinesis")]
        Kind::Kinesis => Box::new(kinesis::KinesisLog::new(&all, &folder.join("held"), seed)),
        #[cfg(not(all(feature = "kafka", feature = "kinesis")))]
        _ => panic!("the client of {kind} is not built in"),
    }
}
