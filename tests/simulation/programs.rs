//! The topologies of the worlds.

use watershed::options::Produced;
use watershed::{DEAD_LETTERS, StreamsBuilder, Topology};

use crate::support::{pair, stream, table};

/// The topology of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A table, a group, an appended stream and a maintained join.
    Tables,
    /// Joins of two tables, and aggregates behind them.
    Joins,
    /// The changes of a table, which depend on where epochs end.
    Changes,
}

impl Program {
    pub(super) fn sources(self) -> &'static [&'static str] {
        match self {
            Program::Tables | Program::Changes => &["left", "events"],
            Program::Joins => &["left", "right", "events"],
        }
    }

    pub(super) fn sinks(self) -> &'static [&'static str] {
        match self {
            Program::Tables => &["kept", "counts", "all", "sums", DEAD_LETTERS],
            Program::Joins => &["joined", "optional", "greatest", "median", "latest", DEAD_LETTERS],
            Program::Changes => &["all", "counts", "kept", "sums", DEAD_LETTERS],
        }
    }

    pub(super) fn topology(self) -> Topology {
        match self {
            Program::Tables => Topology::new("tables", tables),
            Program::Joins => Topology::new("joins", joins),
            Program::Changes => Topology::new("changes", changes),
        }
    }
}

fn tables(builder: &StreamsBuilder<'_>) {
    let (left, events) = (table(builder, "left"), stream(builder, "events"));
    left.to("kept", pair());
    left.group_by(|_, v| (v % 3, *v)).count().to("counts", pair());
    events.to("all", pair());
    events.join(&left, |e, l| e * 100 + l).group_by_key().sum(|v| *v).to("sums", pair());
}

fn joins(builder: &StreamsBuilder<'_>) {
    let (left, right) = (table(builder, "left"), table(builder, "right"));
    let joined = left.join(&right, |l, r| l * 100 + r);
    joined.to("joined", pair());
    left.left_join(&right, |l, r| l * 100 + r.copied().unwrap_or(50)).to("optional", pair());
    joined.group_by(|_, v| (v % 3, *v)).max().to("greatest", pair());
    left.group_by(|_, v| (v % 2, *v)).median().to("median", pair());
    stream(builder, "events").to_table().to("latest", pair());
}

fn changes(builder: &StreamsBuilder<'_>) {
    let changes = table(builder, "left").to_stream().map_values(|v| v.unwrap_or(-1));
    changes.to("all", Produced::columns(["key", "value"]));
    changes.group_by_key().count().to("counts", pair());
    changes.to_table().to("kept", pair());
    changes.merge(&stream(builder, "events")).group_by_key().sum(|v| *v).to("sums", pair());
}
