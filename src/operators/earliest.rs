//! The earliest position at which records of a topic can still arrive.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::record::Order;
use crate::time::Epoch;

/// The number of epochs whose position is kept. A worker that is further behind forgets later.
const EPOCHS: usize = 64;

/// The earliest position that a later record of a topic can have, by epoch.
///
/// It is published only for topics to which no partition can be added.
#[derive(Default)]
pub(crate) struct Earliest(Mutex<State>);

/// The reason why no record before a position can arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Advance {
    /// The run does not follow its sources. A later run may find a partition that was added.
    InThisRun,
    /// The source promises that no partition is ever added.
    ForEver,
}

#[derive(Default)]
struct State {
    advance: Option<Advance>,
    /// By ascending epoch: no record of it or a later one is before the position.
    positions: VecDeque<(Epoch, Order)>,
}

impl Earliest {
    /// Returns the reason why positions are published; none if they are not.
    pub(crate) fn advance(&self) -> Option<Advance> {
        self.lock().advance
    }

    /// Announces that positions will be published, so that operators prepare to forget.
    pub(crate) fn announce(&self, advance: Advance) {
        self.lock().advance = Some(advance);
    }

    /// Returns true if positions are published.
    pub(crate) fn advances(&self) -> bool {
        self.lock().advance.is_some()
    }

    /// Returns true if the positions hold for later runs too.
    pub(crate) fn advances_for_ever(&self) -> bool {
        self.lock().advance == Some(Advance::ForEver)
    }

    /// Publishes that no record of `epoch` or a later one is before `position`. Epochs ascend.
    pub(crate) fn publish(&self, epoch: Epoch, position: Order) {
        let mut state = self.lock();
        state.positions.push_back((epoch, position));
        if state.positions.len() > EPOCHS {
            state.positions.pop_front();
        }
    }

    /// Returns the position before which no record of `epoch` or a later one is; `None` if none is
    /// known.
    pub(crate) fn at(&self, epoch: Epoch) -> Option<Order> {
        let state = self.lock();
        let known = state.positions.partition_point(|(from, _)| *from <= epoch);
        known.checked_sub(1).map(|last| state.positions[last].1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_the_position_that_was_known_when_it_began() {
        let at = |offset| Order { offset, ..Order::default() };
        let earliest = Earliest::default();
        assert_eq!(earliest.at(7), None);
        for epoch in 1..200 {
            earliest.publish(epoch * 2, at(epoch * 10));
        }
        assert_eq!((earliest.at(398), earliest.at(399)), (Some(at(1990)), Some(at(1990))));
        assert_eq!(earliest.at(397), Some(at(1980)), "a later position is of later records");
        assert_eq!(earliest.at(0), None, "it is long gone");
    }
}
