//! The verb that groups the rows of a table.

use std::rc::Rc;

use crate::grouped::KGrouped;
use crate::operators::{Datum, group};
use crate::time::Epoch;

use super::KTable;

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Groups rows: `f` returns group and value, or `None` for no group. Unlike in
    /// Kafka, aggregates need no subtractor: a row that changes leaves its group and enters
    /// another, and a deleted row leaves it.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.group_by(|id, n| (n % 2, *id)).count()
    ///     .to("count", Produced::columns(["parity", "count"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 9)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("count"), [[Long(1), Long(2)]]);
    /// rows.pipe(&mut driver, &2, &8);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("count"), [[Long(0), Long(1)], [Long(1), Long(1)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn group_by<G: Datum, X: Datum, P: Into<Option<(G, X)>>>(
        &self,
        f: impl Fn(&K, &V) -> P + 'static,
    ) -> KGrouped<'s, G, X> {
        let node = self.graph.node("group_by", &[self.node]);
        let f = Rc::new(f);
        let group_of = f.clone();
        let touches = self.group_touches(move |key, value| {
            let pair: Option<(G, X)> = group_of(key, value).into();
            pair.map(|(group, _)| group)
        });
        let regroup = move |((key, value), _, diff): ((K, V), Epoch, isize)| {
            f(&key, &value).into().map(|pair| (pair, diff))
        };
        let values = group(self.diffs().inner, regroup, self.graph.seeds(), self.graph.meter(node));
        KGrouped::of_rows(self.graph.clone(), node, values, touches)
    }
}
