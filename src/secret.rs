//! [`Secret`]: a key that belongs to a state, so that the authors of records can't predict digests.

use std::fmt;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13 as Sip64;
use siphasher::sip128::SipHasher13 as Sip128;

/// The key of all digests that decide something, and of all hash maps whose keys come from records.
///
/// A state gets its secret when it is created, and every later run reads it from there. All workers
/// of a run use the same one. The digests are SipHash-1-3: for 100 to 1,000 bytes it takes 21 to
/// 156 ns, HighwayHash 42 to 122 and keyed BLAKE3 151 to 1,293.
///
/// ```
/// use watershed::Secret;
///
/// let secret = Secret::new(*b"0123456789abcdef");
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(u64, u64);

impl Secret {
    /// Returns the secret of 16 bytes. They must be random if strangers can write records.
    pub const fn new(bytes: [u8; 16]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        Secret(whole as u64, (whole >> 64) as u64)
    }

    /// Returns the keyed 128-bit digest of `bytes`: the same in every run from one state, on every
    /// machine.
    pub(crate) fn digest_of(self, bytes: &[u8]) -> u128 {
        Sip128::new_with_keys(self.0, self.1).hash(bytes).as_u128()
    }

    /// Returns a keyed 64-bit hasher. Bytes that are written in several pieces count as one text.
    pub(crate) fn hasher(self) -> impl Hasher {
        Sip64::new_with_keys(self.0, self.1)
    }

    /// Returns the seed of the hash maps for `purpose`: two purposes get unrelated seeds.
    pub(crate) fn seed(self, purpose: &str) -> u64 {
        Sip64::new_with_keys(self.1, self.0).hash(purpose.as_bytes())
    }
}

/// Hides the key, because more people read a log than a state.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        format!("{:016x}{:016x}", secret.1, secret.0)
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let whole = digits.then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        whole
            .map(|whole| Secret::new(whole.to_le_bytes()))
            .ok_or("a secret is 32 hexadecimal digits")
    }
}

#[cfg(test)]
#[path = "../tests/support/twins.rs"]
pub(crate) mod twins;

#[cfg(test)]
mod tests {
    use super::twins::twins;
    use super::*;

    const SECRET: Secret = Secret::new(*b"0123456789abcdef");

    #[test]
    fn a_secret_is_read_as_it_was_written_and_never_shown() {
        let text = serde_json::to_string(&SECRET).unwrap();
        assert_eq!(text, "\"66656463626139383736353433323130\"");
        assert_eq!(serde_json::from_str::<Secret>(&text).unwrap(), SECRET);
        for wrong in ["\"\"", "\"+6656463626139383736353433323130\"", "7", "\"66\"", "null"] {
            assert!(serde_json::from_str::<Secret>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format!("{SECRET:?}"), "Secret(..)");
    }

    #[test]
    fn a_digest_is_the_same_in_every_version() {
        assert_eq!(SECRET.digest_of(b""), 330_242_497_195_911_023_826_906_078_840_543_874_600);
        assert_eq!(
            SECRET.digest_of(b"to be or not"),
            144_679_534_535_695_391_989_696_651_191_574_722_911
        );
    }

    #[test]
    fn texts_that_collide_without_a_key_differ_with_one() {
        for before in 0..64 {
            let texts = twins(before).map(|text| format!("{}{text}", "-".repeat(before)));
            let [one, other] = texts.each_ref().map(|text| text.as_bytes());
            assert_eq!(
                xxhash_rust::xxh3::xxh3_128(one),
                xxhash_rust::xxh3::xxh3_128(other),
                "{before}"
            );
            assert_ne!(one, other);
            assert_ne!(SECRET.digest_of(one), SECRET.digest_of(other));
        }
    }
}
