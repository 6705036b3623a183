//! Slots for connections and room for bytes, of which no address gets more than its share.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore};

use super::Config;

/// How old the oldest connection that waits must be before another takes its place.
const YOUNG: Duration = Duration::from_millis(250);

/// The addresses that count as one: an IPv6 host may choose any of its network's, so there it is
/// the network.
pub(super) fn neighbourhood(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
        address => address,
    }
}

/// So many of a thing, and of these so many for each address.
pub(super) struct Shares {
    all: Arc<Semaphore>,
    most: usize,
    each: Mutex<BTreeMap<IpAddr, Arc<Semaphore>>>,
}

/// Some of a thing, given back when this is dropped.
pub(super) struct Held([OwnedSemaphorePermit; 2]);

impl Shares {
    /// `count` of a thing, of which an address may have `percent`, and one in any case.
    pub(super) fn new(count: usize, percent: u8) -> Self {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        let most = (count as u128 * u128::from(percent.min(100)) / 100).max(1) as usize;
        Shares { all: Arc::new(Semaphore::new(count)), most, each: Mutex::default() }
    }

    /// Gives `who` one when there is one for it.
    pub(super) async fn wait(&self, who: IpAddr) -> Option<Held> {
        let own = self.of(who).acquire_owned().await.ok()?;
        Some(Held([own, self.all.clone().acquire_owned().await.ok()?]))
    }

    /// Gives `who` nothing yet, to which [`Shares::add`] may add.
    pub(super) fn none(&self, who: IpAddr) -> Option<Held> {
        let none = |of: Arc<Semaphore>| of.try_acquire_many_owned(0).ok();
        Some(Held([none(self.of(who))?, none(self.all.clone())?]))
    }

    /// Adds `count`; false if there are not as many. A whole share is enough for any count.
    pub(super) fn add(&self, held: &mut Held, count: usize) -> bool {
        let count = count.min(self.most - held.0[0].num_permits().min(self.most));
        let Ok(count) = u32::try_from(count) else { return false };
        let [own, all] = &mut held.0;
        let more = |of: &OwnedSemaphorePermit| of.semaphore().clone().try_acquire_many_owned(count);
        let (Ok(more_own), Ok(more_all)) = (more(own), more(all)) else { return false };
        own.merge(more_own);
        all.merge(more_all);
        true
    }

    fn of(&self, who: IpAddr) -> Arc<Semaphore> {
        let mut each = lock(&self.each);
        if let Some(own) = each.get(&who) {
            return own.clone();
        }
        // Whoever has or waits for something holds its own.
        each.retain(|_, own| Arc::strong_count(own) > 1);
        each.entry(who).or_insert_with(|| Arc::new(Semaphore::new(self.most))).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connections that are not served: they have asked for nothing yet, or for no more than how
/// the gateway is, or they wait.
///
/// All of them may ask how the gateway is, whoever holds the connections that are served.
pub(super) struct Lobby {
    capacity: usize,
    clock: Arc<dyn Fn() -> Duration + Send + Sync>,
    seats: Mutex<Seats>,
    left: Notify,
}

#[derive(Default)]
struct Seats {
    next: u64,
    /// Since when, and what ends it. Those that have asked for nothing stand first: they are the
    /// first to go.
    taken: BTreeMap<(bool, u64), (Duration, Arc<Notify>)>,
}

impl Lobby {
    pub(super) fn new(config: &Config) -> Arc<Self> {
        let (capacity, clock) = (config.waiting.max(1), config.clock.clone());
        Arc::new(Lobby { capacity, clock, seats: Mutex::default(), left: Notify::new() })
    }

    /// Waits until there is a seat. If there is none, the one who has sat longest must go, as soon
    /// as that was long enough.
    pub(super) async fn room(&self) {
        loop {
            let left = self.left.notified();
            let pause = {
                let mut seats = lock(&self.seats);
                let Some((since, _)) = seats.taken.first_key_value().map(|(_, seat)| seat) else {
                    return;
                };
                if seats.taken.len() < self.capacity {
                    return;
                }
                let age = (self.clock)().saturating_sub(*since);
                if age >= YOUNG {
                    if let Some((_, (_, evicted))) = seats.taken.pop_first() {
                        evicted.notify_one();
                    }
                    return;
                }
                YOUNG - age
            };
            let _ = tokio::time::timeout(pause, left).await;
        }
    }

    /// Takes a seat.
    pub(super) fn enter(self: &Arc<Self>) -> Seat {
        let evicted = Arc::new(Notify::new());
        let mut seats = lock(&self.seats);
        seats.next += 1;
        let number = seats.next;
        seats.taken.insert((false, number), ((self.clock)(), evicted.clone()));
        Seat { lobby: self.clone(), number, evicted }
    }
}

/// A seat in the lobby, left when this is dropped.
pub(super) struct Seat {
    lobby: Arc<Lobby>,
    number: u64,
    evicted: Arc<Notify>,
}

impl Seat {
    /// Waits until another connection needs the seat more.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// It has asked for something: those that have not go before it.
    fn ask(&self) {
        let mut seats = lock(&self.lobby.seats);
        if let Some(seat) = seats.taken.remove(&(false, self.number)) {
            seats.taken.insert((true, self.number), seat);
        }
    }

    fn leave(&self) {
        let mut seats = lock(&self.lobby.seats);
        let found = [false, true].map(|asks| seats.taken.remove(&(asks, self.number)));
        if found.iter().any(Option::is_some) {
            self.lobby.left.notify_one();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A connection, as long as it lasts.
pub(super) struct Visit {
    who: IpAddr,
    /// When it began.
    pub(super) began: Duration,
    seat: Seat,
    slot: OnceCell<Held>,
}

impl Visit {
    pub(super) fn new(peer: IpAddr, began: Duration, seat: Seat) -> Self {
        Visit { who: neighbourhood(peer), began, seat, slot: OnceCell::new() }
    }

    /// The address whose share it has.
    pub(super) fn who(&self) -> IpAddr {
        self.who
    }

    /// Waits until another connection needs the place more, which happens to none that is served.
    pub(super) async fn evicted(&self) {
        self.seat.evicted().await;
    }

    /// Waits for a slot, no longer than `patience`. True if it got one, which it then holds to its
    /// end.
    pub(super) async fn is_served(&self, slots: &Shares, patience: Duration) -> bool {
        let served = async {
            self.seat.ask();
            let waited = tokio::time::timeout(patience, slots.wait(self.who)).await;
            let held = waited.ok().flatten().ok_or(())?;
            self.seat.leave();
            Ok::<_, ()>(held)
        };
        self.slot.get_or_try_init(|| served).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let shares = Shares::new(100, 75);
        let mut held = shares.none(one).unwrap();
        assert!(shares.add(&mut held, 70) && !shares.add(&mut shares.none(one).unwrap(), 6));
        let mut more = shares.none(one).unwrap();
        assert!(shares.add(&mut more, 5) && !shares.add(&mut more, 1));
        let mut others = shares.none(other).unwrap();
        assert!(shares.add(&mut others, 25) && !shares.add(&mut others, 1), "all of it is taken");
        drop((held, more));
        assert!(shares.add(&mut others, 1000), "more than a share needs a share");
        drop(others);
        assert!(shares.add(&mut shares.none(one).unwrap(), 75));
        drop(shares.none("10.0.0.3".parse().unwrap()));
        assert_eq!(lock(&shares.each).len(), 1, "who has nothing is forgotten");
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let of = |ip: &str| neighbourhood(ip.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
