//! The properties of a process that must be the same in all processes of a run.

use super::config::Config;
use super::network::Installed;
use super::streams::Streams;
use crate::topology::Topology;

/// Returns the properties of a process with these bindings and settings.
pub(super) fn installed(streams: &Streams, config: &Config) -> Installed {
    let plan = Topology::fingerprint(&streams.topology.plan());
    let sinks: Vec<_> = streams.sinks.iter().map(|(topic, it)| (topic, it.needs_rows())).collect();
    let (name, state, mode) = (streams.topology.name(), config.state.is_some(), config.mode);
    Installed {
        workers: config.workers.max(1),
        fingerprint: format!("{name}: {plan}, {sinks:?}, {state}, {mode:?}"),
    }
}
