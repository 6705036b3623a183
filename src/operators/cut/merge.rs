//! The merge of layers: the rows of one bucket, from the oldest layer to the youngest, become one
//! row a key.

use std::ops::Range;

use hashbrown::HashMap;

use super::{Merge, read_column, read_keys};
use crate::error::{Error, Result};

/// Bytes of a block: the number of the layer, and their range.
#[derive(Clone)]
struct Span {
    layer: usize,
    range: Range<usize>,
}

impl Span {
    fn of(layer: usize, block: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr() as usize - block.as_ptr() as usize;
        Span { layer, range: start..start + part.len() }
    }

    fn get<'a>(&self, blocks: &'a [Vec<u8>]) -> &'a [u8] {
        &blocks[self.layer][self.range.clone()]
    }
}

/// The ids of the keys of one layer, by the places of the keys.
enum LayerIds {
    /// The id is the place. There are so many keys.
    Places(usize),
    Mapped(Vec<u32>),
}

/// The ids of the keys of one bucket in each layer.
pub(crate) struct KeyIds {
    layers: Vec<LayerIds>,
    count: usize,
}

impl KeyIds {
    fn id(&self, layer: usize, place: u32) -> Option<usize> {
        match self.layers.get(layer)? {
            LayerIds::Places(count) => Some(place as usize).filter(|place| place < count),
            LayerIds::Mapped(ids) => ids.get(place as usize).map(|id| *id as usize),
        }
    }
}

/// The keys of one bucket of a keyspace. An id is the number of a key, from 0.
pub(crate) struct BucketKeys {
    blocks: Vec<Vec<u8>>,
    unique: Vec<Span>,
    pub(crate) ids: KeyIds,
}

impl BucketKeys {
    /// Numbers the keys of blocks, one a layer. Each block comes with a flag: it is true if no key
    /// is in it twice.
    ///
    /// # Errors
    /// When a block is malformed.
    pub(crate) fn of(blocks: Vec<(Vec<u8>, bool)>) -> Result<Self> {
        let used = blocks.iter().filter(|(block, _)| !block.is_empty()).count();
        let (mut unique, mut layers) = (Vec::new(), Vec::new());
        let mut known: HashMap<&[u8], u32> = HashMap::new();
        for (layer, (block, is_merged)) in blocks.iter().enumerate() {
            let read = if used == 1 && *is_merged {
                let read = read_keys(block, |key| unique.push(Span::of(layer, block, key)));
                layers.push(LayerIds::Places(unique.len()));
                read
            } else {
                let mut ids = Vec::new();
                if known.is_empty() {
                    // Few keys are longer than a number.
                    known.reserve(block.len() / size_of::<u64>());
                }
                let read = read_keys(block, |key| {
                    let id = *known.entry(key).or_insert_with(|| {
                        unique.push(Span::of(layer, block, key));
                        unique.len() as u32 - 1
                    });
                    ids.push(id);
                });
                layers.push(LayerIds::Mapped(ids));
                read
            };
            read.ok_or_else(malformed)?;
        }
        drop(known);
        let ids = KeyIds { layers, count: unique.len() };
        let blocks = blocks.into_iter().map(|(block, _)| block).collect();
        Ok(BucketKeys { blocks, unique, ids })
    }

    /// Returns the number of keys.
    pub(crate) fn len(&self) -> usize {
        self.unique.len()
    }

    /// Returns the keys, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.unique.iter().map(|span| span.get(&self.blocks))
    }
}

/// The current values of a cut for the keys of one bucket, by their ids.
pub(crate) struct MergedColumn(Values);

enum Values {
    /// The last value of each key that has any; none is a deleted row.
    Latest { blocks: Vec<Vec<u8>>, values: Vec<Option<Option<Span>>> },
    /// The sums of the values.
    Sums(Vec<i64>),
}

