//! The run of a case in both modes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watershed::prelude::*;
use watershed::runtime::Summary;

use super::case::{Case, Input, LATE};
use super::check::{self, Got, Outputs};
use super::graph;
use super::restarts;
use super::stores;
use super::value::Dyn;

/// Returns the difference between a case and the runs of its graph.
pub(super) fn agrees(case: Case) -> Result<(), String> {
    let case = Arc::new(case);
    let topology = topology(&case)?;
    let mut queries = Ok(());
    let has_restarts = case.inputs.iter().any(|input| input.restart.is_some());
    let got = if has_restarts {
        let is_restarted = |_: usize, input: &Input| input.restart.is_some();
        restarts::outputs(&case, &topology, ProcessingMode::PerRecord, is_restarted)
    } else {
        let driver = TopologyTestDriver::per_record(topology.clone()).map_err(text)?;
        let run = outputs(&case, driver, 1, |driver, after| {
            if queries.is_ok() {
                queries = stores::check(&case, driver, after);
            }
        });
        let compared =
            |(got, summary): (Outputs, Summary)| check::drops(&case, &got, &summary).map(|()| got);
        run.and_then(compared)
    };
    if case.error.is_some() {
        return match got {
            Ok(_) => Err("expected that the run fails".to_string()),
            Err(_) => Ok(()),
        };
    }
    let got = got?;
    let own = case.per_record.as_ref().or(case.derived_per_record.as_ref());
    if let Some(expected) = own {
        let compared = check::per_record(&case, expected, &got);
        let other = case.per_record_without_store_retention.as_ref();
        let other = other.map(|expected| check::per_record(&case, expected, &got));
        match other {
            // The checkpoints and the end are those of a store that forgets windows.
            Some(Ok(())) => return queries,
            _ => compared?,
        }
    }
    let mut reader = check::Reader::new(&case, &got);
    case.checkpoints.iter().try_for_each(|check| reader.check(check))?;
    if !has_restarts {
        restarted_in_between(&case, &topology, &got)?;
    }
    if case.final_same_for_any_interleaving == Some(true) {
        for (workers, every) in [(1, usize::MAX), (2, 2)] {
            let driver =
                TopologyTestDriver::with_workers(topology.clone(), workers).map_err(text)?;
            let (got, _) = outputs(&case, driver, every, |_, _| ())?;
            if let Some(expected) = case.end.as_ref().or(case.derived_final.as_ref()) {
                let mode = |error| format!("{workers} workers, consistent: {error}");
                check::end(&case, expected, &got).map_err(mode)?;
            }
        }
    }
    // The last, so that all else is compared although a query differs.
    queries
}

fn text(error: Error) -> String {
    error.to_string()
}

/// Runs a case with a restart in the middle, in both modes.
fn restarted_in_between(case: &Case, topology: &Topology, got: &Outputs) -> Result<(), String> {
    let is_of_text = |it: &serde_json::Value| it["fn"] == "append" || it["fn"] == "format";
    if case.topology.nodes.iter().any(|node| is_of_text(&node["subtractor"])) {
        // A text that grows with each subtraction is not made again from the rows alone.
        return Ok(());
    }
    let middle = |n: usize, _: &Input| n == case.inputs.len() / 2;
    let again = restarts::outputs(case, topology, ProcessingMode::PerRecord, middle)?;
    let sorted = |outputs: &BTreeMap<String, Vec<Got>>| {
        let mut outputs = outputs.clone();
        outputs.values_mut().for_each(|outputs| outputs.sort());
        outputs
    };
    for (n, (got, again)) in got.iter().zip(&again).enumerate() {
        let (got, mut again) = (sorted(got), sorted(again));
        again.retain(|topic, _| got.contains_key(topic));
        if got != again {
            return Err(format!("input {} of a continued run: {got:?} before, {again:?}", n + 1));
        }
    }
    if case.final_same_for_any_interleaving == Some(true)
        && let Some(expected) = case.end.as_ref().or(case.derived_final.as_ref())
    {
        let got = restarts::outputs(case, topology, ProcessingMode::Consistent, middle)?;
        check::end(case, expected, &got)
            .map_err(|error| format!("consistent, in a continued run: {error}"))?;
    }
    Ok(())
}

/// Returns the topology of a case, once all of its steps can be built.
fn topology(case: &Arc<Case>) -> Result<Topology, String> {
    let error = Arc::new(Mutex::new(None));
    let (case, failed) = (case.clone(), error.clone());
    let topology = Topology::new("case", move |builder: &StreamsBuilder<'_>| {
        if let Err(error) = graph::build(&case, builder) {
            *failed.lock().unwrap() = Some(error);
        }
    });
    topology.describe();
    let error = error.lock().unwrap().take();
    error.map_or(Ok(topology), Err)
}

/// Pipes the inputs, and commits after each `every`. Returns the outputs after each input, after
/// which `look` is called, and the summary of the run.
fn outputs(
    case: &Case,
    mut driver: TopologyTestDriver,
    every: usize,
    mut look: impl FnMut(&TopologyTestDriver, usize),
) -> Result<(Outputs, Summary), String> {
    let mut topics = case.topics();
    topics.extend(case.has_late_records().then(|| LATE.to_string()));
    let mut outputs = Vec::new();
    for (n, input) in case.inputs.iter().enumerate() {
        pipe(&mut driver, input)?;
        if (n + 1) % every == 0 || n + 1 == case.inputs.len() {
            driver.commit().map_err(text)?;
        }
        let read = |topic: &String| (topic.clone(), read(&mut driver, topic));
        outputs.push(topics.iter().map(read).collect::<BTreeMap<_, _>>());
        look(&driver, n + 1);
    }
    let summary = driver.finish().map_err(text)?;
    Ok((outputs, summary))
}

fn pipe(driver: &mut TopologyTestDriver, input: &Input) -> Result<(), String> {
    if input.restart.is_some() {
        // In a consistent run the driver goes on, with the same end.
        return Ok(());
    }
    let Some(topic) = &input.topic else {
        let advance = input.advance_wall_clock_ms.map(Duration::from_millis);
        driver.advance_wall_clock_time(advance.ok_or("unknown input")?);
        return Ok(());
    };
    driver.set_time(Timestamp::from_millis(input.ts.unwrap_or_default()));
    let value = Dyn::of(&input.value);
    driver.pipe(topic, 0, input.key().bytes().as_deref(), value.bytes().as_deref());
    Ok(())
}

/// Reads the new outputs of a topic.
fn read(driver: &mut TopologyTestDriver, topic: &str) -> Vec<Got> {
    driver.changes(topic).into_iter().filter_map(|(_, row)| row).map(got).collect()
}

/// Reads a row of an output topic.
pub(super) fn got(row: Vec<Value>) -> Got {
    let dynamic = |value: &Value| match value {
        Value::Text(text) => Dyn::read(text.as_bytes()),
        other => panic!("{other:?}"),
    };
    let at = match &row[2] {
        Value::Timestamp(micros) => Some(micros / 1000),
        _ => None,
    };
    Got { key: dynamic(&row[0]), value: dynamic(&row[1]), at }
}
