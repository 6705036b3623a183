//! The claim of a run that examines a state in order to take it over. A run that commits many times
//! a second would otherwise change the tables during each examination, and no other run could ever
//! take its place.

use std::time::Duration;

use super::fence::{ClaimObject, Fence, Successors};
use crate::error::Result;
use crate::store::Store;
use crate::sync::{elapsed, now, pause};

/// The longest time for which a claim delays a commit after its last renewal. The claiming run may
/// have died.
pub(super) const CLAIM_TIMEOUT: Duration = Duration::from_secs(15);
/// Time between two looks at the claims.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A claim on the next generation of a state. It ends when it is dropped.
pub(crate) struct Claim {
    store: Store,
    path: String,
    /// Number of renewals, which is the size of the object.
    renewals: usize,
}

impl Claim {
    /// Claims `generation`: the run of the one before holds its commits back. `name` is unique.
    ///
    /// # Errors
    /// When the claim can't be written.
    pub(crate) fn put(store: &Store, generation: u64, name: &str) -> Result<Self> {
        let path = format!("gen/{generation:020}.{name}");
        store.put(&path, b"")?;
        Ok(Claim { store: store.clone(), path, renewals: 0 })
    }

    /// Shows that this run goes on.
    ///
    /// # Errors
    /// When the claim can't be written.
    pub(crate) fn renew(&mut self) -> Result<()> {
        self.renewals += 1;
        self.store.put(&self.path, &vec![b'.'; self.renewals])
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = self.store.delete(&self.path) {
            tracing::warn!(%error, "a claim on the state remains; it has no effect later");
        }
    }
}

/// The claims for which a run has waited long enough.
#[derive(Default)]
pub(super) struct ExpiredClaims(Vec<ClaimObject>);

impl ExpiredClaims {
    /// Waits while another run claims the state, for `longest` at most after each renewal, and
    /// returns false once a newer run has begun.
    ///
    /// # Errors
    /// When the generations can't be listed.
    pub(super) fn wait(&mut self, fence: &Fence, longest: Duration) -> Result<bool> {
        let (mut since, mut seen) = (now(), Vec::new());
        loop {
            let Successors { has_begun, mut claims } = fence.successors()?;
            claims.retain(|claim| !self.0.contains(claim));
            if has_begun || claims.is_empty() {
                return Ok(!has_begun);
            }
            if claims != seen {
                (since, seen) = (now(), claims.clone());
            }
            if elapsed(since) >= longest {
                tracing::warn!(?claims, "another run claims the state and does not take it over");
                self.0.extend(claims);
                return Ok(true);
            }
            pause(POLL_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::spawn;

    use super::*;
    use crate::durable::{Ledger, Manifest, TopologyRecord};
    use crate::error::ErrorKind;
    use crate::secret::Secret;

    fn ledger(store: &Store) -> Ledger {
        let topology = TopologyRecord::default();
        Ledger::find(store.clone(), "pins", &topology, "1", Secret::new([1; 16])).unwrap()
    }

    fn begun(store: &Store) -> Ledger {
        let mut ledger = ledger(store);
        assert!(ledger.begin().unwrap());
        ledger
    }

    #[test]
    fn a_commit_waits_for_the_run_that_claims_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let (mut first, mut second) = (begun(&store), ledger(&store));
        let claim = second.claim("a").unwrap();
        let commit = spawn(move || first.commit(Manifest::after(&first)));
        assert!(second.begin().unwrap(), "nothing was committed since the second looked");
        drop(claim);
        assert_eq!(commit.join().unwrap().unwrap_err().kind(), ErrorKind::Superseded);
    }

    #[test]
    fn a_commit_goes_on_after_a_claim_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let mut first = begun(&store);
        let claim = ledger(&store).claim("a").unwrap();
        let commit = spawn(move || first.commit(Manifest::after(&first)));
        drop(claim);
        commit.join().unwrap().unwrap();
        assert!(ledger(&store).last.is_some());
    }

    #[test]
    fn a_claim_of_a_dead_run_delays_one_commit() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let (first, mut expired) = (begun(&store), ExpiredClaims::default());
        let mut claim = ledger(&store).claim("a").unwrap();
        assert!(expired.wait(&first.fence(), Duration::ZERO).unwrap());
        assert!(expired.wait(&first.fence(), Duration::MAX).unwrap());
        claim.renew().unwrap();
        let claims = first.fence().successors().unwrap().claims;
        assert!(!expired.0.contains(&claims[0]), "a run that goes on is waited for again");
        let mut second = begun(&store);
        assert!(!expired.wait(&first.fence(), Duration::ZERO).unwrap());
        second.commit(Manifest::after(&second)).unwrap();
    }
}
