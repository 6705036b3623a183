//! Verbs that join a stream with a global table, maintained.

use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::dataflow::operators::{OkErr, vec::Map};

use super::entry::Entry;
use super::{KStream, Updates};
use crate::operators::{Datum, Match, Unmatched, join_by_group};
use crate::table::GlobalKTable;

/// Makes a value of a record's value and the row's, which may be missing.
type Values<V, W, O> = Box<dyn Fn(&V, Option<&W>) -> Option<O>>;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Joins each record with the row of a global table whose key `map_key` computes from key and
    /// value. The key of the result is that of the record. Unlike Kafka's, the result is
    /// maintained: a row that is added, changed or deleted later changes the results of all its
    /// records. Kafka's join is [`lookup_join_global`](Self::lookup_join_global).
    ///
    /// A record for which `map_key` returns `None` has no result. The key of the record may be
    /// null.
    ///
    /// Records stay on their workers, which keep them, and each worker keeps all rows. A changed
    /// row costs its records, each once.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let sales = builder.stream("sales", Consumed::with(Int64, Json));
    /// let rates = builder.global_table("rates", Consumed::with(Utf8, Int64));
    /// sales.join_global(
    ///     &rates,
    ///     |_shop, (currency, _): &(String, i64)| currency.clone(),
    ///     |(_, amount), rate| amount * rate,
    /// ).group_by_key().sum(|value| *value).to("values", Produced::columns(["shop", "value"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let sales = driver.input("sales", Int64, Json);
    /// # let rates = driver.input("rates", Utf8, Int64);
    /// sales.pipe(&mut driver, &7, &("euro".to_string(), 100));
    /// rates.pipe(&mut driver, &"euro".to_string(), &2);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("values"), [[Long(7), Long(200)]]);
    /// rates.pipe(&mut driver, &"euro".to_string(), &3); // a correction of the rate
    /// driver.commit()?;
    /// assert_eq!(driver.rows("values"), [[Long(7), Long(300)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join_global<G: Datum, W: Datum, O: Datum, Q: Into<Option<G>>>(
        &self,
        table: &GlobalKTable<'s, G, W>,
        map_key: impl Fn(&K, &V) -> Q + 'static,
        f: impl Fn(&V, &W) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let both = move |v: &V, w: Option<&W>| w.map(|w| f(v, w));
        self.with_global("join_global", table, map_key, Unmatched::Dropped, Box::new(both))
    }

    /// Joins like [`join_global`](Self::join_global), but a record without a row is joined with
    /// `None`. Unlike in Kafka, this lasts only while there is no row.
    ///
    /// A record for which `map_key` returns `None` is joined with `None` too. Kafka drops it,
    /// unless its own key is null.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let sales = builder.stream("sales", Consumed::with(Int64, Json));
    /// let rates = builder.global_table("rates", Consumed::with(Utf8, Int64));
    /// sales.left_join_global(
    ///     &rates,
    ///     |_shop, (currency, _): &(Option<String>, i64)| currency.clone(),
    ///     |(_, amount), rate| amount * rate.unwrap_or(&1),
    /// ).group_by_key().sum(|value| *value).to("values", Produced::columns(["shop", "value"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let sales = driver.input("sales", Int64, Json);
    /// # let rates = driver.input("rates", Utf8, Int64);
    /// sales.pipe(&mut driver, &7, &(None, 50));
    /// sales.pipe(&mut driver, &7, &(Some("euro".to_string()), 100));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("values"), [[Long(7), Long(150)]]);
    /// rates.pipe(&mut driver, &"euro".to_string(), &2);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("values"), [[Long(7), Long(250)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn left_join_global<G: Datum, W: Datum, O: Datum, Q: Into<Option<G>>>(
        &self,
        table: &GlobalKTable<'s, G, W>,
        map_key: impl Fn(&K, &V) -> Q + 'static,
        f: impl Fn(&V, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let left = move |v: &V, w: Option<&W>| Some(f(v, w));
        self.with_global("left_join_global", table, map_key, Unmatched::LeftKept, Box::new(left))
    }

    fn with_global<G: Datum, W: Datum, O: Datum, Q: Into<Option<G>>>(
        &self,
        verb: &str,
        table: &GlobalKTable<'s, G, W>,
        map_key: impl Fn(&K, &V) -> Q + 'static,
        unmatched: Unmatched,
        f: Values<V, W, O>,
    ) -> KStream<'s, K, O> {
        let node = self.graph.node(verb, &[self.node, table.node()]);
        let entries = self.kept_entries(node, "left").inner;
        let (lefts, without_key) =
            entries.ok_err(move |((key, entry), epoch, diff)| {
                match map_key(&key, &entry.value).into() {
                    Some(mapped) => Ok(((mapped, (key, entry)), epoch, diff)),
                    None => Err(((key, entry), epoch, diff)),
                }
            });
        let joiner = move |it: Match<'_, G, (K, Entry<V>), W>| {
            let ((key, entry), row) = match it {
                Match::Both(_, left, row) => (left, Some(row)),
                Match::Left(_, left) | Match::Ungrouped(left) => (left, None),
                Match::Right(..) => return None,
            };
            Some((key.clone(), entry.with(f(&entry.value, row)?)))
        };
        let joiner = Rc::new(joiner);
        let (owners, meter) = (self.graph.owners(), self.graph.meter(node));
        let (lefts, rights, alone) = (lefts.as_collection(), table.copies(), joiner.clone());
        let mut results = join_by_group(lefts, rights, unmatched, verb, &owners, meter, joiner);
        if unmatched != Unmatched::Dropped {
            let alone = without_key.flat_map(move |(left, epoch, diff)| {
                alone(Match::Ungrouped(&left)).map(|result| (result, epoch, diff))
            });
            results = results.concat(alone.as_collection());
        }
        KStream::from_entries(self.graph.clone(), node, results, Updates::Retracting)
    }
}
