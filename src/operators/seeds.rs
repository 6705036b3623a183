//! The seeds of a run's hashes. They are derived from a secret, so that the authors of records
//! can't choose keys that collide.

use std::hash::{BuildHasher, Hash};

use foldhash::SharedSeed;
use foldhash::fast::{FoldHasher, SeedableRandomState};
use hashbrown::HashMap;

use crate::secret::Secret;

/// A hash map in the state of an operator. No result may depend on its order, which differs between
/// secrets.
pub(crate) type Map<K, V> = HashMap<K, V, SeedableRandomState>;

/// The seeds of hash maps and of routing, which are the same on all workers of a run, and the
/// secret from which they are derived.
#[derive(Clone, Copy)]
pub(crate) struct Seeds {
    secret: Secret,
    shared: &'static SharedSeed,
    maps: u64,
    numbers: u64,
    routes: u64,
}

impl Seeds {
    /// Derives the seeds from `secret`. It must be called once a run: hashers refer to 48 bytes
    /// that are never freed.
    pub(crate) fn new(secret: Secret) -> Self {
        Self::over(secret, Box::leak(Box::new(SharedSeed::from_u64(secret.seed("hashes")))))
    }

    /// Returns the seeds of a topology that is only built for its plan and gets no records.
    pub(crate) fn of_a_plan() -> Self {
        Self::over(Secret::new([0; 16]), SharedSeed::global_fixed())
    }

    fn over(secret: Secret, shared: &'static SharedSeed) -> Self {
        let [maps, numbers, routes] =
            ["maps", "numbers", "routes"].map(|purpose| secret.seed(purpose));
        Seeds { secret, shared, maps, numbers, routes }
    }

    /// Returns the secret of the run.
    pub(crate) fn secret(self) -> Secret {
        self.secret
    }

    /// Returns an empty map.
    pub(crate) fn map<K, V>(self) -> Map<K, V> {
        HashMap::with_hasher(SeedableRandomState::with_seed(self.maps, self.shared))
    }

    /// Returns the hash that decides which worker owns a key. Maps have another seed; with the same
    /// one the keys of one worker would collide in its maps.
    pub(crate) fn route<K: Hash>(self, key: &K) -> u64 {
        SeedableRandomState::with_seed(self.routes, self.shared).hash_one(key)
    }

    /// Returns a hasher for the numbers of keys.
    pub(super) fn hasher(self) -> FoldHasher<'static> {
        FoldHasher::with_seed(self.numbers, self.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_collide_with_one_secret_spread_with_another() {
        let [known, other] = [1, 2].map(|byte| Seeds::new(Secret::new([byte; 16])));
        let place =
            |seeds: Seeds, key: &(String, i64)| seeds.map::<(), ()>().hasher().hash_one(key) % 1024;
        let keys = (0..200_000).map(|n: i64| (format!("key {}", n / 9), n));
        let crafted: Vec<_> =
            keys.filter(|key| place(known, key) == 0 && known.route(key) % 4 == 0).collect();
        let colliding = crafted.iter().filter(|key| place(other, key) == 0).count();
        let owned = crafted.iter().filter(|key| other.route(key) % 4 == 0).count();
        assert!(
            crafted.len() > 30 && colliding < 5 && owned * 2 < crafted.len(),
            "{} {colliding} {owned}",
            crafted.len()
        );
    }

    #[test]
    fn all_workers_of_a_run_agree_on_the_owner_of_a_key() {
        let [one, again] = [3, 3].map(|byte| Seeds::new(Secret::new([byte; 16])));
        assert!((0..1000).all(|key: i64| one.route(&key) == again.route(&key)));
    }
}
