//! Tables as sorted lines of text: those of a lake, and those of the oracle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use watershed::Result;
use watershed::connectors::delta::Table;
use watershed::row::Value;
use watershed::store::Store;

/// Sorted rows as text, by table.
pub(crate) type Tables = BTreeMap<String, Vec<String>>;

/// The path of a script in `tests/support`.
pub(crate) fn support(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(name)
}

/// Parses the tables in the oracle's output.
pub(crate) fn parse_tables(output: &[u8]) -> Tables {
    let mut found: Json = serde_json::from_slice(output).unwrap();
    let mut tables = Tables::new();
    for part in ["tables", "views"] {
        let Json::Object(part) = found[part].take() else { panic!("the oracle has no {part}") };
        tables.extend(part.into_iter().map(|(name, rows)| (name, lines(rows.as_array().unwrap()))));
    }
    let letter = |l: &Json| {
        let kind = l[0].as_str().unwrap().rsplit('.').next().unwrap();
        format!("{kind} {} {}", l[1], l[2])
    };
    tables.insert(
        "dead_letters".into(),
        sorted(found["dead_letters"].as_array().unwrap().iter().map(letter)),
    );
    tables
}

/// Returns the folders of the tables in the lake at `url`.
pub(crate) fn folders(url: &str) -> Vec<String> {
    let store = Store::open(url).unwrap();
    let is_table = |name: &String| !store.list(&format!("{name}/_delta_log")).unwrap().is_empty();
    store.folders("").unwrap().into_iter().filter(is_table).collect()
}

/// Returns the oracle's name of the table in a folder: without the prefix of the user.
pub(crate) fn named(folder: &str) -> String {
    let (_, name) = folder.split_once('_').filter(|(_, t)| t.ends_with("_table")).unzip();
    name.unwrap_or(folder).to_string()
}

/// Returns the rows of the table `name` as text. Of a dead letter only its origin counts.
pub(crate) fn table_lines(name: &str, table: &Table) -> Result<Vec<String>> {
    let letter = |row: &Json| {
        let (topic, position) = (row["topic"].as_str().unwrap(), row["position"].as_str().unwrap());
        format!("{topic} {} {position}", row["partition"])
    };
    let rows = rows(table)?;
    Ok(if name == "dead_letters" { sorted(rows.iter().map(letter)) } else { lines(&rows) })
}

/// Reads the tables of the lake at `url` with our own reader, as of commit `n` if given.
pub(crate) fn tables(url: &str, n: Option<u64>) -> Tables {
    let read = |folder: String| {
        let url = format!("{url}/{folder}");
        let table = match n {
            Some(n) => Table::as_of(&url, n).unwrap().unwrap(),
            None => Table::open(&url).unwrap(),
        };
        let name = named(&folder);
        let lines = table_lines(&name, &table).unwrap();
        (name, lines)
    };
    folders(url).into_iter().map(read).collect()
}

fn sorted(rows: impl Iterator<Item = String>) -> Vec<String> {
    let mut rows: Vec<String> = rows.collect();
    rows.sort();
    rows
}

/// Returns rows as sorted lines.
pub(crate) fn lines(rows: &[Json]) -> Vec<String> {
    sorted(rows.iter().map(|row| {
        let fields: BTreeMap<_, _> = row.as_object().unwrap().iter().collect();
        serde_json::to_string(&fields).unwrap()
    }))
}

fn rows(table: &Table) -> Result<Vec<Json>> {
    let mut rows = Vec::new();
    table.for_each(&mut |values| {
        let field =
            |(column, value): (&watershed::row::Column, &Value)| (column.name.clone(), json(value));
        rows.push(Json::Object(table.columns().iter().zip(values).map(field).collect()));
        Ok(())
    })?;
    Ok(rows)
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Long(v) | Value::Timestamp(v) => (*v).into(),
        Value::Double(v) => (*v).into(),
        Value::Boolean(v) => (*v).into(),
        Value::Text(v) => v.clone().into(),
        Value::Doubles(v) => v.clone().into(),
        Value::Binary(v) => v.iter().map(|b| format!("{b:02x}")).collect::<String>().into(),
    }
}
