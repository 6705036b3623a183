//! [`Dyn`]: the one type of all keys and values of the cases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use watershed::prelude::Double;
use watershed::row::{ColumnType, Put, Row};
use watershed::{Timestamp, Windowed};

/// A value of any type. It is one column of text when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Dyn {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(Double),
    Text(String),
    List(Vec<Dyn>),
    Object(BTreeMap<String, Dyn>),
    /// A key in a window, with the bounds in milliseconds.
    Window(Box<Dyn>, i64, i64),
}

impl Dyn {
    /// Reads a value of a case. A pair is written as a list, or as an object with that name.
    pub(super) fn of(json: &Json) -> Dyn {
        match json {
            Json::Null => Dyn::Null,
            Json::Bool(value) => Dyn::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Dyn::Int(number),
                None => Dyn::float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Dyn::text(text),
            Json::Array(list) => Dyn::List(list.iter().map(Dyn::of).collect()),
            Json::Object(fields) => match (fields.len(), fields.get("pair")) {
                (1, Some(pair)) => Dyn::of(pair),
                _ => Dyn::Object(fields.iter().map(|(k, v)| (k.clone(), Dyn::of(v))).collect()),
            },
        }
    }

    /// Returns a number. One without a fraction is an integer, as in JSON.
    pub(super) fn float(number: f64) -> Dyn {
        if number.fract() == 0.0 && number.abs() < 9e15 {
            return Dyn::Int(number as i64);
        }
        Dyn::Float(number.into())
    }

    pub(super) fn text(text: impl Into<String>) -> Dyn {
        Dyn::Text(text.into())
    }

    /// Reads a value that was written with [`bytes`](Self::bytes), or as a row.
    pub(super) fn read(bytes: &[u8]) -> Dyn {
        serde_json::from_slice(bytes).unwrap()
    }

    /// Returns the bytes of a key or a value in a topic; none of null.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        (*self != Dyn::Null).then(|| serde_json::to_vec(self).unwrap())
    }

    pub(super) fn is_null(&self) -> bool {
        *self == Dyn::Null
    }

    /// Returns the number; 0 of anything else.
    pub(super) fn number(&self) -> f64 {
        match self {
            Dyn::Int(number) => *number as f64,
            Dyn::Float(number) => number.get(),
            _ => 0.0,
        }
    }

    /// Returns the text that functions make of a value.
    pub(super) fn shown(&self) -> String {
        match self {
            Dyn::Null => "null".to_string(),
            Dyn::Bool(value) => value.to_string(),
            Dyn::Int(number) => number.to_string(),
            Dyn::Float(number) => number.get().to_string(),
            Dyn::Text(text) => text.clone(),
            Dyn::List(list) => {
                let parts: Vec<String> = list.iter().map(Dyn::shown).collect();
                format!("[{}]", parts.join(", "))
            }
            Dyn::Object(_) => serde_json::to_string(self).unwrap(),
            Dyn::Window(key, start, end) => format!("[{}@{start}/{end}]", key.shown()),
        }
    }

    /// Returns a field of an object, or an element of a list.
    pub(super) fn field(&self, name: &Json) -> Dyn {
        let found = match (self, name) {
            (Dyn::Object(fields), Json::String(name)) => fields.get(name),
            (Dyn::List(list), Json::Number(at)) => at.as_u64().and_then(|at| list.get(at as usize)),
            _ => None,
        };
        found.cloned().unwrap_or_default()
    }

    /// Returns an element of a list.
    pub(super) fn at(&self, at: usize) -> Dyn {
        match self {
            Dyn::List(list) => list.get(at).cloned().unwrap_or_default(),
            _ => Dyn::Null,
        }
    }
}

impl Row for Dyn {
    fn columns() -> Vec<(ColumnType, bool)> {
        vec![(ColumnType::Text, false)]
    }
    fn put(&self, out: &mut dyn Put) {
        out.text(Some(&serde_json::to_string(self).unwrap()));
    }
}

/// A type of keys.
pub(super) trait Key: watershed::Datum {
    fn to_dyn(&self) -> Dyn;
}

impl Key for Dyn {
    fn to_dyn(&self) -> Dyn {
        self.clone()
    }
}

impl Key for Windowed<Dyn> {
    fn to_dyn(&self) -> Dyn {
        let millis = |at: Timestamp| match at {
            Timestamp::MAX => i64::MAX,
            Timestamp(micros) => micros.div_euclid(1000),
        };
        Dyn::Window(Box::new(self.key.clone()), millis(self.start), millis(self.end))
    }
}
