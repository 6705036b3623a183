//! [`Texts`]: several optional strings in one allocation, for wide rows.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::borrowed::Text;

/// `N` optional strings in one allocation, for rows of text columns that are only passed from a
/// source to a sink.
///
/// ```
/// use watershed::serdes::Texts;
/// let row = Texts::new([Some("a"), None, Some("")]);
/// assert_eq!((row.get(0), row.get(1), row.get(2)), (Some("a"), None, Some("")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Texts<const N: usize> {
    text: Box<str>,
    /// The end of each string in `text`. The top bit marks a null.
    ends: [u32; N],
}

const NULL: u32 = 1 << 31;

impl<const N: usize> Texts<N> {
    /// Copies the strings into one allocation. Their total length must stay below 2 GiB; connectors
    /// limit a record to far less.
    pub fn new(parts: [Option<&str>; N]) -> Self {
        let mut text = String::with_capacity(parts.iter().flatten().map(|s| s.len()).sum());
        let mut ends = [0; N];
        for (part, end) in parts.iter().zip(&mut ends) {
            text.push_str(part.unwrap_or_default());
            *end = text.len() as u32 | if part.is_none() { NULL } else { 0 };
        }
        Texts { text: text.into_boxed_str(), ends }
    }

    /// Returns the string at `index`.
    ///
    /// # Panics
    /// If `index >= N`.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = self.ends[index];
        let start = if index == 0 { 0 } else { self.ends[index - 1] & !NULL };
        (end & NULL == 0).then(|| &self.text[start as usize..end as usize])
    }
}

impl<const N: usize> Serialize for Texts<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..N).map(|i| self.get(i)))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Texts<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Parts<N> {
            type Value = Texts<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "one string a column, {N} in all")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts<N>, A::Error> {
                let mut parts: [Option<Text<'de>>; N] = [const { None }; N];
                for (number, part) in parts.iter_mut().enumerate() {
                    let missing = || A::Error::invalid_length(number, &self);
                    *part = seq.next_element()?.ok_or_else(missing)?;
                }
                if seq.next_element::<Option<Text<'de>>>()?.is_some() {
                    return Err(A::Error::invalid_length(N + 1, &self));
                }
                Ok(Texts::new(parts.each_ref().map(|part| part.as_ref().map(|text| &*text.0))))
            }
        }
        deserializer.deserialize_seq(Parts)
    }
}
