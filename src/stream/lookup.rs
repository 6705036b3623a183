//! Verbs that look up the rows of a table for the records of a stream: Kafka's joins of a stream
//! and a table.

use super::entry::Entry;
use super::{KStream, Updates};
use crate::metrics::Meter;
use crate::operators::{CopiedRows, Datum, OwnedRows, Placement, Restored, lookup, to_owners};
use crate::table::{GlobalKTable, KTable};
use crate::time::Epoch;

/// Makes a value of a record's value and the row's, which may be missing.
type Values<V, W, O> = Box<dyn Fn(&V, Option<&W>) -> Option<O>>;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Joins each record with the table's row of its key, as the row stands when the record's epoch
    /// is closed: Kafka's `join` of a stream and a table. Later changes of the row change no
    /// result, and a record without a row has none. [`join`](Self::join) is maintained instead.
    ///
    /// The result can be written as it is. But it depends on where epochs end, which is not in the
    /// records. So a snapshot is part of each commit, and the records can't be read again to
    /// rebuild the results. A change of the row in the same epoch counts, whichever arrived first.
    ///
    /// Only the rows are kept, no record. A stream that may retract records is refused.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let pins = builder.stream("pins", Consumed::with(Int64, Int64));
    /// let users = builder.table("users", Consumed::with(Int64, Int64));
    /// pins.lookup_join(&users, |n, age| n * 100 + age)
    ///     .to("aged", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let pins = driver.input("pins", Int64, Int64);
    /// # let users = driver.input("users", Int64, Int64);
    /// pins.pipe(&mut driver, &1, &6); // there is no row yet
    /// driver.commit()?;
    /// users.pipe(&mut driver, &1, &30);
    /// pins.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// users.pipe(&mut driver, &1, &31); // changes no result
    /// driver.commit()?;
    /// assert_eq!(driver.rows("aged"), [[Long(1), Long(730)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn lookup_join<W: Datum, O: Datum>(
        &self,
        table: &KTable<'s, K, W>,
        f: impl Fn(&V, &W) -> O + 'static,
    ) -> KStream<'s, K, O> {
        self.looked_up("lookup_join", table, Box::new(move |v, w| w.map(|w| f(v, w))))
    }

    /// Joins like [`lookup_join`](Self::lookup_join), but a record without a row is joined with
    /// `None`: Kafka's `leftJoin` of a stream and a table.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let pins = builder.stream("pins", Consumed::with(Int64, Int64));
    /// let users = builder.table("users", Consumed::with(Int64, Int64));
    /// pins.left_lookup_join(&users, |n, age| n * 100 + age.unwrap_or(&0))
    ///     .to("aged", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let pins = driver.input("pins", Int64, Int64);
    /// # let users = driver.input("users", Int64, Int64);
    /// pins.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// users.pipe(&mut driver, &1, &30);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("aged"), [[Long(1), Long(700)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn left_lookup_join<W: Datum, O: Datum>(
        &self,
        table: &KTable<'s, K, W>,
        f: impl Fn(&V, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        self.looked_up("left_lookup_join", table, Box::new(move |v, w| Some(f(v, w))))
    }

    /// Joins each record with the row of a global table whose key `map_key` computes, as the row
    /// stands when the record's epoch is closed: Kafka's `join` of a stream and a global table.
    ///
    /// A record for which `map_key` returns `None` has no result; its own key may be null. Epochs,
    /// state and refusals are those of [`lookup_join`](Self::lookup_join). Records stay on their
    /// workers, each of which keeps all rows.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let sales = builder.stream("sales", Consumed::with(Int64, Json));
    /// let rates = builder.global_table("rates", Consumed::with(Utf8, Int64));
    /// sales.lookup_join_global(
    ///     &rates,
    ///     |_shop, (currency, _): &(String, i64)| currency.clone(),
    ///     |(_, amount), rate| amount * rate,
    /// ).to("values", Produced::columns(["shop", "value"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let sales = driver.input("sales", Int64, Json);
    /// # let rates = driver.input("rates", Utf8, Int64);
    /// rates.pipe(&mut driver, &"euro".to_string(), &2);
    /// sales.pipe(&mut driver, &7, &("euro".to_string(), 100));
    /// driver.commit()?;
    /// rates.pipe(&mut driver, &"euro".to_string(), &3);
    /// sales.pipe(&mut driver, &7, &("euro".to_string(), 100));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("values"), [[Long(7), Long(200)], [Long(7), Long(300)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn lookup_join_global<G: Datum, W: Datum, O: Datum, Q: Into<Option<G>>>(
        &self,
        table: &GlobalKTable<'s, G, W>,
        map_key: impl Fn(&K, &V) -> Q + 'static,
        f: impl Fn(&V, &W) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let f = move |v: &V, w: Option<&W>| w.map(|w| f(v, w));
        self.looked_up_in_global("lookup_join_global", table, map_key, Box::new(f))
    }

    /// Joins like [`lookup_join_global`](Self::lookup_join_global), but a record without a row is
    /// joined with `None`: also one for which `map_key` returns `None`. Kafka drops such a record,
    /// unless its own key is null.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let sales = builder.stream("sales", Consumed::with(Int64, Json));
    /// let rates = builder.global_table("rates", Consumed::with(Utf8, Int64));
    /// sales.left_lookup_join_global(
    ///     &rates,
    ///     |_shop, (currency, _): &(Option<String>, i64)| currency.clone(),
    ///     |(_, amount), rate| amount * rate.unwrap_or(&1),
    /// ).to("values", Produced::columns(["shop", "value"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let sales = driver.input("sales", Int64, Json);
    /// # let rates = driver.input("rates", Utf8, Int64);
    /// rates.pipe(&mut driver, &"euro".to_string(), &2);
    /// sales.pipe(&mut driver, &7, &(Some("euro".to_string()), 100));
    /// sales.pipe(&mut driver, &7, &(None, 50));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("values"), [[Long(7), Long(50)], [Long(7), Long(200)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn left_lookup_join_global<G: Datum, W: Datum, O: Datum, Q: Into<Option<G>>>(
        &self,
        table: &GlobalKTable<'s, G, W>,
        map_key: impl Fn(&K, &V) -> Q + 'static,
        f: impl Fn(&V, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let f = move |v: &V, w: Option<&W>| Some(f(v, w));
        self.looked_up_in_global("left_lookup_join_global", table, map_key, Box::new(f))
    }

    fn looked_up<W: Datum, O: Datum>(
        &self,
        verb: &str,
        table: &KTable<'s, K, W>,
        f: Values<V, W, O>,
    ) -> KStream<'s, K, O> {
        let (node, first) = self.lookup_step(verb, table.node);
        let owners = self.graph.owners();
        let entries =
            to_owners(self.entries(), Placement::AnyWorker, &owners, verb, Meter::default());
        let rows = OwnedRows::new(self.graph.keys());
        let make = move |rows: &OwnedRows<K, W>, record: Record<K, V>| {
            let ((key, entry), ..) = record;
            let value = f(&entry.value, rows.get(&key))?;
            Some(entry.with(value).into_event(key, 1))
        };
        let (changes, meter) = (table.upserts(), self.graph.meter(node));
        let events = lookup(entries.inner, changes, rows, make, first, verb, meter);
        let graph = self.graph.clone();
        KStream::new(graph, node, events, Updates::AppendOnly, Restored::Tail)
    }

    fn looked_up_in_global<G: Datum, W: Datum, O: Datum, Q: Into<Option<G>>>(
        &self,
        verb: &str,
        table: &GlobalKTable<'s, G, W>,
        map_key: impl Fn(&K, &V) -> Q + 'static,
        f: Values<V, W, O>,
    ) -> KStream<'s, K, O> {
        let (node, first) = self.lookup_step(verb, table.node());
        let rows = CopiedRows::new(self.graph.seeds());
        let make = move |rows: &CopiedRows<G, W>, record: Record<K, V>| {
            let ((key, entry), ..) = record;
            let mapped = map_key(&key, &entry.value).into();
            let value = f(&entry.value, mapped.and_then(|mapped| rows.get(&mapped)))?;
            Some(entry.with(value).into_event(key, 1))
        };
        let (changes, meter) = (table.copies().inner, self.graph.meter(node));
        let events = lookup(self.entries().inner, changes, rows, make, first, verb, meter);
        let graph = self.graph.clone();
        KStream::new(graph, node, events, Updates::AppendOnly, Restored::Tail)
    }

    /// Adds the step of a look-up in the table that the step `table` makes. Returns its number, and
    /// the first epoch whose records have results: a run that continues another one makes the rows
    /// of earlier records again in epoch 0.
    fn lookup_step(&self, verb: &str, table: usize) -> (usize, Epoch) {
        let node = self.graph.node(verb, &[self.node, table]);
        if self.updates == Updates::Retracting {
            self.graph.error(format!(
                "step {verb} can't look up rows for a stream that retracts records: a join before \
                 it is maintained, so use a maintained join here too"
            ));
        }
        self.graph.volatile();
        (node, Epoch::from(self.graph.earlier_runs() > 0))
    }
}

/// A record as a look-up holds it until the close of its epoch.
type Record<K, V> = ((K, Entry<V>), Epoch, isize);
