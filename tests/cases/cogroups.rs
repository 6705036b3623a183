//! Cogroups of any number of streams. The type of their values grows with each of the first three
//! streams; the later ones are merged with the third.

use std::rc::Rc;

use watershed::options::Windowing;
use watershed::prelude::*;
use watershed::{KCogrouped, KWindowedCogrouped, Side};

use super::functions::Merger;
use super::value::Dyn;

type Two = Side<Dyn, Dyn>;
type Three = Side<Two, Dyn>;

/// A stream whose keys are groups, and the aggregator of its values.
type Added<'s> = (KStream<'s, Dyn, Dyn>, Merger);

#[derive(Clone)]
pub(super) struct Cogrouped<'s> {
    streams: Vec<KStream<'s, Dyn, Dyn>>,
    values: Values<'s>,
}

#[derive(Clone)]
enum Values<'s> {
    One(KCogrouped<'s, Dyn, Dyn, Dyn>),
    Two(KCogrouped<'s, Dyn, Two, Dyn>),
    More(KCogrouped<'s, Dyn, Two, Dyn>, Vec<Added<'s>>),
}

#[derive(Clone)]
pub(super) enum CogroupedWindows<'s> {
    One(KWindowedCogrouped<'s, Dyn, Dyn, Dyn>),
    Two(KWindowedCogrouped<'s, Dyn, Two, Dyn>),
    Three(KWindowedCogrouped<'s, Dyn, Three, Dyn>),
}

fn added(add: Merger) -> impl Fn(Dyn, &Dyn) -> Dyn {
    move |all, value| add(value, &all)
}

/// Adds the third stream and all later ones.
fn three<'s>(
    before: &KCogrouped<'s, Dyn, Two, Dyn>,
    rest: &[Added<'s>],
) -> KCogrouped<'s, Dyn, Three, Dyn> {
    let tagged = rest.iter().zip(0..).map(|((stream, _), n)| {
        stream.map_values(move |value| Dyn::List(vec![Dyn::Int(n), value]))
    });
    let all = tagged.reduce(|all, next| all.merge(&next)).unwrap();
    let adds: Vec<Merger> = rest.iter().map(|(_, add)| add.clone()).collect();
    before.cogroup(&all.group_by_key(), move |all: Dyn, value: &Dyn| {
        adds[value.at(0).number() as usize](&value.at(1), &all)
    })
}

impl<'s> Cogrouped<'s> {
    pub(super) fn of(stream: &KStream<'s, Dyn, Dyn>, add: Merger) -> Self {
        let values = Values::One(stream.group_by_key().cogroup(added(add)));
        Cogrouped { streams: vec![stream.clone()], values }
    }

    /// Adds a stream.
    pub(super) fn and(&self, stream: &KStream<'s, Dyn, Dyn>, add: Merger) -> Self {
        let mut streams = self.streams.clone();
        streams.push(stream.clone());
        let values = match &self.values {
            Values::One(before) => Values::Two(before.cogroup(&stream.group_by_key(), added(add))),
            Values::Two(before) => Values::More(before.clone(), vec![(stream.clone(), add)]),
            Values::More(before, rest) => {
                let mut rest = rest.clone();
                rest.push((stream.clone(), add));
                Values::More(before.clone(), rest)
            }
        };
        Cogrouped { streams, values }
    }

    pub(super) fn aggregate(&self, init: Dyn) -> KTable<'s, Dyn, Dyn> {
        let init = move || init.clone();
        match &self.values {
            Values::One(all) => all.aggregate(init),
            Values::Two(all) => all.aggregate(init),
            Values::More(before, rest) => three(before, rest).aggregate(init),
        }
    }

    pub(super) fn windowed_by(&self, windows: Windowing) -> CogroupedWindows<'s> {
        match &self.values {
            Values::One(all) => CogroupedWindows::One(all.windowed_by(windows)),
            Values::Two(all) => CogroupedWindows::Two(all.windowed_by(windows)),
            Values::More(before, rest) => {
                CogroupedWindows::Three(three(before, rest).windowed_by(windows))
            }
        }
    }

    /// Returns the records of all streams that are late for a window.
    pub(super) fn late(&self, windows: Windowing) -> KStream<'s, Windowed<Dyn>, Dyn> {
        let streams = self.streams.iter().cloned();
        let all = streams.reduce(|all, next| all.merge(&next)).unwrap();
        all.group_by_key().windowed_by(windows).late()
    }
}

impl<'s> CogroupedWindows<'s> {
    /// Folds the values. Sessions need a merger.
    pub(super) fn aggregate(
        &self,
        init: Dyn,
        merge: Option<Merger>,
    ) -> KTable<'s, Windowed<Dyn>, Dyn> {
        let init: Rc<dyn Fn() -> Dyn> = Rc::new(move || init.clone());
        let Some(merge) = merge else {
            return match self {
                CogroupedWindows::One(all) => all.aggregate(move || init()),
                CogroupedWindows::Two(all) => all.aggregate(move || init()),
                CogroupedWindows::Three(all) => all.aggregate(move || init()),
            };
        };
        let merge = move |all: Dyn, later: &Dyn| merge(&all, later);
        match self {
            CogroupedWindows::One(all) => all.aggregate_merging(move || init(), merge),
            CogroupedWindows::Two(all) => all.aggregate_merging(move || init(), merge),
            CogroupedWindows::Three(all) => all.aggregate_merging(move || init(), merge),
        }
    }
}
