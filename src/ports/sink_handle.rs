//! The end of a stream or a table: rows go to a [`Writer`], and at each commit what changed is
//! handed over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use timely::Container;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};
use timely::progress::operate::FrontierInterest;
use timely::scheduling::SyncActivator;

use crate::connect::{FoundRows, Part, Recovered, Recovering, Writer};
use crate::error::{Error, Result};
use crate::operators::{Column, Datum, Diffs, Keys, Map, Seeds, Upsert, Upserts};
use crate::row::{Put, Row, RowSum};
use crate::time::Epoch;

/// The epochs after which a commit is made. A mark is set before its epoch is closed, so every
/// outlet sees it in time.
#[derive(Default)]
pub(crate) struct Marks(Mutex<State>);

#[derive(Default)]
struct State {
    marks: BTreeSet<Epoch>,
    /// Every answer up to here is known.
    through: Epoch,
    wake: Vec<SyncActivator>,
}

impl Marks {
    pub(crate) fn set(&self, epoch: Epoch) {
        self.lock().marks.insert(epoch);
    }

    /// Tells outlets that all before `epoch` is done with, so that what they do now keeps no answer
    /// waiting.
    pub(crate) fn through(&self, epoch: Epoch) {
        let mut state = self.lock();
        let due = state.marks.range(state.through..epoch).next().is_some();
        state.through = epoch;
        for activator in state.wake.iter().filter(|_| due) {
            // A worker that is gone needs no waking.
            let _ = activator.activate();
        }
    }

    /// The first mark after `last` that is due. It must be before the rows that come `next`;
    /// without any it waits until its epoch is through, and is before all rows that are `held`.
    fn next(&self, last: Option<Epoch>, next: Option<Epoch>, held: Option<Epoch>) -> Option<Epoch> {
        let state = self.lock();
        let before =
            next.unwrap_or_else(|| held.map_or(state.through, |held| state.through.min(held)));
        let from = last.map_or(0, |last| last + 1);
        state.marks.range(from..).next().copied().filter(|mark| *mark < before)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an outlet has to say to the runtime.
pub(crate) enum Report {
    /// Everything up to the epoch is handed over: what changed, how many rows there are, the sum of
    /// their digests.
    Staged { part: Option<Part>, rows: u64, digest: u64 },
    /// The recovery is over: how many rows were found again, how many there should be, and their
    /// digest.
    Recovered { found: FoundRows, rows: u64, digest: u64 },
    /// It can't go on.
    Failed(Error),
}

/// What an outlet needs of the run it is part of.
pub(crate) struct Outlet {
    pub(crate) recovering: Box<dyn Recovering>,
    pub(crate) marks: Arc<Marks>,
    pub(crate) tell: Box<dyn Fn(Report)>,
}

/// The worker's share of the sink.
enum Share {
    Recovering(Box<dyn Recovering>),
    Writing(Box<dyn Writer>),
    /// The recovery has failed.
    Failed,
}

impl Share {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        match self {
            Share::Recovering(recovering) => recovering.insert(slot, row),
            Share::Writing(writer) => writer.insert(slot, row),
            Share::Failed => Err(failed()),
        }
    }

    fn remove(&mut self, slot: u32) {
        match self {
            Share::Recovering(recovering) => recovering.remove(slot),
            Share::Writing(writer) => writer.remove(slot),
            Share::Failed => {}
        }
    }

    /// Ends the recovery, if it is not over yet: from here on rows are written.
    fn finish(&mut self) -> Result<Option<FoundRows>> {
        match std::mem::replace(self, Share::Failed) {
            Share::Recovering(recovering) => {
                let Recovered { writer, found } = recovering.finish()?;
                *self = Share::Writing(writer);
                Ok(Some(found))
            }
            share => {
                *self = share;
                Ok(None)
            }
        }
    }

    fn stage(&mut self) -> Result<Option<Part>> {
        match self {
            Share::Writing(writer) => writer.stage(),
            Share::Recovering(_) | Share::Failed => Err(failed()),
        }
    }
}

fn failed() -> Error {
    Error::internal("can't write to a sink before its rows were found again")
}

/// An output on which nothing comes: once its frontier is past an epoch, the writer of this worker
/// has that epoch's rows.
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

/// The rows that stand, as an outlet keeps them: a key's slot, never the row.
struct Slots<K> {
    of: Map<K, u32>,
    free: Vec<u32>,
    next: u32,
    /// Of the digests of the rows, each of which comes back when it goes.
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

/// By number 16 bits of the digest of its row, 0 without one: a program that makes other rows makes
/// many, and each key pays for what is kept. How many rows there are, the sum of these bits, and
/// what makes them.
type Stands = (Column<u16>, u64, u64, RowSum);

/// Writes a table of upserts as the rows that stand: the number of a key is its slot.
pub(crate) fn snapshot<'s, K: Datum + Row, V: Datum + Row>(
    rows: Upserts<'s, V>,
    keys: Keys<K>,
    name: &str,
    outlet: Outlet,
) -> Written<'s> {
    let stands: Stands = (Column::new(), 0, 0, RowSum::default());
    let write = move |(stands, rows, sum, hasher): &mut Stands,
                      (number, value): &Upsert<V>,
                      share: &mut Share| {
        let keys = keys.open();
        let key = keys.key(*number);
        let row = value.as_ref().map(|value| KeyValue(key, value));
        let now = row.as_ref().map_or(0, |row| (hasher.of(row) as u16).max(1));
        let before = std::mem::replace(stands.at(*number), now);
        *rows = *rows + u64::from(now > 0) - u64::from(before > 0);
        *sum = sum.wrapping_add(u64::from(now)).wrapping_sub(u64::from(before));
        match row {
            Some(row) => share.insert(*number, &row),
            None if before > 0 => {
                share.remove(*number);
                Ok(())
            }
            None => Ok(()),
        }
    };
    run(rows, name, outlet, stands, |part| &part[..], write, |(_, rows, sum, _)| (*rows, *sum))
}

