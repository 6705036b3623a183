//! Verbs that combine records: merges, groups, tables, joins with a table.

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

use differential_dataflow::AsCollection;

use super::{Event, KStream, Shared, Updates};
use crate::grouped::{KGrouped, Records};
use crate::metrics::TopicCounters;
use crate::operators::{
    Arrived, ByKey, Datum, Diffs, Extreme, Placement, Restored, arrange, consolidated, fold, group,
    keep_diffs, latest, to_owners,
};
use crate::record::{Order, Ordinal};
use crate::table::KTable;
use crate::time::{Epoch, Timestamp};

/// A record of the stream in the state of a join.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Left<V> {
    value: V,
    order: Order,
    ordinal: Ordinal,
    timestamp: Option<Timestamp>,
    #[serde(with = "crate::time::or_least")]
    partition_time: Timestamp,
}

impl<V> Left<V> {
    /// Returns the record with another value.
    fn with<W>(&self, value: W) -> Left<W> {
        let (order, ordinal) = (self.order, self.ordinal.clone());
        let (timestamp, partition_time) = (self.timestamp, self.partition_time);
        Left { value, order, ordinal, timestamp, partition_time }
    }
}

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Returns the records of both streams. As in Kafka, they have no order between them.
    ///
    /// In a table of them, a record of the topic that the topology names later is the later one,
    /// whichever arrived first. If one record reaches both streams, its result in `other` is later.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let old = builder.stream("old", Consumed::with(Int64, Int64));
    /// let new = builder.stream("new", Consumed::with(Int64, Int64));
    /// old.merge(&new).to_table().to("latest", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (old, new) = (driver.input("old", Int64, Int64), driver.input("new", Int64, Int64));
    /// new.pipe(&mut driver, &1, &20);
    /// [(1, 10), (2, 10)].map(|(id, n)| old.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("latest"), [[Long(1), Long(20)], [Long(2), Long(10)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn merge(&self, other: &Self) -> Self {
        use timely::dataflow::operators::Concat;
        let node = self.graph.node("merge", &[self.node, other.node]);
        let restored = self.restored.max(other.restored);
        let side = |stream: &Self, number| {
            // All records of both sides flow again after a restart, or those of neither.
            let events = if stream.restored < restored {
                stream.kept_events(node, number)
            } else {
                stream.events.clone()
            };
            let logic = move |e: Event<K, V>, out: &mut Vec<_>| {
                out.push(Event { ordinal: e.ordinal.after(number), ..e });
            };
            stream.counted(events, "merge", node, Box::new(logic))
        };
        let events = side(self, 0).concat(side(other, 1));
        let updates = self.updates.max(other.updates);
        KStream::new(self.graph.clone(), node, events, updates, restored)
    }

    /// Groups records. Unlike Kafka's, `f` returns group and value at once, or `None` for no group.
    /// A duplicate counts again.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by(|id, n| (n % 2, *id)).count()
    ///     .to("count", Produced::columns(["parity", "count"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (1, 7), (2, 8)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("count"), [[Long(0), Long(1)], [Long(1), Long(2)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn group_by<G: Datum, X: Datum, P: Into<Option<(G, X)>>>(
        &self,
        f: impl Fn(&K, &V) -> P + 'static,
    ) -> KGrouped<'s, G, X> {
        let node = self.graph.node("group_by", &[self.node]);
        self.grouped(node, move |key, value| f(&key, &value).into())
    }

    /// Groups records by their key. Unlike in Kafka, the records of the key `None` (null) are a
    /// group too. A duplicate counts again.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().sum(|n| *n).to("sum", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (1, 7), (2, 8)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("sum"), [[Long(1), Long(14)], [Long(2), Long(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn group_by_key(&self) -> KGrouped<'s, K, V> {
        let node = self.graph.node("group_by_key", &[self.node]);
        self.grouped(node, |key, value| Some((key, value)))
    }

    /// Groups records by the results of `f`; `None` is no group.
    fn grouped<G: Datum, X: Datum>(
        &self,
        node: usize,
        f: impl Fn(K, V) -> Option<(G, X)> + 'static,
    ) -> KGrouped<'s, G, X> {
        let f = Shared::new(f);
        let (stream, regroup) = (self.clone(), f.clone());
        let diffs = move || {
            let regroup = regroup.clone();
            let one = move |e: Event<K, V>| {
                regroup(e.key, e.value).map(|pair| (pair, isize::from(e.diff)))
            };
            let (seeds, meter) = (stream.graph.seeds(), stream.graph.meter(node));
            let grouped = group(stream.events.clone(), one, seeds, meter);
            stream.kept_diffs(grouped.inner, node, "values").as_collection()
        };
        let events = self.events.clone();
        let timed = move || {
            let f = f.clone();
            events.clone().flat_map(move |event| {
                let timed = event.timed();
                f(event.key, event.value).map(|(group, value)| (group, timed.map(|()| value)))
            })
        };
        let (diffs, timed) = (Shared::new(diffs), Shared::new(timed));
        let records = Records { diffs, timed, updates: self.updates, restored: self.restored };
        KGrouped::of_records(self.graph.clone(), node, records)
    }

    /// Returns diffs that are made of this stream, behind a cut unless the stream is restored.
    pub(super) fn kept_diffs<D: Datum>(
        &self,
        diffs: StreamVec<'s, Epoch, (D, Epoch, isize)>,
        node: usize,
        purpose: &str,
    ) -> StreamVec<'s, Epoch, (D, Epoch, isize)> {
        if self.restored == Restored::All {
            return diffs;
        }
        match self.graph.diffs_cut::<D>(self.node, node, purpose) {
            Some(cut) => keep_diffs(diffs, purpose, cut),
            None => diffs,
        }
    }

    /// Returns the records behind a cut. `side` is their side of the step.
    pub(super) fn kept_events(&self, node: usize, side: u64) -> StreamVec<'s, Epoch, Event<K, V>> {
        let diffs = timed(&self.events, |event, epoch| {
            let diff = isize::from(event.diff);
            Some((Event { diff: 1, ..event }, epoch, diff))
        });
        let kept = self.kept_diffs(diffs.inner, node, &format!("side {side}"));
        kept.flat_map(|(event, _, diff)| {
            let one = Event { diff: diff.signum() as i8, ..event };
            std::iter::repeat_n(one, diff.unsigned_abs())
        })
    }

    /// Keeps the latest record of each key, by position. Unlike in Kafka, an older record that
    /// arrives later changes nothing.
    ///
    /// The value `None` is a row, where Kafka's deletes one. When a join retracts the latest
    /// record, the one before it is current again.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// builder.stream::<i64, i64>("numbers", Consumed::with(Json, Json)).to_table()
    ///     .to("latest", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// // In partition 0, offset 5 is later than offset 4.
    /// driver.pipe_at("numbers", 0, 5, Some(b"1"), Some(b"70"));
    /// driver.pipe_at("numbers", 0, 4, Some(b"1"), Some(b"60"));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("latest"), [[Long(1), Long(70)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to_table(&self) -> KTable<'s, K, V> {
        let node = self.graph.node("to_table", &[self.node]);
        if self.updates == Updates::Retracting {
            let diffs = timed(&self.events, |e, t| {
                Some(((e.key, (e.order, e.ordinal, e.value)), t, isize::from(e.diff)))
            });
            let diffs = self.kept_diffs(diffs.inner, node, "records").as_collection();
            let fresh = Box::new(Extreme::greatest);
            let (owners, meter) = (self.graph.owners(), self.graph.meter(node));
            let last =
                fold(diffs, "to_table", fresh, |key, (.., value)| (key, value), &owners, meter);
            return KTable::from_diffs(self.graph.clone(), node, last, Placement::Owner);
        }
        let secret = self.graph.seeds().secret();
        let arrived = self.events.clone().map(move |e| {
            let digest = secret.digest(&e.value).half();
            let (order, ordinal) = (e.order, e.ordinal);
            Arrived { key: e.key, order, ordinal, digest, value: Some(e.value) }
        });
        // A stream that is restored makes all versions again.
        let cut = match self.restored {
            Restored::Tail => self.graph.table_cut::<K, Order>(node, "versions"),
            Restored::All => None,
        };
        let rows = latest(
            arrived,
            self.graph.keys(),
            "to_table",
            std::sync::Arc::<TopicCounters>::default(),
            // A stream has no tombstones: nothing is ever deleted.
            None,
            cut.clone(),
            self.graph.meter(node),
        );
        let table = KTable::from_upserts(self.graph.clone(), node, rows, self.restored, cut);
        let events = self.events.clone();
        table.with_records(move || events.clone().map(Event::some))
    }

    /// Joins each record with the table's row of its key. Unlike Kafka's, the result is maintained:
    /// a row that is added, changed or deleted later changes the results of all records of its key.
    ///
    /// So it keeps every record of the stream. A record that arrives late is joined with the
    /// current row.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let pins = builder.stream("pins", Consumed::with(Int64, Int64));
    /// let users = builder.table("users", Consumed::with(Int64, Int64));
    /// pins.join(&users, |n, age| n * 100 + age).to_table()
    ///     .to("latest", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let pins = driver.input("pins", Int64, Int64);
    /// # let users = driver.input("users", Int64, Int64);
    /// pins.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// assert!(driver.rows("latest").is_empty());
    /// users.pipe(&mut driver, &1, &30); // the row comes after the record
    /// driver.commit()?;
    /// assert_eq!(driver.rows("latest"), [[Long(1), Long(730)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join<W: Datum, O: Datum>(
        &self,
        table: &KTable<'s, K, W>,
        f: impl Fn(&V, &W) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let node = self.graph.node("join", &[self.node, table.node]);
        let lefts = arrange(self.lefts("join", node), "join");
        let joined = lefts.join_core(self.rows("join", node, table), move |key, left, w| {
            Some((key.clone(), left.with(f(&left.value, w))))
        });
        self.joined("join", node, joined)
    }

    /// Joins like [`join`](Self::join), but a record without a row is joined with `None`. Unlike in
    /// Kafka, this lasts only while there is no row, and applies again after a tombstone has
    /// deleted it.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let pins = builder.stream("pins", Consumed::with(Int64, Int64));
    /// let users = builder.table("users", Consumed::with(Int64, Int64));
    /// pins.left_join(&users, |n, age| n * 100 + age.unwrap_or(&0)).to_table()
    ///     .to("latest", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let pins = driver.input("pins", Int64, Int64);
    /// # let users = driver.input("users", Int64, Int64);
    /// pins.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("latest"), [[Long(1), Long(700)]]);
    /// users.pipe(&mut driver, &1, &30); // the row comes after the record
    /// driver.commit()?;
    /// assert_eq!(driver.rows("latest"), [[Long(1), Long(730)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn left_join<W: Datum, O: Datum>(
        &self,
        table: &KTable<'s, K, W>,
        f: impl Fn(&V, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let node = self.graph.node("left_join", &[self.node, table.node]);
        let (lefts, rows) = (self.lefts("left_join", node), self.rows("left_join", node, table));
        let f = Shared::new(f);
        let with = f.clone();
        // A row adds the result with it, and retracts the result without a row.
        let matched = arrange(lefts.clone(), "left_join").join_core(rows, move |key, left, w| {
            [Some(w), None].map(|w| ((key.clone(), left.with(with(&left.value, w))), w.is_some()))
        });
        let matched = matched.inner.map(|((result, has_row), epoch, diff)| {
            (result, epoch, if has_row { diff } else { -diff })
        });
        let alone = lefts.map(move |(key, left)| {
            let value = f(&left.value, None);
            (key, left.with(value))
        });
        self.joined("left_join", node, matched.as_collection().concat(alone))
    }

    /// Returns the records on the workers that own their keys.
    fn lefts(&self, verb: &str, node: usize) -> Diffs<'s, (K, Left<V>)> {
        let lefts = timed(&self.events, |e, t| {
            let (order, ordinal) = (e.order, e.ordinal);
            let (timestamp, partition_time) = (e.timestamp, e.partition_time);
            let left = Left { value: e.value, order, ordinal, timestamp, partition_time };
            Some(((e.key, left), t, isize::from(e.diff)))
        });
        let lefts = self.kept_diffs(lefts.inner, node, "left").as_collection();
        let meter = self.graph.meter(node);
        to_owners(lefts, Placement::AnyWorker, &self.graph.owners(), verb, meter)
    }

    /// Returns the rows of the table on the workers that own their keys.
    fn rows<W: Datum>(&self, verb: &str, node: usize, table: &KTable<'s, K, W>) -> ByKey<'s, K, W> {
        let (owners, meter) = (self.graph.owners(), self.graph.meter(node));
        arrange(to_owners(table.diffs(), table.placement(), &owners, verb, meter), verb)
    }

    /// Returns the results of a join, which are on the workers that own their keys.
    fn joined<O: Datum>(
        &self,
        verb: &str,
        node: usize,
        rows: Diffs<'s, (K, Left<O>)>,
    ) -> KStream<'s, K, O> {
        // A diff of several becomes as many events.
        let event = |(key, left): (K, Left<O>), diff: isize| {
            let Left { value, order, ordinal, timestamp, partition_time } = left;
            let sign = diff.signum() as i8;
            let one = Event { key, value, order, ordinal, timestamp, partition_time, diff: sign };
            std::iter::repeat_n(one, diff.unsigned_abs())
        };
        let events = consolidated(rows, verb, self.graph.meter(node), event);
        KStream::new(self.graph.clone(), node, events, Updates::Retracting, Restored::All)
    }
}

/// Turns the events of a stream into diffs, each at its epoch.
pub(super) fn timed<'s, K: Datum, V: Datum, D: Clone + 'static>(
    events: &timely::dataflow::StreamVec<'s, Epoch, Event<K, V>>,
    f: impl Fn(Event<K, V>, Epoch) -> Option<(D, Epoch, isize)> + 'static,
) -> Diffs<'s, D> {
    use timely::container::CapacityContainerBuilder;
    use timely::dataflow::channels::pact::Pipeline;
    use timely::dataflow::operators::generic::Operator;
    events
        .clone()
        .unary::<CapacityContainerBuilder<Vec<(D, Epoch, isize)>>, _, _, _>(
            Pipeline,
            "diffs",
            move |_, _| {
                move |input, output| {
                    input.for_each(|time, data| {
                        let epoch = *time.time();
                        output
                            .session(&time)
                            .give_iterator(data.drain(..).filter_map(|event| f(event, epoch)));
                    });
                }
            },
        )
        .as_collection()
}
