//! [`Word`]: a text that is kept once, for keys and values that repeat.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{LazyLock, Mutex};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::borrowed::Text;
use crate::sync::lock;

/// A text that is kept once in the process and never freed: copied and compared for equality like a
/// number.
///
/// It is for texts of which there are few different ones, such as names of countries. Its hash is
/// that of the text and of nothing else: all processes that share a hasher's seed agree on it.
///
/// ```
/// use watershed::serdes::Word;
/// let [one, again, other] = ["Chile", "Chile", "Peru"].map(Word::from);
/// assert!(one == again && one < other && one.as_str() == "Chile");
/// ```
#[derive(Clone, Copy)]
pub struct Word(&'static Kept);

/// Bytes of a text that its head holds.
const HEAD: usize = 15;

/// A text with its head beside it: most comparisons and most hashes need no more.
struct Kept {
    /// The first 15 bytes, padded with zeros, and the number of bytes, at most 16. Two words in
    /// big-endian order: a text of at most 15 bytes is its head, and heads sort as texts do.
    head: [u64; 2],
    text: &'static str,
}

impl Kept {
    /// Returns the head of a text.
    fn head(text: &str) -> [u64; 2] {
        let mut head = [0; HEAD + 1];
        let length = text.len().min(HEAD);
        head[..length].copy_from_slice(&text.as_bytes()[..length]);
        head[HEAD] = text.len().min(HEAD + 1) as u8;
        let head = u128::from_be_bytes(head);
        [(head >> 64) as u64, head as u64]
    }

    /// Returns true if this is the text. The memory of a short text is not read.
    fn is(&self, text: &str) -> bool {
        self.head == Kept::head(text) && (!self.is_long() || self.text == text)
    }

    /// Returns true if the head is not all of the text.
    fn is_long(&self) -> bool {
        self.text.len() > HEAD
    }
}

/// How many parts the words of a process are in, so that its threads seldom wait for one another.
const PARTS: usize = 64;

/// All words of the process.
struct Words {
    /// Drawn from the operating system, as texts come from strangers.
    hashes: SeedableRandomState,
    parts: [Mutex<Part>; PARTS],
}

/// Some of the words, by the hashes of their texts.
#[derive(Default)]
struct Part {
    words: HashTable<Place>,
    memory: Memory,
}

/// Memory for words. It is taken in larger pieces, because each piece costs 16 bytes and up to 15
/// more to round its length.
#[derive(Default)]
struct Memory {
    kept: &'static mut [Kept],
    texts: &'static mut [u8],
}

/// The number of heads in a piece of memory.
const PIECE_WORDS: usize = 64;

/// The bytes of a piece of memory for texts. A text longer than an eighth has a piece of its own.
const PIECE_BYTES: usize = 1 << 10;

impl Memory {
    /// Keeps a text for ever.
    fn keep(&mut self, text: &str) -> &'static Kept {
        if self.kept.is_empty() {
            let pieces = (0..PIECE_WORDS).map(|_| Kept { head: [0; 2], text: "" });
            self.kept = Box::leak(pieces.collect());
        }
        let kept = Kept { head: Kept::head(text), text: self.copy(text) };
        match std::mem::take(&mut self.kept).split_first_mut() {
            Some((place, rest)) => {
                *place = kept;
                self.kept = rest;
                place
            }
            None => Box::leak(Box::new(kept)),
        }
    }

    fn copy(&mut self, text: &str) -> &'static str {
        if text.len() > PIECE_BYTES / 8 {
            return Box::leak(text.into());
        }
        if self.texts.len() < text.len() {
            self.texts = Box::leak(Box::new([0; PIECE_BYTES]));
        }
        let (copy, rest) = std::mem::take(&mut self.texts).split_at_mut(text.len());
        self.texts = rest;
        copy.copy_from_slice(text.as_bytes());
        // The copy of a text is a text.
        std::str::from_utf8(copy).unwrap_or_else(|_| Box::leak(text.into()))
    }
}

/// A text in the table, with its hash: texts need not be read again when the table grows.
struct Place {
    hash: u64,
    kept: &'static Kept,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let random = || RandomState::new().hash_one("words");
    let shared = Box::leak(Box::new(SharedSeed::from_u64(random())));
    let parts = std::array::from_fn(|_| Mutex::default());
    Words { hashes: SeedableRandomState::with_seed(random(), shared), parts }
});

impl Word {
    /// The text.
    pub fn as_str(&self) -> &'static str {
        self.0.text
    }

    fn place(self) -> usize {
        std::ptr::from_ref(self.0).addr()
    }
}

/// A recent word of a thread, with the hash of its text.
type Recent = Option<(u64, Word)>;

/// How many recent words a thread has. Few words are most of the words of a column, and threads
/// that look them up in one table wait for its memory to move between their processors.
const RECENT_WORDS: usize = 1024;

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        thread_local! {
            static RECENT: RefCell<Vec<Recent>> = const { RefCell::new(Vec::new()) };
        }
        let words = &*WORDS;
        let hash = words.hashes.hash_one(text);
        RECENT.with_borrow_mut(|recent| {
            if recent.is_empty() {
                recent.resize(RECENT_WORDS, None);
            }
            let recent = &mut recent[(hash >> 48) as usize % RECENT_WORDS];
            match recent {
                Some((other, word)) if *other == hash && word.0.is(text) => *word,
                _ => {
                    let word = words.word(hash, text);
                    *recent = Some((hash, word));
                    word
                }
            }
        })
    }
}

impl Words {
    /// Returns the word of a text, which is kept from now on.
    fn word(&self, hash: u64, text: &str) -> Word {
        // Neither the lowest nor the highest bits, which choose the place within the part.
        let Part { words, memory } = &mut *lock(&self.parts[(hash >> 40) as usize % PARTS]);
        let is_there = |place: &Place| place.hash == hash && place.kept.is(text);
        match words.entry(hash, is_there, |place| place.hash) {
            Entry::Occupied(entry) => Word(entry.get().kept),
            Entry::Vacant(entry) => {
                let kept = memory.keep(text);
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
        let [first, second] = self.0.head;
        state.write_u64(first);
        state.write_u64(second);
        if self.0.is_long() {
            self.0.text.hash(state);
        }
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
        self.0.head.cmp(&other.0.head).then_with(|| self.0.text.cmp(other.0.text))
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
        Text::deserialize(deserializer).map(|Text(text)| Word::from(&*text))
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
            "abcdefghijklmn",
            "abcdefghijklmno",
            "abcdefghijklmno\0",
            "abcdefghijklmnop",
            "abcdefghijklmnopq",
            "abcdefghijklmnp",
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
    fn a_hash_depends_on_the_text_alone() {
        let hash = |text: &str| {
            let mut hasher = siphasher::sip::SipHasher13::new_with_keys(1, 2);
            Word::from(text).hash(&mut hasher);
            hasher.finish()
        };
        // Written down by another process: where the texts are kept is not in it.
        assert_eq!(
            ["", "Chile", "the United Kingdom"].map(hash),
            [2_001_325_220_261_038_909, 17_629_996_041_418_034_276, 12_966_760_251_952_017_958]
        );
        let texts = (0..300).map(|n| "ab".repeat(n / 10) + &"\0".repeat(n % 10));
        let hashes: BTreeSet<u64> = texts.map(|text| hash(&text)).collect();
        assert_eq!(hashes.len(), 300);
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