impl MergedColumn {
    /// Calls `each` with the id and the last value of each key; none is a deleted row.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn for_each(
        &self,
        mut each: impl FnMut(usize, Option<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        match &self.0 {
            Values::Latest { blocks, values } => {
                for (id, value) in values.iter().enumerate() {
                    if let Some(value) = value {
                        each(id, value.as_ref().map(|span| span.get(blocks)))?;
                    }
                }
            }
            Values::Sums(sums) => {
                for (id, sum) in sums.iter().enumerate().filter(|(_, sum)| **sum != 0) {
                    let sum = postcard::to_stdvec(sum)
                        .map_err(|e| Error::internal("can't encode a number").because(e))?;
                    each(id, Some(&sum))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the sum of a key, unless it is 0.
    pub(crate) fn sum(&self, id: usize) -> Option<i64> {
        match &self.0 {
            Values::Latest { .. } => None,
            Values::Sums(sums) => sums.get(id).copied().filter(|sum| *sum != 0),
        }
    }
}

/// Merges the blocks of a cut, one a layer from the oldest to the youngest. `ids` are those of the
/// keys of the same layers.
///
/// # Errors
/// When a block is malformed.
pub(crate) fn read_merged(rule: Merge, blocks: Vec<Vec<u8>>, ids: &KeyIds) -> Result<MergedColumn> {
    let mut values: Vec<Option<Option<Span>>> = Vec::new();
    let mut sums: Vec<i64> = Vec::new();
    match rule {
        Merge::Latest => values.resize(ids.count, None),
        Merge::Sum => sums.resize(ids.count, 0),
    }
    for (layer, block) in blocks.iter().enumerate() {
        let mut failed = None;
        let read = read_column(block, |place, value| {
            let Some(id) = ids.id(layer, place) else {
                failed = Some(malformed());
                return;
            };
            match rule {
                Merge::Latest => {
                    values[id] = Some(value.map(|value| Span::of(layer, block, value)));
                }
                Merge::Sum => match add(sums[id], value) {
                    Ok(sum) => sums[id] = sum,
                    Err(error) => failed = Some(error),
                },
            }
        });
        if let Some(error) = failed.or_else(|| read.is_none().then(malformed)) {
            return Err(error);
        }
    }
    Ok(MergedColumn(match rule {
        Merge::Latest => Values::Latest { blocks, values },
        Merge::Sum => Values::Sums(sums),
    }))
}

fn add(sum: i64, diff: Option<&[u8]>) -> Result<i64> {
    let diff: i64 = diff
        .and_then(|diff| postcard::from_bytes(diff).ok())
        .ok_or_else(|| Error::data("a snapshot has a row without a number"))?;
    sum.checked_add(diff).ok_or_else(|| Error::data("a snapshot has more than 2^63 equal rows"))
}

fn malformed() -> Error {
    Error::data("a snapshot has rows that can't be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::cut::{ColumnPart, KeyList};

    fn keys(keys: &[&str]) -> Vec<u8> {
        let mut list = KeyList::default();
        for key in keys {
            list.push(key.as_bytes());
        }
        list.bytes
    }

    fn column(rows: &[(u32, Option<&[u8]>)]) -> Vec<u8> {
        let mut column = ColumnPart::default();
        rows.iter().for_each(|(place, value)| column.push(*place, *value));
        column.bytes
    }

    fn merged(
        rule: Merge,
        keys: &BucketKeys,
        blocks: Vec<Vec<u8>>,
    ) -> Vec<(String, Option<Vec<u8>>)> {
        let mut rows = Vec::new();
        let names: Vec<&[u8]> = keys.iter().collect();
        let column = read_merged(rule, blocks, &keys.ids).unwrap();
        let each = |id: usize, value: Option<&[u8]>| {
            let key = String::from_utf8(names[id].to_vec()).unwrap();
            rows.push((key, value.map(<[u8]>::to_vec)));
            Ok(())
        };
        column.for_each(each).unwrap();
        rows
    }

    #[test]
    fn the_last_value_of_the_youngest_layer_counts() {
        let lists = vec![(keys(&["a", "b", "c"]), true), (keys(&["c", "d", "c", "a"]), false)];
        let keys = BucketKeys::of(lists).unwrap();
        let old = column(&[(0, Some(b"1")), (1, Some(b"2")), (2, Some(b"3"))]);
        let young = column(&[(0, Some(b"4")), (1, None), (2, Some(b"5")), (3, None)]);
        let expected = [("a", None), ("b", Some("2")), ("c", Some("5")), ("d", None)];
        let expected =
            expected.map(|(key, value)| (key.into(), value.map(|v| v.as_bytes().to_vec())));
        assert_eq!(merged(Merge::Latest, &keys, vec![old, young]), expected);
    }

    #[test]
    fn equal_data_are_added_and_vanish_at_0() {
        let lists = vec![(keys(&["a", "b"]), true), (keys(&["b", "a", "b"]), false)];
        let keys = BucketKeys::of(lists).unwrap();
        let number = |n: i64| postcard::to_stdvec(&n).unwrap();
        let (one, two, minus) = (number(1), number(2), number(-3));
        let old = column(&[(0, Some(&one)), (1, Some(&two))]);
        let young = column(&[(0, Some(&two)), (1, Some(&two)), (2, Some(&minus))]);
        let expected = [("a".into(), Some(number(3))), ("b".into(), Some(number(1)))];
        assert_eq!(merged(Merge::Sum, &keys, vec![old.clone(), young]), expected);
        let gone = column(&[(1, Some(&minus)), (0, Some(&number(-2)))]);
        let three = column(&[(0, Some(&number(3))), (1, Some(&two))]);
        assert_eq!(merged(Merge::Sum, &keys, vec![three, gone]), []);
    }

    #[test]
    fn a_value_without_a_key_is_an_error() {
        let keys = BucketKeys::of(vec![(keys(&["a"]), true)]).unwrap();
        assert!(read_merged(Merge::Latest, vec![column(&[(1, None)])], &keys.ids).is_err());
        assert!(read_merged(Merge::Sum, vec![column(&[(0, None)])], &keys.ids).is_err());
        assert!(BucketKeys::of(vec![(vec![5, 1], true)]).is_err());
    }
}
