//! The comparison of outputs with those that a case expects.
//!
//! - In `per_record` mode an answer is the net change of a record. So where Kafka emits several
//!   changes of one key for one record, the last is enough.
//! - The order of outputs of one record is free.
//! - A count of 0 is no row, and changes have no old value.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use watershed::runtime::Summary;

use super::case::{Case, Checkpoint, LATE, Output};
use super::value::Dyn;

/// An output of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Got {
    pub(super) key: Dyn,
    pub(super) value: Dyn,
    /// The timestamp in milliseconds; none of the changes of a table without times.
    pub(super) at: Option<i64>,
}

/// By input and topic, the outputs of a run.
pub(super) type Outputs = Vec<BTreeMap<String, Vec<Got>>>;

/// An output that is expected. Only the parts that are present are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    key: Option<Dyn>,
    window: Option<[i64; 2]>,
    start: Option<i64>,
    value: Option<Dyn>,
    at: Option<i64>,
}

impl Expected {
    fn of(case: &Case, topic: &str, output: &Output) -> Self {
        let value = output.value();
        let is_zero = case.is_table(topic) && case.counts_rows() && value == Some(Dyn::Int(0));
        Expected {
            key: output.key.as_ref().map(Dyn::of),
            window: output.window,
            start: output.window_start,
            value: if is_zero { Some(Dyn::Null) } else { value },
            at: output.ts,
        }
    }

    fn is(&self, got: &Got) -> bool {
        self.has_key(&got.key)
            && self.value.as_ref().is_none_or(|value| *value == got.value)
            && self.at.zip(got.at).is_none_or(|(expected, at)| expected == at)
    }

    fn has_key(&self, key: &Dyn) -> bool {
        let (inner, window) = match key {
            Dyn::Window(key, start, end) => (&**key, Some([*start, *end])),
            key => (key, None),
        };
        self.key.as_ref().is_none_or(|key| key == inner)
            && self.window.is_none_or(|expected| window == Some(expected))
            && self.start.is_none_or(|start| window.is_some_and(|it| it[0] == start))
    }
}

/// Returns the last output of each key, in the order of the last outputs.
fn last_of_each(outputs: &[Expected]) -> Vec<Expected> {
    let is_last = |(n, output): &(usize, &Expected)| {
        let later = &outputs[n + 1..];
        !later.iter().any(|it| (&it.key, it.window) == (&output.key, output.window))
    };
    outputs.iter().enumerate().filter(is_last).map(|(_, output)| output.clone()).collect()
}

/// Compares outputs whose order is free.
fn compare(expected: &[Expected], got: &[Got]) -> Result<(), String> {
    let mut left = got.to_vec();
    for one in expected {
        let at = left.iter().position(|got| one.is(got));
        let at = at.ok_or_else(|| format!("expected {one:?} in {expected:?}, got {got:?}"))?;
        left.remove(at);
    }
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("expected no more than {expected:?}, got also {left:?}")),
    }
}

/// Compares the outputs of each input.
pub(super) fn per_record(
    case: &Case,
    expected: &[Vec<Output>],
    got: &Outputs,
) -> Result<(), String> {
    for (n, (expected, got)) in expected.iter().zip(got).enumerate() {
        for topic in case.topics() {
            let expected = of_topic(case, expected, &topic);
            let got = got.get(&topic).map_or(&[][..], Vec::as_slice);
            compare_net(case.is_table(&topic), &expected, got)
                .map_err(|error| format!("topic {topic} after input {}: {error}", n + 1))?;
        }
    }
    Ok(())
}

/// Compares the outputs of one input with those that Kafka emits. Those of a table may be the net
/// changes.
fn compare_net(is_table: bool, expected: &[Expected], got: &[Got]) -> Result<(), String> {
    let all = compare(expected, got);
    if is_table && all.is_err() { compare(&last_of_each(expected), got) } else { all }
}

