//! The states of windows: values are only added to them, and two of them can be merged.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::operators::aggregates::Aggregate;
use crate::operators::datum::Datum;

/// An aggregate of values that are only added. It may have several results, each with a name.
pub(crate) trait Accumulate<X>: 'static {
    type State: 'static;
    /// The name of a saved part, of a state that is saved in parts.
    type Part: Datum;
    type Row: Datum;
    /// The name of a result.
    type Name: Datum;
    type Out: Datum;

    /// Returns true if a state depends on the order of its values.
    fn is_ordered(&self) -> bool;
    fn fresh(&self) -> Self::State;
    fn add(&self, state: &mut Self::State, value: &X);
    /// Adds the values of a later state.
    fn merge(&self, state: &mut Self::State, later: &Self::State);
    fn copy(&self, state: &Self::State) -> Self::State;

    /// Calls `emit` with the results that differ from those of the last call; none for a result
    /// that is gone. If `always`, a single result is emitted although it is equal.
    fn results(
        &self,
        state: &mut Self::State,
        always: bool,
        emit: &mut dyn FnMut(Self::Name, Option<Self::Out>),
    );
    /// Calls `each` with the names of all results that were emitted.
    fn names(&self, state: &Self::State, each: &mut dyn FnMut(Self::Name));

    /// Calls `save` with the parts that were changed after the last call.
    fn changed(&self, state: &mut Self::State, save: &mut dyn FnMut(Option<Self::Part>, Self::Row));
    /// Calls `each` with the names of all saved parts.
    fn parts(&self, state: &Self::State, each: &mut dyn FnMut(Option<Self::Part>));
    fn restore(&self, state: &mut Self::State, part: Option<Self::Part>, row: Self::Row);
    /// Ends the restoring: the present results are those that were emitted last.
    fn restored(&self, state: &mut Self::State);
}

/// A state of constant size, which takes one value after the other.
pub(crate) struct Folding<X, S, O> {
    pub(crate) fresh: Rc<dyn Fn() -> S>,
    pub(crate) add: Rc<dyn Fn(&mut S, &X)>,
    pub(crate) merge: Rc<dyn Fn(&mut S, &S)>,
    pub(crate) result: Rc<dyn Fn(&S) -> Option<O>>,
    pub(crate) is_ordered: bool,
    /// A value may leave the result as it was.
    pub(crate) may_be_equal: bool,
}

/// The state of [`Folding`].
pub(crate) struct Folded<S, O> {
    value: S,
    /// The result before the changes that were not emitted.
    before: Option<Box<Option<O>>>,
}

impl<X: Datum> Folding<X, i64, i64> {
    /// Returns the number of values.
    pub(crate) fn count() -> Self {
        Folding {
            fresh: Rc::new(|| 0),
            add: Rc::new(|count, _| *count += 1),
            merge: Rc::new(|count, later| *count += later),
            result: Rc::new(|count| Some(*count)),
            is_ordered: false,
            may_be_equal: false,
        }
    }
}

impl<X: Datum> Folding<X, i128, i64> {
    /// Returns the sum of the results of `of`. Beyond 64 bits it is the end of the range.
    pub(crate) fn sum(of: impl Fn(&X) -> i64 + 'static) -> Self {
        let bounded = |sum: &i128| (*sum).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        Folding {
            fresh: Rc::new(|| 0),
            add: Rc::new(move |sum, value| *sum += i128::from(of(value))),
            merge: Rc::new(|sum, later| *sum += later),
            result: Rc::new(move |sum| Some(bounded(sum))),
            is_ordered: false,
            may_be_equal: true,
        }
    }
}

impl<X: Datum> Folding<X, Option<X>, X> {
    /// Returns the value that all others give way to.
    fn best(is_better: fn(&X, &X) -> bool) -> Self {
        let add = move |best: &mut Option<X>, value: &X| {
            if best.as_ref().is_none_or(|best| is_better(value, best)) {
                *best = Some(value.clone());
            }
        };
        Folding {
            fresh: Rc::new(|| None),
            add: Rc::new(add),
            merge: Rc::new(move |best, later| later.iter().for_each(|value| add(best, value))),
            result: Rc::new(Option::clone),
            is_ordered: false,
            may_be_equal: true,
        }
    }

