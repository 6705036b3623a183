//! Serdes, from bytes to values and back: [`Json`], [`Utf8`], [`Raw`], the integers, and windowed
//! keys ([`TimeWindowed`], [`SessionWindowed`]). [`Reject`] is the error for bytes that can't be
//! decoded.

mod borrowed;
mod digest;
mod reject;
mod simple;
mod texts;
mod windowed;
mod word;

pub use digest::Digest;
pub use reject::{Reason, Reject};
pub use simple::{Int32, Int64, Json, Nullable, Raw, Utf8};
pub use texts::Texts;
pub use windowed::{SessionWindowed, TimeWindowed};
pub use word::Word;

/// Decodes the key or the value of a record. A serde of your own implements it, and also
/// [`Serializer`] if a test or a program has to write records.
///
/// ```
/// use watershed::prelude::*;
///
/// /// A boolean as the letter `y` or `n`.
/// #[derive(Clone, Copy)]
/// struct YesNo;
///
/// impl Deserializer<bool> for YesNo {
///     fn decode(&self, bytes: Option<&[u8]>) -> Result<bool, Reject> {
///         match bytes {
///             Some(b"y") => Ok(true),
///             Some(b"n") => Ok(false),
///             other => Err(Reject::new("neither y nor n", format!("{other:?}"))),
///         }
///     }
/// }
///
/// impl Serializer<bool> for YesNo {
///     fn encode(&self, value: &bool) -> Option<Vec<u8>> {
///         Some(if *value { b"y" } else { b"n" }.to_vec())
///     }
/// }
///
/// let topology = Topology::new("votes", |builder: &StreamsBuilder<'_>| {
///     let votes = builder.table("votes", Consumed::with(Utf8, YesNo));
///     votes.group_by(|_, vote| (*vote, ())).count().materialize(Materialized::named("count"));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let votes = driver.input("votes", Utf8, YesNo);
/// [("ann", true), ("bob", true)].map(|(who, vote)| votes.pipe(&mut driver, &who.into(), &vote));
/// driver.pipe("votes", 0, Some(b"eve"), Some(b"maybe"));
/// driver.commit()?;
/// let count = driver.store::<bool, i64>("count")?;
/// assert_eq!((count.get(&true), driver.dead_letters().len()), (Some(2), 1));
/// # Ok::<(), Error>(())
/// ```
pub trait Deserializer<T> {
    /// Returns the value of `bytes`; `None` is null.
    ///
    /// # Errors
    /// When the bytes are not a valid `T`. The record becomes a dead letter.
    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, Reject>;
}

/// Encodes the key or the value of a record. See [`Deserializer`] for an example.
pub trait Serializer<T> {
    /// Returns the bytes of `value`; `None` is null.
    fn encode(&self, value: &T) -> Option<Vec<u8>>;
}
