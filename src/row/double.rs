//! [`Double`]: a 64-bit float for keys and values.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// A 64-bit float with equality, order and hash, as keys and values of a dataflow need them.
///
/// Equality is that of SQL: there is one zero and one NaN, and NaN is greater than every number. A
/// [`Double`] made of `-0.0` holds `0.0`, and one made of any NaN holds the canonical NaN. So equal
/// values have the same bits, and it does not matter which of them is kept.
///
/// Columns of Delta hold infinite values and NaN. Text formats have no word for them: a sink that
/// writes JSON refuses such a row, and the serde [`Json`](crate::serdes::Json) writes `null`.
///
/// ```
/// use watershed::row::Double;
///
/// let [zero, negative, number, nan] = [0.0, -0.0, 2.5, f64::NAN].map(Double::from);
/// assert_eq!(zero, negative);
/// assert_eq!(nan, Double::from(-f64::NAN));
/// assert!(zero < number && number < nan && Double::from(f64::INFINITY) < nan);
/// assert_eq!(number.get(), 2.5);
/// ```
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Double(f64);

impl Double {
    /// Returns the number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl From<f64> for Double {
    fn from(number: f64) -> Self {
        // The sum of two zeros of different signs is the positive one.
        Double(if number.is_nan() { f64::NAN } else { number + 0.0 })
    }
}

impl From<Double> for f64 {
    fn from(number: Double) -> Self {
        number.0
    }
}

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Double {}

impl PartialOrd for Double {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Double {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Double {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Debug for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in ascending order, none equal to another.
    const ASCENDING: [f64; 9] = [
        f64::NEG_INFINITY,
        f64::MIN,
        -1.0,
        -f64::MIN_POSITIVE,
        -0.0,
        5e-324,
        1.5,
        f64::INFINITY,
        f64::NAN,
    ];

    #[test]
    fn doubles_have_a_total_order_with_nan_at_its_end() {
        for (i, a) in ASCENDING.iter().enumerate() {
            for (j, b) in ASCENDING.iter().enumerate() {
                assert_eq!(Double::from(*a).cmp(&Double::from(*b)), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn equal_doubles_have_the_same_bits_and_the_same_hash() {
        let payload = f64::from_bits(0xfff8_0000_0000_0007);
        for (a, b) in [(0.0, -0.0), (f64::NAN, -f64::NAN), (f64::NAN, payload), (1.5, 1.5)] {
            let [a, b] = [a, b].map(Double::from);
            let hash = |number: Double| {
                let mut hasher = std::hash::DefaultHasher::new();
                number.hash(&mut hasher);
                hasher.finish()
            };
            assert_eq!((a, a.get().to_bits(), hash(a)), (b, b.get().to_bits(), hash(b)));
        }
    }

    #[test]
    fn a_double_is_a_json_number_read_in_canonical_form() {
        assert_eq!(serde_json::to_string(&Double::from(2.5)).unwrap(), "2.5");
        let zero: Double = serde_json::from_str("-0.0").unwrap();
        assert_eq!(zero.get().to_bits(), 0);
    }
}
