//! Cogroups of up to three streams. The type of their values grows with each stream.

use std::rc::Rc;

use watershed::options::Windowing;
use watershed::prelude::*;
use watershed::{KCogrouped, KWindowedCogrouped, Side};

use super::functions::Merger;
use super::graph::missing;
use super::value::Dyn;

type Two = Side<Dyn, Dyn>;
type Three = Side<Two, Dyn>;

#[derive(Clone)]
pub(super) enum Cogrouped<'s> {
    One(KCogrouped<'s, Dyn, Dyn, Dyn>),
    Two(KCogrouped<'s, Dyn, Two, Dyn>),
    Three(KCogrouped<'s, Dyn, Three, Dyn>),
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

impl<'s> Cogrouped<'s> {
    pub(super) fn of(group: &KGrouped<'s, Dyn, Dyn>, add: Merger) -> Self {
        Cogrouped::One(group.cogroup(added(add)))
    }

    /// Adds a stream.
    pub(super) fn and(&self, group: &KGrouped<'s, Dyn, Dyn>, add: Merger) -> Result<Self, String> {
        match self {
            Cogrouped::One(before) => Ok(Cogrouped::Two(before.cogroup(group, added(add)))),
            Cogrouped::Two(before) => Ok(Cogrouped::Three(before.cogroup(group, added(add)))),
            Cogrouped::Three(_) => missing("cogroup of four"),
        }
    }

    pub(super) fn aggregate(&self, init: Dyn) -> KTable<'s, Dyn, Dyn> {
        let init = move || init.clone();
        match self {
            Cogrouped::One(all) => all.aggregate(init),
            Cogrouped::Two(all) => all.aggregate(init),
            Cogrouped::Three(all) => all.aggregate(init),
        }
    }

    pub(super) fn windowed_by(&self, windows: Windowing) -> CogroupedWindows<'s> {
        match self {
            Cogrouped::One(all) => CogroupedWindows::One(all.windowed_by(windows)),
            Cogrouped::Two(all) => CogroupedWindows::Two(all.windowed_by(windows)),
            Cogrouped::Three(all) => CogroupedWindows::Three(all.windowed_by(windows)),
        }
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
