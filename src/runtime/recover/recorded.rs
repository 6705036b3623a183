//! The comparisons of sources, sinks, records and rows with the last manifest.

use std::slice;

use super::super::topics::Topic;
use super::restore::Restored;
use crate::connect::{Identity, Sink};
use crate::durable::{Bound, Manifest, ROW_DIGESTS, SinkState};
use crate::error::{Advice, Error, Result};

/// Refuses a sink that is not the recorded one.
pub(in super::super) fn check_sink(
    topic: &str,
    recorded: Option<&SinkState>,
    sink: &dyn Sink,
    identity: &Identity,
) -> Result<()> {
    let Some(state) = recorded.filter(|state| !state.identity.matches(identity)) else {
        return Ok(());
    };
    let was = labelled(&state.sink, slice::from_ref(&state.identity));
    let is = labelled(&sink.describe(), slice::from_ref(identity));
    Err(Error::data(format!("{topic} was written to {was}, not to {is}"))
        .hint("Bind the sink that it was written to, or begin anew.")
        .advise(Advice::BeginAnew))
}

/// Refuses sources of a topic that are not the recorded ones in the recorded order; more may
/// follow. Restores the state of each source: that of the snapshot, at whose offsets it is opened.
pub(in super::super) fn check_sources(
    topic: &Topic,
    recorded: Option<&Manifest>,
    restored: Option<&Restored>,
) -> Result<()> {
    let states = recorded.and_then(|recorded| recorded.sources.get(&topic.name));
    for (number, state) in states.into_iter().flatten().enumerate() {
        let identities = topic.identities.get(number).map_or(&[][..], Vec::as_slice);
        let is_bound = |was: &Identity| identities.iter().any(|is| is.matches(was));
        let source = topic.sources.get(number);
        match source {
            Some(source)
                if !state.identities.is_empty() && state.identities.iter().all(is_bound) =>
            {
                let saved = restored.and_then(|it| it.source(&topic.name, number));
                source.restore(&saved.unwrap_or(state).memory)?;
            }
            _ => {
                let now = source.map_or_else(|| "nothing".into(), |source| source.describe());
                let (was, is) =
                    (labelled(&state.source, &state.identities), labelled(&now, identities));
                let message = format!("{} was read from {was}, not from {is}", topic.name);
                return Err(Error::data(message)
                    .hint(
                        "Bind the same sources in the same order (more may follow), or begin anew.",
                    )
                    .advise(Advice::BeginAnew));
            }
        }
    }
    Ok(())
}

/// Refuses a partition whose records, from the first to the last recorded one, have changed.
pub(super) fn check_records(
    recorded: Option<&Bound>,
    now: &Bound,
    name: impl Fn() -> String,
) -> Result<()> {
    if recorded.is_none_or(|recorded| recorded.same_records(now)) {
        return Ok(());
    }
    let (name, from, to) = (name(), now.from, now.to);
    Err(Error::data(format!("records {from}..{to} of {name} are not those that were read before"))
        .hint("Restore them, or begin anew; records that Kafka has compacted can't be restored.")
        .advise(Advice::BeginAnew))
}

/// Refuses a topology that makes different rows of the recorded records. The digests of an earlier
/// version are not compared, unless the run `adopts` the state: then they are the proof that no
/// closure has changed.
pub(super) fn check_rows(
    topic: &str,
    recorded: Option<&SinkState>,
    rows: u64,
    digest: u64,
    adopts: bool,
) -> Result<()> {
    match recorded {
        Some(state) if adopts && state.rule != ROW_DIGESTS => {
            let message = format!("an earlier version has recorded the rows of {topic}");
            Err(Error::data(format!("can't adopt the state: {message}"))
                .hint("Run the same topology once with this version, and then the other one.")
                .advise(Advice::OtherPlaces))
        }
        Some(state)
            if state.rows != rows || (state.rule == ROW_DIGESTS && state.digest != digest) =>
        {
            let before = state.rows;
            let changed = format!("the same records make different rows of {topic} than before");
            Err(Error::data(format!("{changed}: {rows} now, {before} then"))
                .hint("Run the version of the program that made the rows, or begin anew.")
                .advise(Advice::BeginAnew))
        }
        _ => Ok(()),
    }
}

/// Describes a source or a sink together with its ids.
fn labelled(description: &str, identities: &[Identity]) -> String {
    let ids: Vec<&str> = identities.iter().filter_map(Identity::id).collect();
    if ids.is_empty() {
        description.to_string()
    } else {
        format!("{description} ({})", ids.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_an_earlier_version_prove_nothing() {
        let identity = Identity::new("table");
        let (sink, content) = (String::new(), None);
        let recorded = |rule| SinkState {
            sink: sink.clone(),
            identity: identity.clone(),
            rows: 7,
            digest: 1,
            rule,
            content: content.clone(),
        };
        let check = |rule, rows, digest, adopts| {
            check_rows("rows", Some(&recorded(rule)), rows, digest, adopts).is_ok()
        };
        assert!(check(ROW_DIGESTS, 7, 1, false) && check(ROW_DIGESTS, 7, 1, true));
        assert!(!check(ROW_DIGESTS, 7, 2, false) && !check(ROW_DIGESTS, 8, 1, true));
        assert!(check(0, 7, 2, false) && !check(0, 8, 2, false) && !check(0, 7, 1, true));
    }
}
