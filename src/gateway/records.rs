//! The records of a request, and their results. Both are streamed: neither is held as a tree of
//! JSON.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// An array that keeps its first `MOST` elements and counts the others. Otherwise a body of tiny
/// elements would take far more memory than its bytes.
pub(super) struct Bounded<T, const MOST: usize> {
    pub(super) kept: Vec<T>,
    /// The number of elements of the array.
    pub(super) count: usize,
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

struct Elements<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Elements<T, MOST> {
    type Value = Bounded<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MOST
            && let Some(element) = elements.next_element()?
        {
            kept.push(element);
        }
        let mut count = kept.len();
        while count >= MOST && elements.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Bounded { kept, count })
    }
}

/// A list with a response for each element. Each response is made when it is written.
pub(super) struct Each<'a, T, F>(pub(super) &'a [T], pub(super) F);

impl<T, A: Serialize, F: Fn(&T) -> A> Serialize for Each<'_, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(&self.1))
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn elements_beyond_the_limit_are_counted_not_kept() {
        for count in 0..7 {
            let text = format!("{:?}", vec![1; count]);
            let bounded: Bounded<u8, 3> = serde_json::from_str(&text).unwrap();
            assert_eq!((bounded.count, bounded.kept.len()), (count, count.min(3)));
        }
        for wrong in ["{}", "1", "[1,", "[1,2,3,,]", "[\"a\"]"] {
            assert!(serde_json::from_str::<Bounded<u8, 3>>(wrong).is_err(), "{wrong}");
        }
    }
}
