//! Aggregates of one's own: [`Aggregator`], and folds that take values back.

use std::rc::Rc;

use super::KGrouped;
use crate::operators::{Aggregate, Datum};
use crate::table::KTable;

/// An aggregate of one's own: the state of one group, which values are added to and taken from.
///
/// The values of an epoch come in any order, so its result must depend only on how often it has
/// each value. [`assert_aggregator_laws`](crate::testing::assert_aggregator_laws) checks that.
///
/// ```
/// use watershed::Aggregator;
/// use watershed::prelude::{Value::Long, *};
/// use watershed::testing::assert_aggregator_laws;
///
/// /// The spread of values: the greatest less the least.
/// #[derive(Default)]
/// struct Spread(std::collections::BTreeMap<i64, i64>);
///
/// impl Aggregator<i64> for Spread {
///     type Out = i64;
///     fn update(&mut self, value: &i64, diff: i64) {
///         let count = self.0.entry(*value).or_default();
///         *count += diff;
///         if *count == 0 {
///             self.0.remove(value);
///         }
///     }
///     fn result(&self) -> Option<i64> {
///         Some(self.0.keys().next_back()? - self.0.keys().next()?)
///     }
///     fn is_empty(&self) -> bool {
///         self.0.is_empty()
///     }
/// }
///
/// assert_aggregator_laws(Spread::default, &[3, 1, 4, 1, 5]);
/// let topology = Topology::new("spread", |builder: &StreamsBuilder<'_>| {
///     let rows = builder.table("rows", Consumed::with(Int64, Int64));
///     rows.group_by(|id, n| (id % 2, *n)).aggregate_with(Spread::default)
///         .to("spreads", Produced::columns(["parity", "spread"]));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let rows = driver.input("rows", Int64, Int64);
/// rows.pipe_all(&mut driver, [(1, 10), (3, 17), (5, 30)]);
/// rows.delete(&mut driver, &5);
/// driver.commit()?;
/// assert_eq!(driver.rows("spreads"), [[Long(1), Long(7)]]);
/// # Ok::<(), Error>(())
/// ```
pub trait Aggregator<X>: 'static {
    /// The type of the result.
    type Out: Datum;

    /// Adds a value `diff` times, or takes it away `-diff` times. Within an epoch a value may be
    /// taken away before it is added.
    fn update(&mut self, value: &X, diff: i64);

    /// Returns the result; `None` is no row.
    fn result(&self) -> Option<Self::Out>;

    /// Returns true if the state is that of a new group. Then the group is forgotten.
    fn is_empty(&self) -> bool;

    /// Adds all values of another state, and returns true. Windows use it: a session takes over the
    /// state of one that it is merged with.
    ///
    /// By default it changes nothing and returns false: then the values of the other state are
    /// added one by one.
    fn merge(&mut self, _other: &Self) -> bool
    where
        Self: Sized,
    {
        false
    }
}

/// An aggregator as an aggregate of the engine.
pub(crate) struct Own<A>(pub(crate) A);

impl<X, A: Aggregator<X>> Aggregate<X> for Own<A> {
    type Out = A::Out;

    fn update(&mut self, value: X, diff: isize) {
        self.0.update(&value, diff as i64);
    }

    fn result(&mut self, out: &mut Vec<A::Out>) {
        out.extend(self.0.result());
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn merge(&mut self, other: &Self) -> bool {
        self.0.merge(&other.0)
    }
}

type Step<A, X> = Rc<dyn Fn(A, &X) -> A>;

/// A fold with a subtractor. It keeps the result alone, and the number of values.
///
/// ```
/// use watershed::testing::assert_aggregator_laws;
/// use watershed::{Aggregator, Subtracting};
///
/// let sum = || Subtracting::new(|| 0, |sum: i64, n: &i64| sum + n, |sum, n| sum - n);
/// assert_aggregator_laws(sum, &[3, 1, 4]);
/// let mut sum = sum();
/// sum.update(&7, 2);
/// assert_eq!(sum.result(), Some(14));
/// ```
pub struct Subtracting<X, A> {
    init: Rc<dyn Fn() -> A>,
    add: Step<A, X>,
    subtract: Step<A, X>,
    /// None in a new group.
    state: Option<A>,
    values: i64,
}

impl<X, A> Subtracting<X, A> {
    /// Returns the fold of a new group.
    pub fn new(
        init: impl Fn() -> A + 'static,
        add: impl Fn(A, &X) -> A + 'static,
        subtract: impl Fn(A, &X) -> A + 'static,
    ) -> Self {
        Self::of(Rc::new(init), Rc::new(add), Rc::new(subtract))
    }

    fn of(init: Rc<dyn Fn() -> A>, add: Step<A, X>, subtract: Step<A, X>) -> Self {
        Subtracting { init, add, subtract, state: None, values: 0 }
    }
}

impl<X: 'static, A: Datum> Aggregator<X> for Subtracting<X, A> {
    type Out = A;

    fn update(&mut self, value: &X, diff: i64) {
        let step = if diff > 0 { &self.add } else { &self.subtract };
        for _ in 0..diff.unsigned_abs() {
            let state = self.state.take().unwrap_or_else(|| (self.init)());
            self.state = Some(step(state, value));
        }
        // A group that is empty at the end of an epoch is forgotten, not one in between.
        self.values += diff;
    }

