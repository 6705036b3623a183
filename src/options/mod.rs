//! The options of verbs: [`Consumed`] to read a topic, [`Produced`] to write one, [`Materialized`]
//! to keep a table, and [`Ties`] for [`top`](crate::KGrouped::top).

mod consumed;
mod join;
mod suppressed;
mod windows;

pub use consumed::Consumed;
pub(crate) use consumed::Decoded;
pub use join::JoinWindows;
pub use suppressed::Suppressed;
pub(crate) use windows::WindowKind;
pub use windows::{
    Emit, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows, Windowing, Windows,
};

/// The names of the columns of written rows: first those of the key, then those of the value.
/// Kafka's `Produced` has serdes instead.
///
/// ```
/// use watershed::prelude::{Value::{Long, Text}, *};
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
///     let rows = builder.table("rows", Consumed::with(Int64, Utf8));
///     let lengths = rows.map_values(|text| (text.clone(), text.len() as i64));
///     lengths.to("lengths", Produced::columns(["id", "text", "length"]));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let rows = driver.input("rows", Int64, Utf8);
/// rows.pipe(&mut driver, &7, &"tea".to_string());
/// driver.commit()?;
/// assert_eq!(driver.rows("lengths"), [[Long(7), Text("tea".into()), Long(3)]]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Produced {
    pub(crate) columns: Vec<String>,
}

impl Produced {
    /// Names the columns: as many as key and value have together. With another number the run does
    /// not start.
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

/// The name of a store, in which a table is kept for readers on other threads.
///
/// ```
/// use watershed::prelude::*;
///
/// let topology = Topology::new("stock", |builder: &StreamsBuilder<'_>| {
///     let stock = builder.table("stock", Consumed::with(Utf8, Int64));
///     stock.materialize(Materialized::named("pieces"));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let stock = driver.input("stock", Utf8, Int64);
/// stock.pipe(&mut driver, &"lamp".to_string(), &3);
/// driver.commit()?;
/// assert_eq!(driver.store::<String, i64>("pieces")?.get("lamp"), Some(3));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Materialized {
    pub(crate) store: String,
}

impl Materialized {
    /// Names the store: Kafka's `Materialized.as`.
    pub fn named(store: impl Into<String>) -> Self {
        Materialized { store: store.into() }
    }
}

/// The treatment of values beyond the n-th whose score is equal to its score, in
/// [`top`](crate::KGrouped::top).
///
/// ```
/// use watershed::prelude::{Value::Long, *};
///
/// let topology = Topology::new("scores", |builder: &StreamsBuilder<'_>| {
///     let numbers = builder.stream("numbers", Consumed::with(Int64, Int64)).group_by_key();
///     let top = |ties| numbers.top(2, ties, |n| n % 10);
///     top(Ties::Keep).to("keep", Produced::columns(["group", "n"]));
///     top(Ties::Cut).to("cut", Produced::columns(["group", "n"]));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let numbers = driver.input("numbers", Int64, Int64);
/// [19, 17, 27, 37].map(|n| numbers.pipe(&mut driver, &1, &n)); // scores 9, 7, 7 and 7
/// driver.commit()?;
/// assert_eq!(driver.rows("keep"), [17, 19, 27, 37].map(|n| [Long(1), Long(n)]));
/// assert_eq!(driver.rows("cut"), [17, 19].map(|n| [Long(1), Long(n)]));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// All of them are results, so there may be more than n results.
    Keep,
    /// Only the least of them are results, so there are at most n results.
    Cut,
}