/// Returns the outputs of a topic.
fn of_topic(case: &Case, outputs: &[Output], topic: &str) -> Vec<Expected> {
    let own = outputs.iter().filter(|it| it.topic.as_deref().is_none_or(|it| it == topic));
    own.map(|output| Expected::of(case, topic, output)).collect()
}

/// The outputs of a topic, as the checkpoints of a case read them.
pub(super) struct Reader<'a> {
    case: &'a Case,
    got: &'a Outputs,
    /// By topic, the inputs whose outputs are read.
    read: BTreeMap<String, usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(case: &'a Case, got: &'a Outputs) -> Self {
        Reader { case, got, read: BTreeMap::new() }
    }

    fn outputs(&self, topic: &str, from: usize, to: usize) -> Vec<Got> {
        let inputs = self.got.get(from..to).unwrap_or_default();
        inputs.iter().flat_map(|it| it.get(topic).cloned().unwrap_or_default()).collect()
    }

    /// Returns the number of outputs of an input, as Kafka emits them.
    fn emitted(&self, topic: &str, input: usize) -> usize {
        let case = self.case;
        match case.derived_per_record.as_ref().or(case.per_record.as_ref()) {
            Some(all) => {
                let outputs = all.get(input).map_or(&[][..], Vec::as_slice);
                outputs.iter().filter(|it| it.topic.as_deref() == Some(topic)).count()
            }
            None => self.outputs(topic, input, input + 1).len(),
        }
    }

    /// Compares outputs input by input.
    fn sequence(
        &self,
        topic: &str,
        expected: &[Expected],
        from: usize,
        to: usize,
        may_follow: bool,
    ) -> Result<(), String> {
        let mut rest = expected;
        for input in from..to {
            let count = self.emitted(topic, input);
            let got = self.outputs(topic, input, input + 1);
            let (own, later) = rest.split_at(count.min(rest.len()));
            rest = later;
            if own.len() < count && may_follow {
                return match own.iter().all(|one| got.iter().any(|got| one.is(got))) {
                    true => Ok(()),
                    false => Err(format!("expected {own:?}, got {got:?}")),
                };
            }
            compare_net(self.case.is_table(topic), own, &got)
                .map_err(|error| format!("input {}: {error}", input + 1))?;
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(format!("expected {rest:?} too")),
        }
    }

    /// Checks one checkpoint.
    pub(super) fn check(&mut self, check: &Checkpoint) -> Result<(), String> {
        let (topic, after) = (&check.topic, check.after);
        let expected: Vec<_> =
            check.records.iter().map(|it| Expected::of(self.case, topic, it)).collect();
        let from = self.read.get(topic).copied().unwrap_or(0);
        let so_far = || self.outputs(topic, 0, after);
        let unread = || self.outputs(topic, from, after);
        let result = match &*check.kind {
            "sequence" | "values" => self.sequence(topic, &expected, from, after, false),
            "next" => self.sequence(topic, &expected, from, after, true),
            "all_so_far" => self.sequence(topic, &expected, 0, after, false),
            "multiset" if self.case.is_table(topic) => set(&expected, &unread()),
            "multiset" => compare(&expected, &unread()),
            "last_per_key" => compare(&expected, &last(unread(), |got| got.key.clone())),
            "last_for_key" => {
                let mut last = last(so_far(), |got| got.key.clone());
                last.retain(|got| expected.iter().any(|it| it.has_key(&got.key)));
                compare(&expected, &last)
            }
            "last_per_window_start" => compare(&expected, &last(unread(), start)),
            "last_record" => compare(&expected, &so_far().pop().into_iter().collect::<Vec<_>>()),
            "final_table" => compare(&expected, &table(so_far())),
            "index" => {
                let at = so_far().into_iter().nth(check.index.unwrap_or_default());
                compare(&expected, &at.into_iter().collect::<Vec<_>>())
            }
            "count" => match so_far().len() {
                count if Some(count) == check.count => Ok(()),
                count => Err(format!("expected {:?} outputs, got {count}", check.count)),
            },
            other => Err(format!("unknown match {other}")),
        };
        if !["all_so_far", "last_for_key", "index", "count", "last_record"].contains(&&*check.kind)
        {
            self.read.insert(topic.clone(), after);
        }
        result.map_err(|error| format!("{} of {topic} after {after}: {error}", check.kind))
    }
}