    fn result(&self) -> Option<A> {
        self.state.clone().filter(|_| self.values > 0)
    }

    fn is_empty(&self) -> bool {
        self.values == 0
    }
}

/// A reduction with a subtractor: the first value is the first result.
struct Reducing<X> {
    add: Step<X, X>,
    subtract: Step<X, X>,
    state: Option<X>,
    values: i64,
    /// Values that were taken away before any was added.
    owed: Vec<X>,
}

impl<X: Datum> Aggregator<X> for Reducing<X> {
    type Out = X;

    fn update(&mut self, value: &X, diff: i64) {
        for _ in 0..diff.unsigned_abs() {
            match (self.state.take(), diff > 0) {
                (Some(state), true) => self.state = Some((self.add)(state, value)),
                (Some(state), false) => self.state = Some((self.subtract)(state, value)),
                (None, false) => self.owed.push(value.clone()),
                (None, true) => {
                    let subtract = |state, value| (self.subtract)(state, &value);
                    self.state = Some(self.owed.drain(..).fold(value.clone(), subtract));
                }
            }
        }
        self.values += diff;
    }

    fn result(&self) -> Option<X> {
        self.state.clone().filter(|_| self.values > 0)
    }

    fn is_empty(&self) -> bool {
        self.values == 0
    }
}

impl<'s, G: Datum, X: Datum> KGrouped<'s, G, X> {
    /// Maintains an [`Aggregator`] for each group. `fresh` makes the state of a new group. Kafka
    /// has no such verb.
    ///
    /// The state is kept, and a change costs one [`update`](Aggregator::update) of it and one
    /// [`result`](Aggregator::result) of its group and epoch. [`Aggregator`] has an example with a
    /// type of its own.
    ///
    /// ```
    /// # use watershed::Subtracting;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// let product = || Subtracting::new(|| 1, |all: i64, n| all * n, |all, n| all / n);
    /// rows.group_by(|id, n| (id % 2, *n)).aggregate_with(product)
    ///     .to("products", Produced::columns(["parity", "product"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// rows.pipe_all(&mut driver, [(1, 7), (3, 9), (5, 2)]);
    /// rows.delete(&mut driver, &3);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("products"), [[Long(1), Long(14)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate_with<A: Aggregator<X>>(
        &self,
        fresh: impl Fn() -> A + 'static,
    ) -> KTable<'s, G, A::Out> {
        self.fold("aggregate_with", move || Own(fresh()))
    }

    /// Folds the values from `init`, and takes values back with `subtract`: Kafka's `aggregate` of
    /// a `KGroupedTable`. It keeps the result alone, so a change costs one call.
    ///
    /// `subtract` must undo `add`, also after other values were added: otherwise the result depends
    /// on the order of changes. Unlike in Kafka, the row is deleted with the group's last value.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.group_by(|id, n| (id % 2, *n))
    ///     .aggregate_subtracting(|| 100, |sum, n| sum + n, |sum, n| sum - n)
    ///     .to("sums", Produced::columns(["parity", "sum"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// rows.pipe_all(&mut driver, [(1, 7), (2, 8), (3, 9), (1, 6)]);
    /// rows.delete(&mut driver, &2);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("sums"), [[Long(1), Long(115)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate_subtracting<A: Datum>(
        &self,
        init: impl Fn() -> A + 'static,
        add: impl Fn(A, &X) -> A + 'static,
        subtract: impl Fn(A, &X) -> A + 'static,
    ) -> KTable<'s, G, A> {
        let init: Rc<dyn Fn() -> A> = Rc::new(init);
        let (add, subtract): (Step<A, X>, Step<A, X>) = (Rc::new(add), Rc::new(subtract));
        let fresh = move || Own(Subtracting::of(init.clone(), add.clone(), subtract.clone()));
        self.fold("aggregate_subtracting", fresh)
    }

    /// Reduces the values with `add`, and takes values back with `subtract`: Kafka's `reduce` of a
    /// `KGroupedTable`. The rules of [`aggregate_subtracting`](Self::aggregate_subtracting) apply.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.group_by(|id, n| (id % 2, *n)).reduce_subtracting(|a, b| a + b, |a, b| a - b)
    ///     .to("sums", Produced::columns(["parity", "sum"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// rows.pipe_all(&mut driver, [(1, 7), (2, 8), (3, 9), (1, 6)]);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("sums"), [[Long(0), Long(8)], [Long(1), Long(15)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn reduce_subtracting(
        &self,
        add: impl Fn(X, &X) -> X + 'static,
        subtract: impl Fn(X, &X) -> X + 'static,
    ) -> KTable<'s, G, X> {
        let (add, subtract): (Step<X, X>, Step<X, X>) = (Rc::new(add), Rc::new(subtract));
        self.fold("reduce_subtracting", move || {
            let (add, subtract) = (add.clone(), subtract.clone());
            Own(Reducing { add, subtract, state: None, values: 0, owed: Vec::new() })
        })
    }
}
