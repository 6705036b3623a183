//! [`Texts`]: several optional strings in one allocation, for wide rows.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
        let parts = Vec::<Option<String>>::deserialize(deserializer)?;
        let slices: Vec<Option<&str>> = parts.iter().map(Option::as_deref).collect();
        let count = slices.len();
        let array = slices
            .try_into()
            .map_err(|_| serde::de::Error::invalid_length(count, &"one string a column"))?;
        Ok(Texts::new(array))
    }
}
