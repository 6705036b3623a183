//! The verb that makes a table of a differential collection.

use crate::builder::StreamsBuilder;
use crate::operators::{Datum, Diffs, Placement, import};
use crate::table::KTable;

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Makes a table of a differential collection of keys and values. Kafka has no such verb.
    ///
    /// `Diffs::from(&table)` leaves the DSL, for operators of differential that the DSL lacks, such
    /// as `iterate`. This verb returns to the DSL. `name` appears in `describe` and in errors.
    ///
    /// # Contract
    /// - At each epoch a key has one row or none. Within an epoch only the sum of the changes
    ///   counts, so rows may come and go in any order.
    /// - A key with two rows, or with a retraction of a row that it does not have, ends the run
    ///   with an error of kind [`Data`](crate::ErrorKind::Data) that names the key. That epoch is
    ///   not committed.
    /// - Rows may be on any worker. They are exchanged to the worker that owns their key.
    /// - The table keeps each key and 64 bits of its row's digest, not the row.
    ///
    /// # Determinism and state
    /// A run that continues a state makes all rows of the collection again, as one epoch, and must
    /// find those that were committed. So the collection must be a function of the tables and
    /// streams that it was made from. It must not depend on epochs, which differ from run to run,
    /// nor on the order of changes, the number of workers, a clock, or randomness.
    ///
    /// The operators in between are no steps of the topology. `describe` does not list them, and a
    /// change to them is not noticed until the rows differ. Record their version with
    /// [`StreamsBuilder::setting`], and change it together with the operators. Then a state of the
    /// old version is refused.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use differential_dataflow::operators::Iterate;
    /// use watershed::Diffs;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// // The number of ancestors of each node, whose record holds its parent.
    /// let parents = builder.table("parents", Consumed::with(Int64, Int64));
    /// let parents: Diffs<'_, (i64, i64)> = (&parents).into();
    /// let ancestors = parents.clone().iterate(|scope, ancestors| {
    ///     let parents = parents.enter(scope);
    ///     let by_ancestor = ancestors.map(|(node, ancestor)| (ancestor, node));
    ///     let next = by_ancestor.join_map(parents.clone(), |_, node, parent| (*node, *parent));
    ///     next.concat(parents).distinct()
    /// });
    /// let depths = ancestors.map(|(node, _)| node).count().map(|(node, n)| (node, n as i64));
    /// builder.setting("depths", "version 1");
    /// let depths = KTable::from_collection(builder, "depths", depths);
    /// depths.to("depths", Produced::columns(["node", "depth"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let parents = driver.input("parents", Int64, Int64);
    /// [(2, 1), (3, 2), (4, 3)].map(|(node, parent)| parents.pipe(&mut driver, &node, &parent));
    /// driver.commit()?;
    /// assert_eq!(
    ///     driver.rows("depths"),
    ///     [[Long(2), Long(1)], [Long(3), Long(2)], [Long(4), Long(3)]],
    /// );
    /// parents.pipe(&mut driver, &3, &1); // moves node 3, and with it node 4
    /// driver.commit()?;
    /// assert_eq!(
    ///     driver.rows("depths"),
    ///     [[Long(2), Long(1)], [Long(3), Long(1)], [Long(4), Long(2)]],
    /// );
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_collection(
        builder: &StreamsBuilder<'s>,
        name: &str,
        collection: Diffs<'s, (K, V)>,
    ) -> Self {
        let graph = builder.graph.clone();
        let node = graph.node(format!("from_collection {name}"), &[]);
        let meter = graph.meter(node);
        let rows = import(collection, name, &graph.owners(), meter);
        KTable::from_diffs(graph, node, rows, Placement::Owner)
    }
}
