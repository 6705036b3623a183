//! [`Word`]: a text that is kept once, for keys and values that repeat.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{LazyLock, Mutex};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sync::lock;

/// A text that is kept once in the process and never freed: copied, compared for equality and
/// hashed like a number.
///
/// It is for texts of which there are few different ones, such as names of countries. The hash is
/// that of the place where the text is kept, so that nobody can write texts of one hash; it is
/// another one in each process.
///
/// ```
/// use watershed::serdes::Word;
/// let [one, again, other] = ["Chile", "Chile", "Peru"].map(Word::from);
/// assert!(one == again && one < other && one.as_str() == "Chile");
/// ```
#[derive(Clone, Copy)]
pub struct Word(&'static Kept);

/// A text, and its beginning beside it: most comparisons end there.
struct Kept {
    beginning: u64,
    text: Box<str>,
}

impl Kept {
    fn new(text: &str) -> Self {
        let mut beginning = [0; 8];
        beginning.iter_mut().zip(text.bytes()).for_each(|(to, byte)| *to = byte);
        Kept { beginning: u64::from_be_bytes(beginning), text: text.into() }
    }
}

/// How many parts the words of a process are in, so that its threads seldom wait for one another.
const PARTS: usize = 64;

/// All words of the process.
struct Words {
    /// Drawn from the operating system, as texts come from strangers.
    hashes: SeedableRandomState,
    parts: [Mutex<HashTable<Place>>; PARTS],
}

/// A text in the table, with its hash: texts need not be read again when the table grows.
struct Place {
    hash: u64,
    kept: &'static Kept,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let random = || RandomState::new().hash_one("words");
    let shared = Box::leak(Box::new(SharedSeed::from_u64(random())));
    let parts = std::array::from_fn(|_| Mutex::new(HashTable::new()));
    Words { hashes: SeedableRandomState::with_seed(random(), shared), parts }
});

impl Word {
    /// The text.
    pub fn as_str(&self) -> &'static str {
        &self.0.text
    }

    fn place(self) -> usize {
        std::ptr::from_ref(self.0).addr()
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        let Words { hashes, parts } = &*WORDS;
        let hash = hashes.hash_one(text);
        // Neither the lowest nor the highest bits, which choose the place within the part.
        let mut part = lock(&parts[(hash >> 40) as usize % PARTS]);
        let is_there = |place: &Place| place.hash == hash && *place.kept.text == *text;
        match part.entry(hash, is_there, |place| place.hash) {
            Entry::Occupied(entry) => Word(entry.get().kept),
            Entry::Vacant(entry) => {
                let kept: &'static Kept = Box::leak(Box::new(Kept::new(text)));
                entry.insert(Place { hash, kept });
                Word(kept)
            }
        }
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Word {}

impl Hash for Word {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl PartialOrd for Word {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Word {
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other {
            return Ordering::Equal;
        }
        self.0.beginning.cmp(&other.0.beginning).then_with(|| self.0.text.cmp(&other.0.text))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer).map(|text| Word::from(&*text))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn equal_texts_are_one_word_on_all_threads() {
        let words =
            || (0..10_000).map(|n| Word::from(format!("word {n}").as_str())).collect::<Vec<_>>();
        let threads =
            [0; 4].map(|_| std::thread::spawn(words)).map(|thread| thread.join().unwrap());
        assert!(threads.iter().all(|found| *found == threads[0]));
        assert_eq!(
            threads[0].iter().map(|word| word.place()).collect::<BTreeSet<_>>().len(),
            10_000
        );
        assert!(
            threads[0].iter().enumerate().all(|(n, word)| word.as_str() == format!("word {n}"))
        );
    }

    #[test]
    fn words_are_in_the_order_of_their_texts() {
        let texts = [
            "",
            "\0",
            "a",
            "a\0",
            "a\0b",
            "ab",
            "abcdefgh",
            "abcdefgh\0",
            "abcdefghi",
            "abcdefgi",
            "b",
            "ä",
            "äöüß€ a",
            "äöüß€ b",
        ];
        let words: BTreeSet<Word> = texts.iter().rev().map(|text| Word::from(*text)).collect();
        assert_eq!(words.iter().map(Word::as_str).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn a_word_is_read_as_it_was_written() {
        let word = Word::from("say \"Chile\"");
        let json = serde_json::to_string(&word).unwrap();
        assert_eq!(
            (serde_json::from_str::<Word>(&json).unwrap(), word.to_string().as_str()),
            (word, word.as_str())
        );
        assert_eq!(serde_json::from_reader::<_, Word>(json.as_bytes()).unwrap(), word);
    }
}
