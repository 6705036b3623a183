//! The aggregates of windows.

use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::dataflow::operators::vec::Map;

use super::KWindowed;
use crate::grouped::Records;
use crate::operators::{Aggregate, Bagged, Datum, Different, Folding, Quantile, Top};
use crate::options::{Ties, WindowKind};
use crate::row::Windowed;
use crate::serdes::Digest;
use crate::table::KTable;
use crate::time::Timestamp;

impl<'s, G: Datum, X: Datum> KWindowed<'s, G, X> {
    /// Keeps the values of each window, and an aggregate of them.
    pub(super) fn bagged<A: Aggregate<X> + 'static>(
        &self,
        verb: &str,
        fresh: impl Fn() -> A + 'static,
    ) -> KTable<'s, Windowed<G>, A::Out> {
        let fresh: Rc<dyn Fn() -> A> = Rc::new(fresh);
        let aggregate = Bagged { fresh, row: |result: A::Out| ((), result), is_single: true };
        self.accumulate(verb, aggregate, window_only, end)
    }

    /// Returns the number of values in each window.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// clicks.group_by_key().windowed_by(minutes).count()
    ///     .to("counts", Produced::columns(["user", "from", "to", "count"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let clicks = driver.input("clicks", Int64, Int64);
    /// for second in [10, 60, 59] {
    ///     clicks.pipe_at(&mut driver, &7, &0, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("counts").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(2), Long(1)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn count(&self) -> KTable<'s, Windowed<G>, i64> {
        self.accumulate("count", Folding::<X, i64, i64>::count(), window_only, end)
    }

    /// Returns the sum of the results of `of` in each window. A sum beyond 64 bits is the end of
    /// the range. Kafka has no such verb.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let sales = builder.stream("sales", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// sales.group_by_key().windowed_by(minutes).sum(|amount| *amount)
    ///     .to("sums", Produced::columns(["shop", "from", "to", "sum"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let sales = driver.input("sales", Int64, Int64);
    /// for (second, amount) in [(10, 5), (20, 7), (60, -9)] {
    ///     sales.pipe_at(&mut driver, &1, &amount, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("sums").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(12), Long(-9)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn sum(&self, of: impl Fn(&X) -> i64 + 'static) -> KTable<'s, Windowed<G>, i64> {
        self.accumulate("sum", Folding::<X, i128, i64>::sum(of), window_only, end)
    }

    /// Returns the least value of each window. Kafka has no such verb.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let prices = builder.stream("prices", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// prices.group_by_key().windowed_by(minutes).min()
    ///     .to("least", Produced::columns(["item", "from", "to", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let prices = driver.input("prices", Int64, Int64);
    /// for (second, price) in [(10, 8), (20, 7), (60, 9)] {
    ///     prices.pipe_at(&mut driver, &1, &price, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("least").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(7), Long(9)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn min(&self) -> KTable<'s, Windowed<G>, X> {
        self.accumulate("min", Folding::<X, Option<X>, X>::least(), window_only, end)
    }

    /// Returns the greatest value of each window. Kafka has no such verb.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let bids = builder.stream("bids", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// bids.group_by_key().windowed_by(minutes).max()
    ///     .to("highest", Produced::columns(["item", "from", "to", "bid"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let bids = driver.input("bids", Int64, Int64);
    /// for (second, bid) in [(10, 8), (20, 7), (60, 6)] {
    ///     bids.pipe_at(&mut driver, &1, &bid, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("highest").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(8), Long(6)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max(&self) -> KTable<'s, Windowed<G>, X> {
        self.accumulate("max", Folding::<X, Option<X>, X>::greatest(), window_only, end)
    }

    /// Returns the middle value of each window, of an even number the lower middle. It keeps the
    /// values of open windows. Kafka has no such verb.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let delays = builder.stream("delays", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// delays.group_by_key().windowed_by(minutes).median()
    ///     .to("medians", Produced::columns(["host", "from", "to", "delay"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let delays = driver.input("delays", Int64, Int64);
    /// for (second, delay) in [(10, 9), (20, 7), (30, 100), (60, 5)] {
    ///     delays.pipe_at(&mut driver, &1, &delay, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("medians").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(9), Long(5)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn median(&self) -> KTable<'s, Windowed<G>, X> {
        self.bagged("median", || Quantile::new(1, 2))
    }

    /// Returns element `(n - 1) * num / den` of the sorted values of each window, counted from 0.
    /// It keeps the values of open windows. Kafka has no such verb.
    ///
    /// # Panics
    ///
    /// Unless `num <= den` and `den > 0`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let delays = builder.stream("delays", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// delays.group_by_key().windowed_by(minutes).quantile(9, 10)
    ///     .to("p90", Produced::columns(["host", "from", "to", "delay"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let delays = driver.input("delays", Int64, Int64);
    /// for (second, delay) in [(10, 9), (20, 7), (30, 8), (40, 100)] {
    ///     delays.pipe_at(&mut driver, &1, &delay, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// assert_eq!(driver.rows("p90")[0][3], Long(9));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn quantile(&self, num: u32, den: u32) -> KTable<'s, Windowed<G>, X> {
        assert!(num <= den && den > 0, "a quantile is a fraction of the values, not {num}/{den}");
        self.bagged("quantile", move || Quantile::new(num, den))
    }

    /// Returns the number of different values in each window: duplicates count once. It keeps a
    /// keyed 128-bit digest of each value of open windows. Kafka has no such verb.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let visits = builder.stream("visits", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// visits.group_by_key().windowed_by(minutes).count_distinct()
    ///     .to("visitors", Produced::columns(["page", "from", "to", "visitors"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let visits = driver.input("visits", Int64, Int64);
    /// for (second, visitor) in [(10, 7), (20, 8), (30, 7), (60, 7)] {
    ///     visits.pipe_at(&mut driver, &1, &visitor, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("visitors").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(2), Long(1)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn count_distinct(&self) -> KTable<'s, Windowed<G>, i64> {
        let secret = self.graph.seeds().secret();
        let digests = self.records.as_ref().map(|records| {
            let timed = records.timed.clone();
            let timed = Rc::new(move || {
                timed().map(move |(group, value)| {
                    let digest = secret.digest(&value.value);
                    (group, value.map(|_| digest))
                })
            });
            // No reader needs diffs of them.
            let graph = self.graph.clone();
            let diffs = Rc::new(move || graph.nothing().as_collection());
            Records { diffs, timed, updates: records.updates, restored: records.restored }
        });
        let of_digests: KWindowed<'s, G, Digest> = KWindowed {
            graph: self.graph.clone(),
            node: self.node,
            records: digests,
            windows: self.windows.clone(),
            emit: self.emit,
        };
        of_digests.bagged("count_distinct", Different::default)
    }

    /// Returns the `n` different values of each window with the greatest score `by`, one row each,
    /// keyed by window and value. It keeps the values of open windows. Kafka has no such verb.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let bids = builder.stream("bids", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// bids.group_by_key().windowed_by(minutes).top(2, Ties::Cut, |bid| *bid)
    ///     .to("top", Produced::columns(["item", "from", "to", "bid"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let bids = driver.input("bids", Int64, Int64);
    /// for (second, bid) in [(10, 5), (20, 9), (30, 7), (60, 1)] {
    ///     bids.pipe_at(&mut driver, &1, &bid, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("top").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(7), Long(9), Long(1)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn top<S: Ord + 'static>(
        &self,
        n: usize,
        ties: Ties,
        by: impl Fn(&X) -> S + 'static,
    ) -> KTable<'s, (Windowed<G>, X), ()> {
        let (by, seeds): (Rc<dyn Fn(&X) -> S>, _) = (Rc::new(by), self.graph.seeds());
        let fresh: Rc<dyn Fn() -> Top<X, S>> = Rc::new(move || match ties {
            Ties::Keep => Top::with_ties(by.clone(), n, seeds),
            Ties::Cut => Top::new(by.clone(), n, seeds),
        });
        let aggregate = Bagged { fresh, row: |value: X| (value, ()), is_single: false };
        self.accumulate(
            &format!("top {n}"),
            aggregate,
            |window, value| (window, value),
            |(window, _)| window.end,
        )
    }

    /// Reduces the values of each window with `f`, in the order of their positions, epoch by epoch.
    /// It keeps the results of open windows alone.
    ///
    /// When a record bridges two sessions, `f` also reduces the results of both.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// numbers.group_by_key().windowed_by(minutes).reduce(|all, n| all * 10 + n)
    ///     .to("all", Produced::columns(["group", "from", "to", "all"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// for (second, n) in [(20, 3), (60, 2), (10, 1)] {
    ///     numbers.pipe_at(&mut driver, &1, &n, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("all").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(31), Long(2)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn reduce(&self, f: impl Fn(X, &X) -> X + 'static) -> KTable<'s, Windowed<G>, X> {
        self.accumulate("reduce", Folding::reduce(f), window_only, end)
    }

    /// Folds the values of each window from `init`, in the order of their positions, epoch by
    /// epoch. It keeps the results of open windows alone.
    ///
    /// Sessions are merged, so they need [`aggregate_merging`](Self::aggregate_merging): a run that
    /// folds them with this verb does not start.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// numbers.group_by_key().windowed_by(minutes).aggregate(|| 7, |all, n| all * 10 + n)
    ///     .to("all", Produced::columns(["group", "from", "to", "all"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// for (second, n) in [(20, 3), (60, 2), (10, 1)] {
    ///     numbers.pipe_at(&mut driver, &1, &n, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("all").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(731), Long(72)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate<A: Datum>(
        &self,
        init: impl Fn() -> A + 'static,
        f: impl Fn(A, &X) -> A + 'static,
    ) -> KTable<'s, Windowed<G>, A> {
        if matches!(self.windows.0, WindowKind::Sessions(_)) {
            let error = "sessions are merged: use aggregate_merging() instead of aggregate()";
            self.graph.error(error.to_string());
        }
        self.accumulate("aggregate", Folding::aggregate(init, f, None), window_only, end)
    }

    /// Folds the values like [`aggregate`](Self::aggregate). `merge` adds the result of a later
    /// session to that of an earlier one: Kafka's `Merger`.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64));
    /// let sessions = SessionWindows::of_inactivity_gap(Duration::from_secs(10));
    /// clicks.group_by_key().windowed_by(sessions)
    ///     .aggregate_merging(|| 0, |sum, n| sum + n, |sum, later| sum + later)
    ///     .to("sums", Produced::columns(["user", "from", "to", "sum"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let clicks = driver.input("clicks", Int64, Int64);
    /// for (second, n) in [(0, 1), (20, 2), (10, 4)] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     clicks.pipe(&mut driver, &7, &n); // the last one bridges two sessions
    ///     driver.commit()?;
    /// }
    /// assert_eq!(driver.rows("sums").len(), 1);
    /// assert_eq!(driver.rows("sums")[0][3], Long(7));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate_merging<A: Datum>(
        &self,
        init: impl Fn() -> A + 'static,
        f: impl Fn(A, &X) -> A + 'static,
        merge: impl Fn(A, &A) -> A + 'static,
    ) -> KTable<'s, Windowed<G>, A> {
        let aggregate = Folding::aggregate(init, f, Some(Rc::new(merge)));
        self.accumulate("aggregate", aggregate, window_only, end)
    }
}

fn end<G>(window: &Windowed<G>) -> Timestamp {
    window.end
}

/// Returns the key of the only row of a window.
fn window_only<G>(window: Windowed<G>, (): ()) -> Windowed<G> {
    window
}
