//! The end of a stream or a table: rows go to the worker's share of a sink, and at each commit
//! barrier its changes go to the runtime.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use timely::Container;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};
use timely::progress::operate::FrontierInterest;

use super::barriers::Barriers;
use super::share::{Share, SinkStart};
use super::versions::{SinkCuts, Versions};
use crate::connect::{FoundRows, Part, Recovering};
use crate::error::{Error, Result};
use crate::faults;
use crate::metrics::Meter;
use crate::operators::{Datum, Diffs, Keys, Map, Restored, Seeds, Upsert, Upserts};
use crate::row::{Put, Row, RowSum};
use crate::time::Epoch;

/// A report of a sink handle to the runtime.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The changes up to a barrier, the number of rows, and the sum of their digests.
    Staged { part: Option<Part>, rows: u64, digest: u64 },
    /// The recovery is over: the rows that were found in the sink, the number of rows that should
    /// be there, and the sum of their digests.
    Recovered { found: FoundRows, rows: u64, digest: u64 },
    /// The sink handle has failed and takes no more rows.
    Failed(Error),
}

/// The number of rows that were appended to a sink, and the sum of their digests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AppendedRows {
    pub(crate) rows: u64,
    pub(crate) digest: u64,
}

/// The connection of one worker's rows to a sink.
pub(crate) struct SinkHandle {
    pub(crate) recovering: Box<dyn Recovering>,
    pub(crate) start: SinkStart,
    pub(crate) barriers: Arc<Barriers>,
    /// The rows that were appended up to the snapshot from which the run continues. One of the
    /// workers has all of them.
    pub(crate) appended: AppendedRows,
    /// Sends a report to the runtime.
    pub(crate) report: Box<dyn Fn(Report)>,
}

/// An output without data: once its frontier is past an epoch, the writer of this worker has all
/// rows of that epoch.
pub(crate) type Written<'s> = StreamVec<'s, Epoch, ()>;

/// A row of a table: the columns of its key, then those of its value.
struct KeyValue<'a, K, V>(&'a K, &'a V);

impl<K: Row, V: Row> Row for KeyValue<'_, K, V> {
    fn columns() -> Vec<(crate::row::ColumnType, bool)> {
        [K::columns(), V::columns()].concat()
    }
    fn put(&self, out: &mut dyn Put) {
        self.0.put(out);
        self.1.put(out);
    }
}

/// The slots of the rows of a table, by key. The rows themselves are not kept.
struct Slots<K> {
    of: Map<K, u32>,
    free: Vec<u32>,
    next: u32,
    /// The sum of the digests of all rows.
    sum: u64,
    hasher: RowSum,
}

impl<K: Datum + Row> Slots<K> {
    fn get(&mut self, key: &K) -> Result<u32> {
        if let Some(slot) = self.of.get(key) {
            return Ok(*slot);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.next = self.next.checked_add(1).ok_or_else(|| {
                    Error::internal("a table of more than 4 billion rows a worker")
                })?;
                self.next - 1
            }
        };
        self.of.insert(key.clone(), slot);
        Ok(slot)
    }

    fn free(&mut self, key: &K) -> Option<u32> {
        let slot = self.of.remove(key)?;
        self.free.push(slot);
        Some(slot)
    }
}

/// Writes the current rows of a table of upserts: the number of a key is its slot.
///
/// A snapshot saves the versions of the rows in `cuts`, if there are any. Then the sink finds the
/// rows by their keys after a restart.
pub(crate) fn snapshot<'s, K: Datum + Row, V: Datum + Row>(
    rows: Upserts<'s, V>,
    keys: Keys<K>,
    name: &str,
    sink: SinkHandle,
    cuts: SinkCuts,
    meter: Meter,
) -> Written<'s> {
    let mut versions = Versions::new(cuts);
    let mut share = opened(sink.recovering, sink.start, &sink.report);
    let restored =
        versions.load(sink.start, |number| share.restore(number, keys.open().key(number)));
    if let Err(error) = restored {
        versions.fail(error);
    }
    let write =
        move |versions: &mut Versions, epoch: Epoch, upserts: &[Upsert<V>], share: &mut Share| {
            let keys = keys.open();
            for Upsert { number, digest, value } in upserts {
                let key = keys.key(*number);
                let row = value.as_ref().map(|value| KeyValue(key, value));
                let is_known =
                    versions.set(*number, *digest, row.as_ref().map(|row| row as &dyn Row));
                match row {
                    Some(row) => share.insert(*number, &row)?,
                    None if is_known => share.remove(*number),
                    None => {}
                }
            }
            drop(keys);
            versions.save(epoch);
            Ok(())
        };
    let ends = Ends { share, barriers: sink.barriers, report: sink.report, meter };
    run(rows, name, ends, versions, |part| &part[..], write, Versions::count)
}

/// Writes the current rows of a table of diffs. They are not exchanged: the diffs of a key all come
/// from one worker.
pub(crate) fn snapshot_diffs<'s, K: Datum + Row, V: Datum + Row>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    sink: SinkHandle,
    seeds: Seeds,
    meter: Meter,
) -> Written<'s> {
    let slots =
        Slots { of: seeds.map(), free: Vec::new(), next: 0, sum: 0, hasher: RowSum::default() };
    let write =
        |slots: &mut Slots<K>, _: Epoch, diffs: &[((K, V), Epoch, isize)], share: &mut Share| {
            for ((key, value), _, diff) in diffs {
                let row = KeyValue(key, value);
                let digest = slots.hasher.of(&row);
                if *diff > 0 {
                    slots.sum = slots.sum.wrapping_add(digest);
                    share.insert(slots.get(key)?, &row)?;
                    continue;
                }
                slots.sum = slots.sum.wrapping_sub(digest);
                let absent =
                    || Error::internal("a row was removed from a sink more often than added");
                let slot =
                    slots.free(key).filter(|_| !faults::bug("negative_rows")).ok_or_else(absent)?;
                share.remove(slot);
            }
            Ok(())
        };
    let share = opened(sink.recovering, sink.start, &sink.report);
    let ends = Ends { share, barriers: sink.barriers, report: sink.report, meter };
    run(rows.inner, name, ends, slots, Vec::as_slice, write, |slots: &Slots<K>| {
        (slots.of.len() as u64, slots.sum)
    })
}