/// Writes a table of diffs as the rows that stand. They stay where they are: a key's diffs all come
/// from one worker.
pub(crate) fn snapshot_diffs<'s, K: Datum + Row, V: Datum + Row>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    outlet: Outlet,
    seeds: Seeds,
) -> Written<'s> {
    let slots =
        Slots { of: seeds.map(), free: Vec::new(), next: 0, sum: 0, hasher: RowSum::default() };
    let write = |slots: &mut Slots<K>,
                 ((key, value), _, diff): &((K, V), Epoch, isize),
                 share: &mut Share| {
        let row = KeyValue(key, value);
        let digest = slots.hasher.of(&row);
        if *diff > 0 {
            slots.sum = slots.sum.wrapping_add(digest);
            return share.insert(slots.get(key)?, &row);
        }
        slots.sum = slots.sum.wrapping_sub(digest);
        if let Some(slot) = slots.free(key) {
            share.remove(slot);
        }
        Ok(())
    };
    run(rows.inner, name, outlet, slots, Vec::as_slice, write, |slots: &Slots<K>| {
        (slots.of.len() as u64, slots.sum)
    })
}

/// Writes every row that comes.
pub(crate) fn append<'s, K: Datum + Row, V: Datum + Row>(
    rows: StreamVec<'s, Epoch, (K, V)>,
    name: &str,
    outlet: Outlet,
) -> Written<'s> {
    let write = |seen: &mut (u64, u64, RowSum), row: &(K, V), share: &mut Share| {
        seen.0 += 1;
        seen.1 = seen.1.wrapping_add(seen.2.of(&KeyValue(&row.0, &row.1)));
        share.insert(0, &KeyValue(&row.0, &row.1))
    };
    run(rows, name, outlet, (0, 0, RowSum::default()), Vec::as_slice, write, |seen| {
        (seen.0, seen.1)
    })
}

/// The operator of all: rows in the order of their epochs, a mark's epoch handed over before any
/// row of a later one.
fn run<'s, C: Container + Clone + Default, D, S: 'static>(
    rows: Stream<'s, Epoch, C>,
    name: &str,
    outlet: Outlet,
    mut state: S,
    each: fn(&C) -> &[D],
    write: impl Fn(&mut S, &D, &mut Share) -> Result<()> + 'static,
    count: impl Fn(&S) -> (u64, u64) + 'static,
) -> Written<'s>
where
    D: 'static,
{
    let Outlet { recovering, marks, tell } = outlet;
    let mut share = Share::Recovering(recovering);
    let mut builder = OperatorBuilder::new(name.to_string(), rows.scope());
    marks
        .lock()
        .wake
        .push(rows.scope().worker().sync_activator_for(builder.operator_info().address.to_vec()));
    let mut input = builder.new_input(rows, Pipeline);
    let (_, written) = builder.new_output();
    // Of an epoch without rows it needs to hear only when it is marked, and then it is woken.
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let mut held: BTreeMap<Epoch, (Capability<Epoch>, Vec<C>)> = BTreeMap::new();
    let (mut staged, mut failed) = (None, false);
    builder.build(move |capabilities| {
        // Epoch 0 stays open until the recovery is over.
        let mut recovery = capabilities;
        move |frontiers| {
            input.for_each(|time, data| {
                let (_, parts) =
                    held.entry(*time.time()).or_insert_with(|| (time.retain(0), Vec::new()));
                parts.push(std::mem::take(data));
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
                        tell(Report::Recovered { found, rows, digest });
                        recovery.clear();
                    }
                    while let Some(epoch) = marks.next(staged, next, first) {
                        let ((rows, digest), part) = (count(&state), share.stage()?);
                        staged = Some(epoch);
                        tell(Report::Staged { part, rows, digest });
                    }
                    let Some((_capability, parts)) = next.and_then(|epoch| held.remove(&epoch))
                    else {
                        return Ok(());
                    };
                    for part in parts {
                        each(&part)
                            .iter()
                            .try_for_each(|datum| write(&mut state, datum, &mut share))?;
                    }
                }
            };
            if failed {
                held.clear();
            } else if let Err(error) = advance() {
                failed = true;
                tell(Report::Failed(error));
                held.clear();
                recovery.clear();
            }
        }
    });
    written
}
