//! The queries of stores. A case has at most one store that is queried: that of its first step that
//! keeps rows, other than those of a topic.

use serde_json::Value as Json;
use watershed::Datum;
use watershed::prelude::*;

use super::case::{Case, StoreCheck};
use super::value::{Dyn, Key};

/// Returns true if the rows of a step are kept in a store.
pub(super) fn is_stored(node: &Json) -> bool {
    let is_aggregate =
        ["count", "reduce", "aggregate"].contains(&node["op"].as_str().unwrap_or(""));
    is_aggregate || (node["materialized"] == true && node["op"] != "table")
}

/// Compares the answers of the store after so many inputs.
pub(super) fn check(case: &Case, driver: &TopologyTestDriver, after: usize) -> Result<(), String> {
    let mut checks = case.store_checks.iter().filter(|check| check.after == after).peekable();
    if checks.peek().is_none() {
        return Ok(());
    }
    let stored = case.topology.nodes.iter().find(|node| is_stored(node));
    let id = stored.and_then(|node| node["id"].as_str()).ok_or("there is no store")?;
    let rows = match rows::<Dyn>(driver, id) {
        Ok(rows) => rows,
        Err(_) => rows::<Windowed<Dyn>>(driver, id)?,
    };
    for StoreCheck { query, expect, .. } in checks {
        let expected = expected(expect);
        match answer(query, &rows)? {
            Some(got) if got != expected => {
                return Err(format!(
                    "query {query:?} after {after}: expected {expected:?}, got {got:?}"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the rows of a store.
fn rows<K: Datum + Key>(driver: &TopologyTestDriver, id: &str) -> Result<Vec<(Dyn, Dyn)>, String> {
    let store = driver.store::<K, Dyn>(id).map_err(|error| error.to_string())?;
    Ok(store.view().all().map(|(key, value)| (key.to_dyn(), value.clone())).collect())
}

/// Returns the answer of a query; none if rows have no such property.
fn answer(query: &[Json], rows: &[(Dyn, Dyn)]) -> Result<Option<Dyn>, String> {
    let pair = |(key, value): &(Dyn, Dyn)| Dyn::List(vec![key.clone(), value.clone()]);
    let mut rows = rows.to_vec();
    let mut rest = query;
    match (query[0].as_str(), query[0].as_array().map(Vec::as_slice)) {
        (Some("map"), _) => return Ok(Some(Dyn::List(rows.iter().map(pair).collect()))),
        (Some("all"), _) => {}
        (_, Some([get, key])) if get == "get" => {
            let found = rows.iter().find(|row| row.0 == Dyn::of(key));
            return Ok(Some(found.map_or(Dyn::Null, |row| row.1.clone())));
        }
        (_, Some([fetch, bounds @ ..])) if fetch == "fetch" => {
            rows.retain(|(key, _)| is_fetched(key, bounds));
        }
        (_, Some([find, key, ends, starts])) if find == "findSessions" => {
            let (ends, starts) = (ends.as_i64(), starts.as_i64());
            rows.retain(|row| match &row.0 {
                Dyn::Window(of, start, end) => {
                    **of == Dyn::of(key) && Some(*end) >= ends && Some(*start) <= starts
                }
                _ => false,
            });
        }
        _ => return Err(format!("unknown query {query:?}")),
    }
    rest = &rest[1..];
    let rest: Vec<&str> = rest.iter().filter_map(Json::as_str).collect();
    let first = rows.first().cloned().unwrap_or_default();
    Ok(match &rest[..] {
        [] | ["toList"] => Some(Dyn::List(rows.iter().map(pair).collect())),
        ["next", "key"] => Some(first.0),
        ["next", "value"] | ["next", "value", "value"] => Some(first.1),
        ["next", "value", "timestamp"] => None,
        // In a case this follows `next` in an iterator over all rows.
        ["hasNext"] if query[0] == "all" => Some(Dyn::Bool(rows.len() > 1)),
        ["hasNext"] => Some(Dyn::Bool(!rows.is_empty())),
        _ => return Err(format!("unknown query {query:?}")),
    })
}

/// Returns true if a window is within bounds: keys from and to, and times from and to of its start.
fn is_fetched(key: &Dyn, bounds: &[Json]) -> bool {
    let Dyn::Window(key, start, _) = key else {
        return false;
    };
    let is_within = |from: &Json, to: &Json| (Dyn::of(from)..=Dyn::of(to)).contains(&**key);
    match bounds {
        [key_from, key_to] => is_within(key_from, key_to),
        [key_from, key_to, from, to] => {
            let times = from.as_i64().unwrap_or(i64::MIN)..=to.as_i64().unwrap_or(i64::MAX);
            is_within(key_from, key_to) && times.contains(start)
        }
        _ => false,
    }
}

/// Reads the expected answer, with windowed keys.
fn expected(json: &Json) -> Dyn {
    match json {
        Json::Array(list) => Dyn::List(list.iter().map(expected).collect()),
        Json::Object(fields) => match (fields.get("pair"), fields.get("key"), fields.get("window"))
        {
            (Some(pair), ..) => expected(pair),
            (_, Some(key), Some(window)) => {
                let bound = |n: usize| window[n].as_i64().unwrap_or_default();
                Dyn::Window(Box::new(Dyn::of(key)), bound(0), bound(1))
            }
            // Rows have no timestamps.
            _ if fields.len() == 2 && fields.contains_key("ts") => Dyn::of(&fields["value"]),
            _ => Dyn::of(json),
        },
        _ => Dyn::of(json),
    }
}
