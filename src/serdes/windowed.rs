//! The serdes of windowed keys, with the bytes that Kafka Streams writes to topics.

use std::time::Duration;

use super::simple::not_null;
use super::{Deserializer, Reject, Serializer};
use crate::time::{Timestamp, Windowed, micros};

/// The number of bytes of a bound: milliseconds since 1970, as a big-endian integer.
const BOUND_BYTES: usize = 8;

/// Keys in time windows, sliding windows and windows without an end: the bytes of the key, and 8 of
/// the start of the window, as Kafka's `TimeWindowedSerializer` writes them.
///
/// The bytes lack the end of the window, which is the start and `size`. So the serde does not fit
/// windows of different sizes. The bytes have milliseconds: a start within one is cut off. A key
/// that the inner serde writes as null is null, which Kafka can't write.
///
/// Too few bytes are a dead letter, `wrong length`, and a start that no [`Timestamp`] can hold is
/// one too, `invalid window`. Kafka's serdes have a second form, for changelog topics of stores,
/// which are not read here.
///
/// ```
/// use std::time::Duration;
///
/// use watershed::prelude::{Value::{Long, Text}, *};
///
/// let minute = Duration::from_secs(60);
/// let topology = Topology::new("late changes", move |builder: &StreamsBuilder<'_>| {
///     let counts = builder.table("counts", Consumed::with(TimeWindowed::of(Utf8, minute), Int64));
///     counts.to("rows", Produced::columns(["page", "from", "to", "count"]));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let counts = driver.input("counts", TimeWindowed::of(Utf8, minute), Int64);
/// let (start, end) = (Timestamp::from_millis(60_000), Timestamp::from_millis(120_000));
/// counts.pipe(&mut driver, &Windowed { key: "home".to_string(), start, end }, &3);
/// driver.pipe("counts", 0, Some(b"home"), Some(&[0; 8])); // has no window
/// driver.commit()?;
/// let [start, end] = [start, end].map(|at| Value::Timestamp(at.0));
/// assert_eq!(driver.rows("rows"), [[Text("home".into()), start, end, Long(3)]]);
/// assert_eq!(driver.dead_letters()[0][3], Text("wrong length".into()));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TimeWindowed<S> {
    key: S,
    size: Duration,
}

impl<S> TimeWindowed<S> {
    /// Returns the serde of keys in windows of this size; [`Duration::MAX`] of windows without an
    /// end.
    pub fn of(key: S, size: Duration) -> Self {
        TimeWindowed { key, size }
    }
}

impl<K, S: Deserializer<K>> Deserializer<Windowed<K>> for TimeWindowed<S> {
    fn decode(&self, bytes: Option<&[u8]>) -> Result<Windowed<K>, Reject> {
        let (key, [start]) = split(bytes)?;
        let end = start.plus(micros(self.size));
        Ok(Windowed { key: self.key.decode(Some(key))?, start, end })
    }
}

impl<K, S: Serializer<K>> Serializer<Windowed<K>> for TimeWindowed<S> {
    fn encode(&self, window: &Windowed<K>) -> Option<Vec<u8>> {
        join(self.key.encode(&window.key), [window.start])
    }
}

/// Keys in sessions: the bytes of the key, 8 of the end of the session and 8 of its start, as
/// Kafka's `SessionWindowedSerializer` writes them.
///
/// The rules of [`TimeWindowed`] apply. A session that ends before it starts is a dead letter,
/// `invalid window`.
///
/// ```
/// use watershed::prelude::*;
///
/// let serde = SessionWindowed(Utf8);
/// let (start, end) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
/// let session = Windowed { key: "ann".to_string(), start, end };
/// let bytes = serde.encode(&session).unwrap();
/// assert_eq!(bytes, b"ann\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01");
/// assert_eq!(serde.decode(Some(&bytes))?, session);
/// # Ok::<(), Reject>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionWindowed<S>(pub S);

impl<K, S: Deserializer<K>> Deserializer<Windowed<K>> for SessionWindowed<S> {
    fn decode(&self, bytes: Option<&[u8]>) -> Result<Windowed<K>, Reject> {
        let (key, [end, start]) = split(bytes)?;
        if end < start {
            return Err(Reject::new("invalid window", "the session ends before it starts"));
        }
        Ok(Windowed { key: self.0.decode(Some(key))?, start, end })
    }
}

impl<K, S: Serializer<K>> Serializer<Windowed<K>> for SessionWindowed<S> {
    fn encode(&self, window: &Windowed<K>) -> Option<Vec<u8>> {
        join(self.0.encode(&window.key), [window.end, window.start])
    }
}