    /// Returns the least value.
    pub(crate) fn least() -> Self {
        Self::best(|value, best| value < best)
    }

    /// Returns the greatest value.
    pub(crate) fn greatest() -> Self {
        Self::best(|value, best| value > best)
    }

    /// Returns the values, reduced with `f` in their order.
    pub(crate) fn reduce(f: impl Fn(X, &X) -> X + 'static) -> Self {
        let add: Rc<dyn Fn(&mut Option<X>, &X)> = Rc::new(move |all, value| {
            *all = Some(match all.take() {
                Some(all) => f(all, value),
                None => value.clone(),
            });
        });
        let merge = add.clone();
        Folding {
            fresh: Rc::new(|| None),
            add,
            merge: Rc::new(move |all, later| later.iter().for_each(|value| merge(all, value))),
            result: Rc::new(Option::clone),
            is_ordered: true,
            may_be_equal: true,
        }
    }
}

impl<X: Datum, A: Datum> Folding<X, Option<A>, A> {
    /// Returns the values, folded with `f` from `init` in their order. Without `merge` the states
    /// of two windows can't be merged, and the later one counts.
    pub(crate) fn aggregate(
        init: impl Fn() -> A + 'static,
        f: impl Fn(A, &X) -> A + 'static,
        merge: Option<Rc<dyn Fn(A, &A) -> A>>,
    ) -> Self {
        let init = Rc::new(init);
        let fresh = init.clone();
        let merged = move |all: Option<A>, later: &Option<A>| match (&merge, all, later) {
            (Some(merge), Some(all), Some(later)) => Some(merge(all, later)),
            (_, _, later) => later.clone(),
        };
        Folding {
            fresh: Rc::new(move || Some(fresh())),
            add: Rc::new(move |all, value| {
                *all = Some(f(all.take().unwrap_or_else(|| init()), value));
            }),
            merge: Rc::new(move |all, later| *all = merged(all.take(), later)),
            result: Rc::new(Option::clone),
            is_ordered: true,
            may_be_equal: true,
        }
    }
}

impl<X, S: Datum, O: Datum> Folding<X, S, O> {
    /// Keeps the result before a change.
    fn keep_before(&self, state: &mut Folded<S, O>) {
        if self.may_be_equal && state.before.is_none() {
            state.before = Some(Box::new((self.result)(&state.value)));
        }
    }
}

impl<X: Datum, S: Datum, O: Datum> Accumulate<X> for Folding<X, S, O> {
    type State = Folded<S, O>;
    type Part = ();
    type Row = S;
    type Name = ();
    type Out = O;

    fn is_ordered(&self) -> bool {
        self.is_ordered
    }
    fn fresh(&self) -> Folded<S, O> {
        Folded { value: (self.fresh)(), before: self.may_be_equal.then(Box::default) }
    }
    fn add(&self, state: &mut Folded<S, O>, value: &X) {
        self.keep_before(state);
        (self.add)(&mut state.value, value);
    }
    fn merge(&self, state: &mut Folded<S, O>, later: &Folded<S, O>) {
        self.keep_before(state);
        (self.merge)(&mut state.value, &later.value);
    }
    fn copy(&self, state: &Folded<S, O>) -> Folded<S, O> {
        Folded { value: state.value.clone(), before: Some(Box::default()) }
    }
    fn results(&self, state: &mut Folded<S, O>, always: bool, emit: &mut dyn FnMut((), Option<O>)) {
        let now = (self.result)(&state.value);
        match state.before.take() {
            Some(before) if *before == now && !always => {}
            _ => emit((), now),
        }
    }
    fn names(&self, _: &Folded<S, O>, each: &mut dyn FnMut(())) {
        each(());
    }
    fn changed(&self, state: &mut Folded<S, O>, save: &mut dyn FnMut(Option<()>, S)) {
        save(None, state.value.clone());
    }
    fn parts(&self, _: &Folded<S, O>, each: &mut dyn FnMut(Option<()>)) {
        each(None);
    }
    fn restore(&self, state: &mut Folded<S, O>, _: Option<()>, row: S) {
        *state = Folded { value: row, before: None };
    }
    fn restored(&self, _: &mut Folded<S, O>) {}
}

