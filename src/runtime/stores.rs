//! The stores of a run: the materialized tables of the topology that the program has opened.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::operators::Datum;
use crate::plan::type_names;
use crate::ports::{AnyStore, ReadOnlyStore};
use crate::time::Epoch;
use crate::topology::Topology;

/// Stores by name. A table without an open store costs a run nothing.
#[derive(Clone, Default)]
pub(crate) struct Stores(BTreeMap<String, Arc<dyn AnyStore>>);

impl Stores {
    /// Opens every store of a topology.
    pub(crate) fn all(topology: &Topology) -> Self {
        let stores = topology.plan().stores.into_iter();
        Stores(stores.map(|store| (store.name, (store.make)())).collect())
    }

    /// Opens the stores of these names.
    pub(super) fn named(topology: &Topology, names: &[String]) -> Self {
        let mut stores = Self::all(topology);
        stores.0.retain(|name, _| names.contains(name));
        stores
    }

    /// Has the first `workers` workers, those of process 0, gather the rows of all.
    pub(super) fn gather_on(&self, workers: usize) {
        self.0.values().for_each(|store| store.gather_on(workers));
    }

    /// Returns a handle of a store, which is opened if it is not open yet.
    ///
    /// # Errors
    /// When the topology has no store of this name and types.
    pub(crate) fn open<K: Datum, V: Datum>(
        &mut self,
        topology: &Topology,
        name: &str,
    ) -> Result<ReadOnlyStore<K, V>> {
        let stores = topology.plan().stores;
        let found =
            stores.iter().find(|store| store.name == name && store.types == TypeId::of::<(K, V)>());
        let store =
            found.map(|store| self.0.entry(name.to_string()).or_insert_with(store.make).clone());
        store.and_then(ReadOnlyStore::of).ok_or_else(|| {
            let has: Vec<String> = stores
                .iter()
                .map(|store| format!("{} of {}", store.name, store.type_names))
                .collect();
            let has = if has.is_empty() { "none".into() } else { has.join(", ") };
            let types = type_names::<K, V>();
            let topology = topology.name();
            let wrong = format!("topology {topology} has no store {name} of {types}: it has {has}");
            Error::config(wrong).hint(
                "A store is a table that is materialized under its name; open it by that name and \
                 with the table's types.",
            )
        })
    }

    /// Returns the stores by name, for one worker.
    pub(super) fn by_name(&self) -> BTreeMap<String, Arc<dyn AnyStore>> {
        self.0.clone()
    }

    /// Returns the names of the open stores.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Publishes in each store all epochs before `completed`, in one step.
    pub(super) fn publish(&self, completed: Epoch) {
        self.0.values().for_each(|store| store.publish(completed));
    }
}
