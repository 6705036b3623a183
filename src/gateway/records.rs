//! The records of a request, as many as it may have, and what is answered of them; neither is ever
//! held as a tree.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// An array of which `MOST` elements are kept. The others are only counted: a small body may have
/// many that are smaller still.
pub(super) struct Bounded<T, const MOST: usize> {
    pub(super) kept: Vec<T>,
    /// How many elements the array has.
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

/// A list of one answer for each element. Each is made when it is written, and gone after.
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
    fn what_is_too_much_is_counted_and_not_kept() {
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