/// Returns the bytes of a key, and the bounds behind them.
fn split<const N: usize>(bytes: Option<&[u8]>) -> Result<(&[u8], [Timestamp; N]), Reject> {
    let bytes = not_null(bytes)?;
    let length = N * BOUND_BYTES;
    let at = bytes.len().checked_sub(length).ok_or_else(|| {
        Reject::new("wrong length", format!("{} bytes, a window alone has {length}", bytes.len()))
    })?;
    let (key, behind) = bytes.split_at(at);
    let mut bounds = [Timestamp::MIN; N];
    for (bound, bytes) in bounds.iter_mut().zip(behind.as_chunks::<BOUND_BYTES>().0) {
        let millis = i64::from_be_bytes(*bytes);
        // Kafka writes the greatest number for a window without an end.
        let micros = if millis == i64::MAX { Some(i64::MAX) } else { millis.checked_mul(1_000) };
        let beyond = || Reject::new("invalid window", format!("a bound of {millis} ms"));
        *bound = Timestamp(micros.ok_or_else(beyond)?);
    }
    Ok((key, bounds))
}

/// Returns the bytes of a key with bounds behind them.
fn join<const N: usize>(key: Option<Vec<u8>>, bounds: [Timestamp; N]) -> Option<Vec<u8>> {
    let mut bytes = key?;
    for bound in bounds {
        let millis = if bound == Timestamp::MAX { i64::MAX } else { bound.0.div_euclid(1_000) };
        bytes.extend(millis.to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serdes::{Int32, Nullable, Utf8};

    const SIZE: Duration = Duration::from_millis(500);

    fn window(start: i64, end: i64) -> Windowed<String> {
        let (start, end) = (Timestamp::from_millis(start), Timestamp::from_millis(end));
        Windowed { key: "key".to_string(), start, end }
    }

    #[test]
    fn a_key_in_a_time_window_has_the_bytes_of_kafka() {
        let serde = TimeWindowed::of(Utf8, SIZE);
        let bytes = b"key\0\0\0\0\0\0\x03\xe8";
        assert_eq!(serde.encode(&window(1_000, 1_500)).as_deref(), Some(&bytes[..]));
        assert_eq!(serde.decode(Some(bytes)), Ok(window(1_000, 1_500)));
        let before = window(-500, 0);
        assert_eq!(serde.decode(serde.encode(&before).as_deref()), Ok(before));
        let number = TimeWindowed::of(Int32, SIZE);
        let bytes = [0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(number.decode(Some(&bytes)).map(|it| it.key), Ok(7));
    }

    #[test]
    fn a_session_is_its_end_and_then_its_start() {
        let serde = SessionWindowed(Utf8);
        let mut bytes = b"key".to_vec();
        bytes.extend(1_500_i64.to_be_bytes());
        bytes.extend(1_000_i64.to_be_bytes());
        assert_eq!(serde.encode(&window(1_000, 1_500)), Some(bytes.clone()));
        assert_eq!(serde.decode(Some(&bytes)), Ok(window(1_000, 1_500)));
    }

    #[test]
    fn a_window_without_an_end_ends_at_the_end_of_time() {
        let serde = TimeWindowed::of(Utf8, Duration::MAX);
        let all = Windowed { end: Timestamp::MAX, ..window(1, 1) };
        assert_eq!(serde.decode(serde.encode(&all).as_deref()), Ok(all.clone()));
        let serde = SessionWindowed(Utf8);
        assert_eq!(serde.decode(serde.encode(&all).as_deref()), Ok(all));
    }

    #[test]
    fn bytes_that_are_no_window_are_rejected() {
        let (time, session) = (TimeWindowed::of(Utf8, SIZE), SessionWindowed(Utf8));
        let reason = |bytes: &[u8]| {
            let of = |it: Result<Windowed<String>, Reject>| it.unwrap_err().reason.into_owned();
            [of(time.decode(Some(bytes))), of(session.decode(Some(bytes)))]
        };
        assert_eq!(reason(&[0; 7]), ["wrong length", "wrong length"]);
        assert_eq!(session.decode(Some(&[0; 15])).unwrap_err().reason, "wrong length");
        // The start is a second before the end of numbers: no microseconds hold it.
        let far = (i64::MAX - 1_000).to_be_bytes();
        assert_eq!(time.decode(Some(&far)).unwrap_err().reason, "invalid window");
        let turned = [1_i64.to_be_bytes(), 2_i64.to_be_bytes()].concat();
        assert_eq!(session.decode(Some(&turned)).unwrap_err().reason, "invalid window");
        assert_eq!(reason(&[0xff; 17]), ["invalid utf-8", "invalid utf-8"]);
        assert_eq!(Nullable(time).decode(None), Ok(None));
        assert_eq!(time.decode(None).unwrap_err().reason, "null");
    }

    #[test]
    fn a_null_key_in_a_window_is_null() {
        let serde = TimeWindowed::of(Nullable(Utf8), SIZE);
        let nobody: Windowed<Option<String>> =
            Windowed { key: None, start: Timestamp(0), end: Timestamp(0) };
        assert_eq!(serde.encode(&nobody), None);
    }
}
