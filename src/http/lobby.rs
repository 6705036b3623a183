//! The lobby: connections without a slot.
//!
//! Every connection starts here. It leaves the lobby when it gets a slot or ends. In a full lobby a
//! new connection evicts the oldest one that has sent no request yet, or else the oldest one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};

use super::ServerConfig;
use super::shares::{Permits, Shares, network_of};
use crate::sync::lock;

/// Least age of a connection that is evicted.
const MIN_EVICTION_AGE: Duration = Duration::from_millis(250);

/// The connections without a slot.
pub(super) struct Lobby {
    capacity: usize,
    clock: Arc<dyn Fn() -> Duration + Send + Sync>,
    seats: Mutex<Seats>,
    left: Notify,
}

#[derive(Default)]
struct Seats {
    next: u64,
    /// The connections in the order of their eviction.
    taken: BTreeMap<(Stage, u64), Waiting>,
}

/// The progress of a connection in the lobby; the first stage is evicted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// No request yet, or only public ones.
    Silent,
    /// A request waits for a slot.
    Requested,
}

struct Waiting {
    since: Duration,
    evicted: Arc<Notify>,
}

impl Lobby {
    pub(super) fn new(config: &ServerConfig) -> Arc<Self> {
        let capacity = config.limits.waiting_connections.max(1);
        let clock = config.clock.clone();
        Arc::new(Lobby { capacity, clock, seats: Mutex::default(), left: Notify::new() })
    }

    /// Waits until there is a free seat. In a full lobby this evicts a connection, as soon as one
    /// is old enough.
    pub(super) async fn make_room(&self) {
        loop {
            let left = self.left.notified();
            let pause = {
                let mut seats = self.seats();
                let Some((_, first)) = seats.taken.first_key_value() else { return };
                if seats.taken.len() < self.capacity {
                    return;
                }
                let age = (self.clock)().saturating_sub(first.since);
                if age >= MIN_EVICTION_AGE {
                    if let Some((_, first)) = seats.taken.pop_first() {
                        first.evicted.notify_one();
                    }
                    return;
                }
                MIN_EVICTION_AGE - age
            };
            let _ = tokio::time::timeout(pause, left).await;
        }
    }

    /// Takes a seat.
    pub(super) fn enter(self: &Arc<Self>) -> Seat {
        let evicted = Arc::new(Notify::new());
        let since = (self.clock)();
        let mut seats = self.seats();
        seats.next += 1;
        let number = seats.next;
        let waiting = Waiting { since, evicted: evicted.clone() };
        seats.taken.insert((Stage::Silent, number), waiting);
        Seat { lobby: self.clone(), number, evicted }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        lock(&self.seats)
    }
}

/// A seat in the lobby, left on drop.
pub(super) struct Seat {
    lobby: Arc<Lobby>,
    number: u64,
    evicted: Arc<Notify>,
}

impl Seat {
    /// Marks the connection as one with a request: it is evicted after those without.
    fn request(&self) {
        let mut seats = self.lobby.seats();
        if let Some(waiting) = seats.taken.remove(&(Stage::Silent, self.number)) {
            seats.taken.insert((Stage::Requested, self.number), waiting);
        }
    }

    fn leave(&self) {
        let mut seats = self.lobby.seats();
        let stages = [Stage::Silent, Stage::Requested];
        let found = stages.map(|stage| seats.taken.remove(&(stage, self.number)));
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

/// An open connection.
pub(super) struct Connection {
    address: IpAddr,
    /// The time it was accepted at.
    pub(super) began: Duration,
    seat: Seat,
    slot: OnceCell<Permits>,
}

impl Connection {
    pub(super) fn new(peer: IpAddr, began: Duration, seat: Seat) -> Self {
        Connection { address: network_of(peer), began, seat, slot: OnceCell::new() }
    }

    /// Returns the address whose share the connection uses.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// Waits until another connection takes its seat. A connection with a slot has no seat.
    pub(super) async fn evicted(&self) {
        self.seat.evicted.notified().await;
    }

    /// Waits for a slot for at most `timeout`. The connection keeps its slot until it ends.
    pub(super) async fn acquire_slot(&self, slots: &Shares, timeout: Duration) -> bool {
        let acquire = async {
            self.seat.request();
            let acquired = tokio::time::timeout(timeout, slots.acquire(self.address)).await;
            let permits = acquired.ok().flatten().ok_or(())?;
            self.seat.leave();
            Ok::<_, ()>(permits)
        };
        self.slot.get_or_try_init(|| acquire).await.is_ok()
    }
}