/// Compares the number of dropped records, and the windows that late records have missed.
pub(super) fn drops(case: &Case, got: &Outputs, summary: &Summary) -> Result<(), String> {
    let missed: Vec<(i64, [i64; 2])> = got
        .iter()
        .flat_map(|it| it.get(LATE).into_iter().flatten())
        .filter_map(|got| match got.key {
            Dyn::Window(_, start, end) => Some((got.at?, [start, end])),
            _ => None,
        })
        .collect();
    let mut expected = case.late_records().filter(|_| case.has_late_records());
    if let Some(one) = expected.find(|one| !missed.contains(one)) {
        return Err(format!("expected that a late record misses {one:?}, got {missed:?}"));
    }
    let late: u64 = summary.steps.iter().map(|step| step.total().late).sum();
    let dead: u64 = summary.topics.values().map(|topic| topic.dead).sum();
    let dropped = late + dead + case.dropped.load(Ordering::Relaxed);
    match case.drops {
        Some(drops) if drops != dropped => {
            Err(format!("expected {drops} dropped records, got {dropped}"))
        }
        _ => Ok(()),
    }
}

/// Compares sets of outputs.
fn set(expected: &[Expected], got: &[Got]) -> Result<(), String> {
    let lacks = expected.iter().find(|one| !got.iter().any(|got| one.is(got)));
    let extra = got.iter().find(|got| !expected.iter().any(|one| one.is(got)));
    match (lacks, extra) {
        (None, None) => Ok(()),
        (lacks, extra) => Err(format!("lacks {lacks:?}, has {extra:?}")),
    }
}

/// Returns the last output for each result of `of`.
fn last<T: Ord>(outputs: Vec<Got>, of: impl Fn(&Got) -> T) -> Vec<Got> {
    let last: BTreeMap<T, Got> = outputs.into_iter().map(|got| (of(&got), got)).collect();
    last.into_values().collect()
}

fn start(got: &Got) -> i64 {
    match got.key {
        Dyn::Window(_, start, _) => start,
        _ => 0,
    }
}

/// Returns the rows of a table that the outputs change.
fn table(outputs: Vec<Got>) -> Vec<Got> {
    let mut rows = last(outputs, |got| got.key.clone());
    rows.retain(|got| !got.value.is_null());
    rows
}

/// Compares the outputs of all inputs, in any order.
pub(super) fn end(case: &Case, expected: &[Output], got: &Outputs) -> Result<(), String> {
    for topic in case.topics() {
        let own = expected.iter().filter(|it| it.topic.as_deref() == Some(&*topic));
        let mut expected: Vec<_> = own.map(|it| Expected::of(case, &topic, it)).collect();
        if case.final_timestamps_too != Some(true) {
            expected.iter_mut().for_each(|it| it.at = None);
        }
        let all: Vec<Got> =
            got.iter().flat_map(|it| it.get(&topic).cloned().unwrap_or_default()).collect();
        let (got, expected) = match (case.is_table(&topic), case.is_changes(&topic)) {
            (true, _) => (
                table(all),
                expected.into_iter().filter(|it| it.value != Some(Dyn::Null)).collect(),
            ),
            // How many changes there are depends on the ends of epochs; the last ones do not.
            (false, true) => (last(all, |got| got.key.clone()), last_of_each(&expected)),
            (false, false) => (all, expected),
        };
        compare(&expected, &got).map_err(|error| format!("the end of {topic}: {error}"))?;
    }
    Ok(())
}
