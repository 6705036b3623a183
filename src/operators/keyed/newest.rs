//! The newest version of each row by event time.

use serde::{Deserialize, Serialize};

use super::pairs::Place;
use super::{Call, Logic, StreamTime, Timed};
use crate::operators::datum::Datum;
use crate::secret::Secret;
use crate::time::Timestamp;

/// Keeps the version of each row with the greatest timestamp, and of equal ones that of the last
/// position.
///
/// It keeps place and digest, never the value. A version is too late if its partition has passed
/// its timestamp by more than the history. So the place of a deleted row is forgotten after the
/// history: an older version would be too late.
pub(crate) struct Newest {
    /// Microseconds.
    pub(crate) history: i64,
    pub(crate) time: StreamTime,
    pub(crate) secret: Secret,
}

/// The version of a row that stands, or of its deletion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Version {
    place: Place,
    /// Half the digest of the value; 0 of a deletion.
    digest: u64,
}

/// The state of a row.
pub(crate) struct Versions<V> {
    newest: Option<Version>,
    /// The value of a version of this epoch, with the time of its partition.
    changed: Option<(Option<V>, Timestamp)>,
    /// The digest of the row that stood before it.
    before: u64,
    forgets: bool,
}

impl<V> Default for Versions<V> {
    fn default() -> Self {
        Versions { newest: None, changed: None, before: 0, forgets: false }
    }
}

impl<K: Datum, V: Datum> Logic<K, Option<V>> for Newest {
    type State = Versions<V>;
    type Part = ();
    type Row = Version;
    type Out = (K, Timed<Option<V>>);

    fn is_ordered(&self) -> bool {
        false
    }

    fn restore(&self, state: &mut Versions<V>, (): (), row: Version, call: &mut Call) {
        self.wake(&row, call);
        state.newest = Some(row);
    }

    fn input(&self, _: &K, state: &mut Versions<V>, input: Timed<Option<V>>, call: &mut Call) {
        let Timed { order, ordinal, timestamp, partition_time, value } = input;
        if timestamp.plus(self.history) < partition_time {
            call.late();
            return;
        }
        let place = (timestamp, order, ordinal);
        let is_newer = |before: &Version| match self.time {
            StreamTime::Partitions => place > before.place,
            // In the order of arrival, as in Kafka.
            StreamTime::Arrival => place.0 >= before.place.0 && place != before.place,
        };
        if !state.newest.as_ref().is_none_or(is_newer) {
            return;
        }
        let digest = value.as_ref().map_or(0, |value| self.secret.digest(value).half());
        let version = Version { place, digest };
        self.wake(&version, call);
        let before = state.newest.replace(version);
        if state.changed.is_none() {
            state.before = before.map_or(0, |before| before.digest);
        }
        state.changed = Some((value, partition_time));
    }

    fn expire(&self, _: &K, state: &mut Versions<V>, watermark: Timestamp, _: &mut Call) {
        let is_over = |it: &Version| it.digest == 0 && it.place.0.plus(self.history) < watermark;
        state.forgets = state.newest.as_ref().is_some_and(is_over);
    }

    fn close(
        &self,
        key: &K,
        state: &mut Versions<V>,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut((), Option<Version>),
    ) {
        let changed = state.changed.take();
        if let (Some((value, partition_time)), Some(newest)) = (changed, &state.newest) {
            let repeats = self.time == StreamTime::Arrival && value.is_some();
            if newest.digest != state.before || repeats {
                let (timestamp, order, ordinal) = newest.place.clone();
                let timed = Timed { order, ordinal, timestamp, partition_time, value };
                emit((key.clone(), timed));
            }
            if !state.forgets {
                save((), Some(newest.clone()));
            }
        }
        if std::mem::take(&mut state.forgets) {
            state.newest = None;
            save((), None);
        }
    }

    fn is_empty(&self, state: &Versions<V>) -> bool {
        state.newest.is_none()
    }
}

impl Newest {
    /// Requests the call at which a deletion is forgotten.
    fn wake(&self, version: &Version, call: &mut Call) {
        if version.digest == 0 {
            call.wake_at(version.place.0.plus(self.history).plus(1));
        }
    }
}