/// The rows that were appended: their number, and the sum of their digests.
#[derive(Default)]
struct Appended {
    rows: u64,
    sum: u64,
    hasher: RowSum,
}

/// The rows of an epoch that are not written yet.
struct HeldEpoch<C> {
    /// Keeps the epoch open downstream until its rows are written.
    _capability: Capability<Epoch>,
    parts: Vec<C>,
}

/// Writes every row. Rows that are not restored after a restart are passed over in the sink.
pub(crate) fn append<'s, K: Datum + Row, V: Datum + Row>(
    rows: StreamVec<'s, Epoch, (K, V)>,
    name: &str,
    sink: SinkHandle,
    restored: Restored,
    meter: Meter,
) -> Written<'s> {
    let SinkHandle { recovering, start, barriers, appended, report } = sink;
    let mut share = opened(recovering, start, &report);
    let mut seen = Appended::default();
    if restored == Restored::Tail && appended.rows > 0 {
        (seen.rows, seen.sum) = (appended.rows, appended.digest);
        share.skip(appended.rows).unwrap_or_else(|error| report(Report::Failed(error)));
    }
    let write = |seen: &mut Appended, _: Epoch, rows: &[(K, V)], share: &mut Share| {
        for (key, value) in rows {
            let row = KeyValue(key, value);
            seen.rows += 1;
            seen.sum = seen.sum.wrapping_add(seen.hasher.of(&row));
            share.insert(0, &row)?;
        }
        Ok(())
    };
    let ends = Ends { share, barriers, report, meter };
    run(rows, name, ends, seen, Vec::as_slice, write, |seen| (seen.rows, seen.sum))
}

/// Opens the share of a sink. A failure is reported.
fn opened(recovering: Box<dyn Recovering>, start: SinkStart, report: &impl Fn(Report)) -> Share {
    match start {
        SinkStart::Recovery => Share::Recovering(recovering),
        SinkStart::WithoutRows => Share::without_rows(recovering).unwrap_or_else(|error| {
            report(Report::Failed(error));
            Share::Failed
        }),
    }
}

/// The share of a sink, its connection to the runtime, and the counters of the step.
struct Ends {
    share: Share,
    barriers: Arc<Barriers>,
    report: Box<dyn Fn(Report)>,
    meter: Meter,
}

/// The operator for all shapes. Rows are written in the order of their epochs. The changes up to a
/// barrier are staged before any row of a later epoch is written.
fn run<'s, C: Container + Clone + Default, D, S: 'static>(
    rows: Stream<'s, Epoch, C>,
    name: &str,
    ends: Ends,
    mut state: S,
    each: fn(&C) -> &[D],
    mut write: impl FnMut(&mut S, Epoch, &[D], &mut Share) -> Result<()> + 'static,
    count: impl Fn(&S) -> (u64, u64) + 'static,
) -> Written<'s>
where
    D: 'static,
{
    let Ends { mut share, barriers, report, meter } = ends;
    let mut builder = OperatorBuilder::new(name.to_string(), rows.scope());
    barriers.activate_when_due(
        rows.scope().worker().sync_activator_for(builder.operator_info().address.to_vec()),
    );
    let mut input = builder.new_input(rows, Pipeline);
    let (_, written) = builder.new_output();
    // An epoch without rows matters only at a barrier, and a barrier activates the operator.
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let mut held: BTreeMap<Epoch, HeldEpoch<C>> = BTreeMap::new();
    let (mut staged, mut failed) = (None, false);
    builder.build(move |capabilities| {
        // Epoch 0 stays open until the recovery is over.
        let mut recovery = capabilities;
        move |frontiers| {
            input.for_each(|time, data| {
                let first = || HeldEpoch { _capability: time.retain(0), parts: Vec::new() };
                let epoch = held.entry(*time.time()).or_insert_with(first);
                epoch.parts.push(std::mem::take(data));
            });
            let open = frontiers[0].frontier().first().copied();
            let mut advance = || -> Result<()> {
                loop {
                    let first = held.first_key_value().map(|(epoch, _)| *epoch);
                    let next = first.filter(|e| open.is_none_or(|open| *e <= open));
                    let before = next.or(open);
                    if before != Some(0)
                        && let Some(found) = share.finish()?
                    {
                        let (rows, digest) = count(&state);
                        report(Report::Recovered { found, rows, digest });
                        recovery.clear();
                    }
                    while let Some(epoch) = barriers.next(staged, next, first) {
                        let ((rows, digest), part) = (count(&state), share.stage()?);
                        staged = Some(epoch);
                        report(Report::Staged { part, rows, digest });
                    }
                    let Some((epoch, HeldEpoch { _capability, parts })) =
                        next.and_then(|epoch| held.remove_entry(&epoch))
                    else {
                        return Ok(());
                    };
                    for part in parts {
                        meter.count(each(&part).len(), 0);
                        write(&mut state, epoch, each(&part), &mut share)?;
                    }
                }
            };
            if failed {
                held.clear();
            } else if let Err(error) = advance() {
                failed = true;
                report(Report::Failed(error));
                held.clear();
                recovery.clear();
            }
        }
    });
    written
}
