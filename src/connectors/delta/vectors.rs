//! Deletion vectors: the dead rows of files, in the binary format of Delta's protocol.
//!
//! A file of vectors is a byte 1, then for each: its size (u32, big-endian), its body, the CRC-32
//! of the body (u32, big-endian). A body is a magic number (u32, little-endian) and a 64-bit
//! Roaring bitmap in the portable format.

use roaring::RoaringTreemap;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{Advice, Error, Result};
use crate::store::Store;

use super::rows::{CHANGED, GONE};

const MAGIC: u32 = 1_681_511_377;

/// Encodes several vectors as one file. Returns its bytes, and the descriptor of each vector.
///
/// # Errors
/// When the vectors are too large for the format.
pub(super) fn encode(vectors: &[&RoaringTreemap], id: Uuid) -> Result<(Vec<u8>, Vec<Value>)> {
    let (mut file, mut descriptors) = (vec![1], Vec::new());
    let failed = |e| Error::internal("can't encode deletion vectors").because(e);
    for vector in vectors {
        let offset = file.len();
        let mut body = MAGIC.to_le_bytes().to_vec();
        vector.serialize_into(&mut body).map_err(|e| failed(e.into()))?;
        let size = i32::try_from(body.len())
            .map_err(|e| failed(Box::<dyn std::error::Error + Send + Sync>::from(e)))?;
        file.extend_from_slice(&size.to_be_bytes());
        file.extend_from_slice(&body);
        file.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        descriptors.push(json!({
            "storageType": "u",
            "pathOrInlineDv": z85::encode(id.as_bytes()),
            "offset": offset,
            "sizeInBytes": size,
            "cardinality": vector.len(),
        }));
    }
    Ok((file, descriptors))
}

/// Returns the id of the vectors of commit `n` in run `generation`: the two numbers, so that no
/// other commit has it.
pub(super) fn id(generation: u64, n: u64) -> Uuid {
    Uuid::from_u64_pair(generation, n)
}

/// Returns the id of the vectors of the run's compaction `n`: commits count up, compactions down.
pub(super) fn compaction(generation: u64, n: u64) -> Uuid {
    id(generation, u64::MAX - n)
}

/// Returns the name of the file of vectors with `id`.
pub(super) fn name(id: Uuid) -> String {
    format!("deletion_vector_{id}.bin")
}

/// Returns the number of the run that wrote the file of vectors `path`, if this library wrote it.
pub(super) fn generation(path: &str) -> Option<u64> {
    let id = path.strip_prefix("deletion_vector_")?.strip_suffix(".bin")?;
    Uuid::parse_str(id).ok().map(|id| id.as_u64_pair().0)
}

/// Returns the name of the file that `descriptor` refers to; `None` if the vector is in the log
/// itself.
///
/// # Errors
/// For a descriptor of a kind that this library does not write.
pub(super) fn path(descriptor: &Value) -> Result<Option<String>> {
    let place = descriptor["pathOrInlineDv"].as_str().unwrap_or_default();
    match descriptor["storageType"].as_str() {
        Some("i") => Ok(None),
        Some("u") if place.len() >= 20 && place.is_ascii() => {
            let (prefix, id) = place.split_at(place.len() - 20);
            let id = z85::decode(id).ok().and_then(|id| Uuid::from_slice(&id).ok());
            let id = id.ok_or_else(|| {
                Error::data(format!("can't read the deletion vector's id {place}"))
            })?;
            Ok(Some(if prefix.is_empty() { name(id) } else { format!("{prefix}/{}", name(id)) }))
        }
        _ => Err(Error::data(format!("can't find the deletion vector {descriptor}"))),
    }
}

/// Reads the vector that `descriptor` refers to.
///
/// # Errors
/// When it can't be read, or does not match the descriptor.
pub(super) fn load(store: &Store, descriptor: &Value) -> Result<RoaringTreemap> {
    let broken = || {
        Error::data(format!("the deletion vector {descriptor} in {} is broken", store.name("")))
            .hint(CHANGED)
            .advise(Advice::EarlierCommit)
    };
    let number = |name: &str| {
        descriptor[name].as_u64().and_then(|v| u32::try_from(v).ok()).ok_or_else(broken)
    };
    let length = number("sizeInBytes")?;
    let size = length as usize;
    let body = match path(descriptor)? {
        None => {
            let mut body = z85::decode(descriptor["pathOrInlineDv"].as_str().unwrap_or_default())
                .map_err(|e| broken().because(e))?;
            body.truncate(size);
            body
        }
        Some(path) => {
            let from = u64::from(number("offset")?);
            let range = from..from + u64::from(length) + 8;
            let read = store
                .get_range(&path, range)?
                .ok_or_else(|| Error::data(format!("{} is gone", store.name(&path))).hint(GONE))?;
            let body = read.get(4..4 + size).ok_or_else(broken)?;
            let sum = read.get(4 + size..8 + size).ok_or_else(broken)?;
            if read[..4] != length.to_be_bytes() || sum != crc32fast::hash(body).to_be_bytes() {
                return Err(broken());
            }
            body.to_vec()
        }
    };
    let bitmap = body.strip_prefix(&MAGIC.to_le_bytes()).ok_or_else(broken)?;
    let vector = RoaringTreemap::deserialize_from(bitmap).map_err(|e| broken().because(e))?;
    if Some(vector.len()) != descriptor["cardinality"].as_u64() {
        Err(broken())
    } else {
        Ok(vector)
    }
}

/// Dead rows as text, for the brief of writers, which then read no file of vectors.
pub(super) mod text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use roaring::RoaringTreemap;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        dead: &RoaringTreemap,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(dead.serialized_size());
        dead.serialize_into(&mut bytes).map_err(S::Error::custom)?;
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<RoaringTreemap, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)?;
        RoaringTreemap::deserialize_from(&bytes[..]).map_err(D::Error::custom)
    }
}
