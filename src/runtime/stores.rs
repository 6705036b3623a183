//! The stores of a run: those of the topology's materialized tables that were asked for before it
//! began.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Streams;
use super::coordinator::{Coordinator, Phase};
use crate::error::{Error, Result};
use crate::operators::Datum;
use crate::ports::{ReadOnlyStore, Shelf};
use crate::topology::Topology;

/// Stores by name. A store that is not here costs a run nothing.
#[derive(Clone, Default)]
pub(crate) struct Stores(pub(crate) BTreeMap<String, Arc<dyn Shelf>>);

impl Stores {
    /// All that a topology has.
    pub(crate) fn all(topology: &Topology) -> Self {
        Stores(
            topology.plan().stores.into_iter().map(|store| (store.name, (store.make)())).collect(),
        )
    }

    /// The handle of a store, which is made if it is not here yet.
    pub(crate) fn open<K: Datum, V: Datum>(
        &mut self,
        topology: &Topology,
        name: &str,
    ) -> Result<ReadOnlyStore<K, V>> {
        let stores = topology.plan().stores;
        let found =
            stores.iter().find(|store| store.name == name && store.types == TypeId::of::<(K, V)>());
        let shelf =
            found.map(|store| self.0.entry(name.to_string()).or_insert_with(store.make).clone());
        shelf.and_then(ReadOnlyStore::of).ok_or_else(|| {
            let has: Vec<String> = stores.iter().map(|store| format!("{} of {}", store.name, store.rows)).collect();
            let has = if has.is_empty() { "none".into() } else { has.join(", ") };
            let asked = crate::graph::rows::<K, V>();
            Error::config(format!("topology {} has no store {name} of {asked}: it has {has}", topology.name()))
                .hint("A store is a table that is materialized under its name; ask for it by that name and the table's types.")
        })
    }
}

impl Coordinator {
    /// Shows in the stores what is through; nothing of a state that is not yet known to be the one
    /// that was recorded.
    pub(super) fn show(&self) {
        if self.phase == Phase::Live {
            self.stores.0.values().for_each(|store| store.show(self.through));
        }
    }
}

impl Streams {
    /// A handle of the table that the topology [materializes](crate::KTable::materialize) as
    /// `name`: to be asked for before the run, and used from then on by any thread. Only what is
    /// asked for is kept in memory.
    ///
    /// ```
    /// use watershed::connect::memory::MemoryLog;
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("count", |builder| {
    ///     let words = builder.stream("words", Consumed::with(Nullable(Utf8), Utf8));
    ///     words.group_by(|_, word| (word.clone(), ())).count().materialize(Materialized::named("counts"));
    /// });
    /// let words = MemoryLog::default();
    /// ["to", "be", "or", "not", "to", "be"].iter().for_each(|word| drop(words.append(0, None, Some(word.as_bytes()))));
    ///
    /// let mut streams = Streams::new(topology).source("words", words);
    /// let counts: ReadOnlyStore<String, i64> = streams.store("counts")?;
    /// assert_eq!(counts.view().epoch(), None);
    /// streams.run(Config::default())?;
    /// assert_eq!((counts.get("to"), counts.get("that")), (Some(2), None));
    /// assert_eq!(counts.view().all().map(|(word, n)| format!("{word} {n}")).collect::<Vec<_>>(), ["be 2", "not 1", "or 1", "to 2"]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology has no such store, or one of other keys or values: then it says which it
    /// has.
    pub fn store<K: Datum, V: Datum>(&mut self, name: &str) -> Result<ReadOnlyStore<K, V>> {
        self.stores.open(&self.topology, name)
    }
}