/// All values with their multiplicities, and an [`Aggregate`] of them.
pub(crate) struct Bagged<X, A: Aggregate<X>, N, O> {
    pub(crate) fresh: Rc<dyn Fn() -> A>,
    /// Returns the name of a result, and the result.
    pub(crate) row: fn(A::Out) -> (N, O),
    /// There is at most one result.
    pub(crate) is_single: bool,
}

/// The state of [`Bagged`].
pub(crate) struct Bag<X, A: Aggregate<X>> {
    aggregate: A,
    values: BTreeMap<X, i64>,
    changed: Vec<X>,
    emitted: Vec<A::Out>,
}

impl<X: Datum, A: Aggregate<X>> Bag<X, A> {
    fn add(&mut self, value: &X, count: i64) {
        self.aggregate.update(value.clone(), count as isize);
        self.keep(value, count);
    }

    /// Keeps a value that the aggregate has already.
    fn keep(&mut self, value: &X, count: i64) {
        match self.values.get_mut(value) {
            Some(before) => *before += count,
            None => _ = self.values.insert(value.clone(), count),
        }
    }
}

impl<X: Datum, A: Aggregate<X> + 'static, N: Datum, O: Datum> Accumulate<X> for Bagged<X, A, N, O> {
    type State = Bag<X, A>;
    type Part = X;
    type Row = i64;
    type Name = N;
    type Out = O;

    fn is_ordered(&self) -> bool {
        false
    }
    fn fresh(&self) -> Bag<X, A> {
        let (values, changed, emitted) = (BTreeMap::new(), Vec::new(), Vec::new());
        Bag { aggregate: (self.fresh)(), values, changed, emitted }
    }
    fn add(&self, state: &mut Bag<X, A>, value: &X) {
        state.add(value, 1);
        state.changed.push(value.clone());
    }
    fn merge(&self, state: &mut Bag<X, A>, later: &Bag<X, A>) {
        let is_merged = state.aggregate.merge(&later.aggregate);
        for (value, count) in &later.values {
            match is_merged {
                true => state.keep(value, *count),
                false => state.add(value, *count),
            }
            state.changed.push(value.clone());
        }
    }
    fn copy(&self, state: &Bag<X, A>) -> Bag<X, A> {
        let mut copy = self.fresh();
        self.merge(&mut copy, state);
        copy
    }
    fn results(&self, state: &mut Bag<X, A>, always: bool, emit: &mut dyn FnMut(N, Option<O>)) {
        let mut now = Vec::new();
        state.aggregate.result(&mut now);
        let old = std::mem::take(&mut state.emitted);
        if !self.is_single || now.is_empty() {
            for gone in old.iter().filter(|old| now.binary_search(old).is_err()) {
                emit((self.row)(gone.clone()).0, None);
            }
        }
        let always = always && self.is_single;
        for new in now.iter().filter(|new| always || old.binary_search(new).is_err()) {
            let (name, result) = (self.row)(new.clone());
            emit(name, Some(result));
        }
        state.emitted = now;
    }
    fn names(&self, state: &Bag<X, A>, each: &mut dyn FnMut(N)) {
        state.emitted.iter().for_each(|result| each((self.row)(result.clone()).0));
    }
    fn changed(&self, state: &mut Bag<X, A>, save: &mut dyn FnMut(Option<X>, i64)) {
        state.changed.sort_unstable();
        state.changed.dedup();
        for value in state.changed.drain(..) {
            let count = state.values.get(&value).copied().unwrap_or_default();
            save(Some(value), count);
        }
    }
    fn parts(&self, state: &Bag<X, A>, each: &mut dyn FnMut(Option<X>)) {
        state.values.keys().for_each(|value| each(Some(value.clone())));
    }
    fn restore(&self, state: &mut Bag<X, A>, part: Option<X>, row: i64) {
        if let Some(value) = part {
            state.add(&value, row);
        }
    }
    fn restored(&self, state: &mut Bag<X, A>) {
        state.emitted.clear();
        state.aggregate.result(&mut state.emitted);
    }
}
