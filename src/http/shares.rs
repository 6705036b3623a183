//! Permits for slots and body bytes, of which one address holds at most its share.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::sync::lock;

/// The address that stands for a client's network. An IPv6 host chooses freely among the addresses
/// of its /64 network, so all of them count as one.
pub(super) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
        address => address,
    }
}

/// A number of permits, of which each address may hold a share.
pub(super) struct Shares {
    all: Arc<Semaphore>,
    /// Most permits of one address.
    most: usize,
    by_address: Mutex<BTreeMap<IpAddr, Arc<Semaphore>>>,
}

/// Permits of one address, given back on drop.
pub(super) struct Permits {
    of_address: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
}

impl Shares {
    /// Returns `count` permits. An address may hold `percent` of them, and at least one.
    pub(super) fn new(count: usize, percent: u8) -> Self {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        let most = (count as u128 * u128::from(percent.min(100)) / 100).max(1) as usize;
        Shares { all: Arc::new(Semaphore::new(count)), most, by_address: Mutex::default() }
    }

    /// Waits for one permit.
    pub(super) async fn acquire(&self, address: IpAddr) -> Option<Permits> {
        let of_address = self.of(address).acquire_owned().await.ok()?;
        Some(Permits { of_address, of_all: self.all.clone().acquire_owned().await.ok()? })
    }

    /// Returns an empty set of permits, for [`Shares::add`].
    pub(super) fn empty(&self, address: IpAddr) -> Option<Permits> {
        let empty = |of: Arc<Semaphore>| of.try_acquire_many_owned(0).ok();
        Some(Permits { of_address: empty(self.of(address))?, of_all: empty(self.all.clone())? })
    }

    /// Adds `count` permits, and returns false if so many are not free. A count beyond the share of
    /// an address takes the whole share.
    pub(super) fn add(&self, permits: &mut Permits, count: usize) -> bool {
        let Permits { of_address, of_all } = permits;
        let count = count.min(self.most - of_address.num_permits().min(self.most));
        let Ok(count) = u32::try_from(count) else { return false };
        let more = |of: &OwnedSemaphorePermit| of.semaphore().clone().try_acquire_many_owned(count);
        let (Ok(more_of_address), Ok(more_of_all)) = (more(of_address), more(of_all)) else {
            return false;
        };
        of_address.merge(more_of_address);
        of_all.merge(more_of_all);
        true
    }

    fn of(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut by_address = lock(&self.by_address);
        if let Some(own) = by_address.get(&address) {
            return own.clone();
        }
        // An address that holds or awaits a permit has a reference to its semaphore.
        by_address.retain(|_, own| Arc::strong_count(own) > 1);
        by_address.entry(address).or_insert_with(|| Arc::new(Semaphore::new(self.most))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let shares = Shares::new(100, 75);
        let mut held = shares.empty(one).unwrap();
        assert!(shares.add(&mut held, 70) && !shares.add(&mut shares.empty(one).unwrap(), 6));
        let mut more = shares.empty(one).unwrap();
        assert!(shares.add(&mut more, 5) && !shares.add(&mut more, 1));
        let mut others = shares.empty(other).unwrap();
        assert!(shares.add(&mut others, 25) && !shares.add(&mut others, 1), "all are taken");
        drop((held, more));
        assert!(shares.add(&mut others, 1000), "more than a share needs a share");
        drop(others);
        assert!(shares.add(&mut shares.empty(one).unwrap(), 75));
        drop(shares.empty("10.0.0.3".parse().unwrap()));
        assert_eq!(shares.by_address.lock().unwrap().len(), 1, "idle addresses are forgotten");
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let of = |ip: &str| network_of(ip.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
