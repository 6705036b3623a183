//! Floats as their bits, because JSON has neither NaN nor infinities and readers round other
//! floats.

/// One float.
pub(super) mod one {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

/// An array of floats.
pub(super) mod many {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| value.to_bits()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let bits = Vec::<u64>::deserialize(from)?;
        Ok(bits.into_iter().map(f64::from_bits).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::row::Value;

    #[test]
    fn every_float_survives_json() {
        let odd = [f64::NAN, -f64::NAN, f64::INFINITY, -0.0, 5e-324, 0.1 + 0.2, f64::MAX];
        let row: Vec<Value> =
            odd.into_iter().map(Value::Double).chain([Value::Doubles(odd.to_vec())]).collect();
        let json = serde_json::to_vec(&row).unwrap();
        assert_eq!(serde_json::from_slice::<Vec<Value>>(&json).unwrap(), row);
    }
}
