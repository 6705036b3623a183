//! How a topic is read and written, a table kept: [`Consumed`], [`Produced`], [`Materialized`], and
//! what a verb may be told besides its closure.

mod consumed;

pub use consumed::Consumed;
pub(crate) use consumed::Decoded;

/// How rows are written: the names of their columns, those of the key first, then those of the
/// value.
#[derive(Clone, Debug)]
pub struct Produced {
    pub(crate) columns: Vec<String>,
}

impl Produced {
    /// Rows of these columns: as many as key and value have together.
    pub fn columns<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Produced { columns: names.into_iter().map(Into::into).collect() }
    }

    /// Appends columns, such as those of a struct that [`row!`](crate::row!) declares.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// watershed::row! {
    ///     struct Place { country: String, year: i32 }
    /// }
    /// let produced = Produced::columns(["id"]).and(Place::COLUMNS); // id, country, year
    /// # let _ = produced;
    /// ```
    #[must_use]
    pub fn and<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.columns.extend(names.into_iter().map(Into::into));
        self
    }
}

/// How a table is kept, so that it can be asked while it is maintained.
#[derive(Clone, Debug)]
pub struct Materialized {
    pub(crate) store: String,
}

impl Materialized {
    /// As the store of this name: Kafka's `Materialized.as`.
    pub fn named(store: impl Into<String>) -> Self {
        Materialized { store: store.into() }
    }
}

/// What happens to values beyond the n-th that score like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// They are kept: there may be more than n.
    Keep,
    /// The least values are kept: there are at most n.
    Cut,
}
