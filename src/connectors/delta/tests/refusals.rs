//! Promises for tables that are refused unchanged.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::model::{Dice, Rows, World, row, schema};
use crate::connect::{Mode, Schema, Sink, SinkContext};
use crate::error::{Error, ErrorKind};

/// Returns a table with commit 1 of three rows.
fn table(folder: &Path) -> (World, Rows) {
    let (mut dice, mut world, mut rows) = (Dice::new(1), World::new(folder, |d| d), Rows::new());
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    for key in 0..3 {
        rows.insert(key, row(key, &mut dice));
        run.insert(key, &rows[&key]);
    }
    let content = run.stage(1).unwrap();
    run.committer.commit(1, &content).unwrap();
    (world.committed, world.recorded) = (1, Some((1, content)));
    (world, rows)
}

/// Opens the table, and checks that it is refused and unchanged.
fn refused(world: &World, change: impl FnOnce(&mut Schema, &mut SinkContext)) -> String {
    let files = |folder: &str| {
        let mut files: Vec<_> =
            fs::read_dir(folder).into_iter().flatten().map(|f| f.unwrap().path()).collect();
        files.extend(
            fs::read_dir(format!("{folder}/_delta_log"))
                .into_iter()
                .flatten()
                .map(|f| f.unwrap().path()),
        );
        files.sort();
        files
    };
    let before = files(&world.url);
    let (mut schema, mut context) = (schema(Mode::Snapshot), world.context(1));
    change(&mut schema, &mut context);
    let error = world.sink().open(&schema, &context).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(files(&world.url), before);
    error.to_string()
}

#[test]
fn a_folder_of_other_files_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path(), |d| d);
    fs::create_dir(&world.url).unwrap();
    fs::write(format!("{}/notes.txt", world.url), "mine").unwrap();
    assert!(refused(&world, |_, _| ()).contains("is no Delta table"));
}

#[test]
fn a_table_unlike_its_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (world, _) = table(folder.path());
    assert!(
        refused(&world, |_, context| context.app = "app-2".into())
            .contains("was not made by this application")
    );
    assert!(
        refused(&world, |schema, _| schema.topic = "demo.geo".into())
            .contains("was not made by this application")
    );
    assert!(
        refused(&world, |schema, _| schema.columns[1].nullable = false)
            .contains("has other columns")
    );
    assert!(
        refused(&world, |_, context| context.committed = 0)
            .contains("is at commit 1, and the state at commit 0")
    );
    fs::remove_dir_all(&world.url).unwrap();
    assert!(refused(&world, |_, _| ()).contains("is gone"));
}

fn restart(world: &mut World, rows: &Rows) -> Error {
    let error = world.start(2, rows, &mut Dice::new(2)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Data);
    error
}

#[test]
fn rows_that_are_missing_or_too_many_stop_the_recovery() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, mut rows) = table(folder.path());
    let gone = rows.remove(&1).unwrap();
    assert!(
        restart(&mut world, &rows).to_string().contains("has 3 rows, and 2 were written to it")
    );
    rows.insert(1, gone);
    rows.insert(7, row(7, &mut Dice::new(3)));
    assert!(restart(&mut world, &rows).to_string().contains("lacks 1 rows"));
}

/// Adds a version of another program.
fn meddle(world: &World, version: u64, actions: &[Json]) {
    let lines: Vec<String> = actions.iter().map(Json::to_string).collect();
    fs::write(format!("{}/_delta_log/{version:020}.json", world.url), lines.join("\n")).unwrap();
}

fn add(path: &str) -> Json {
    let stats = json!({"numRecords": 1}).to_string();
    json!({"add": {
        "path": path,
        "partitionValues": {},
        "size": 1,
        "modificationTime": 1,
        "dataChange": true,
        "stats": stats,
    }})
}

#[test]
fn a_commit_of_another_program_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, rows) = table(folder.path());
    let mut run = world.start(1, &rows, &mut Dice::new(2)).unwrap();
    meddle(&world, 3, &[add("stranger.parquet")]);
    run.insert(5, &row(5, &mut Dice::new(5)));
    let content = run.stage(2).unwrap();
    let error = run.committer.commit(2, &content).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("another program has changed the rows"), "{error}");
}

#[test]
fn the_next_run_detects_a_foreign_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (world, _) = table(folder.path());
    let log = std::fs::read_to_string(format!("{}/_delta_log/{:020}.json", world.url, 1)).unwrap();
    let actions = log.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let ours = actions
        .filter_map(|action| Some(action["add"]["path"].as_str()?.to_string()))
        .next()
        .unwrap();
    // A file in place of ours, with as many rows under the same keys.
    let remove = json!({"remove": {"path": ours, "deletionTimestamp": 1, "dataChange": true}});
    meddle(
        &world,
        2,
        &[
            json!({"commitInfo": {"engineInfo": "stranger", "operation": "UPDATE"}}),
            remove,
            add("stranger.parquet"),
        ],
    );
    assert!(refused(&world, |_, _| ()).contains("another program has removed rows from the table"));
    meddle(
        &world,
        2,
        &[
            json!({"commitInfo": {"engineInfo": "stranger", "operation": "WRITE"}}),
            add("stranger.parquet"),
        ],
    );
    meddle(&world, 3, &[json!({"txn": {"appId": "stranger", "version": 7}})]);
    assert!(refused(&world, |_, _| ()).contains("another program has changed the rows"));
}

#[test]
fn a_version_made_after_the_check_of_a_table_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, rows) = table(folder.path());
    let (sink, schema) = (world.sink(), schema(Mode::Snapshot));
    sink.check(&schema, &world.context(1)).unwrap();
    // A newer run, and then another program.
    world.start(1, &rows, &mut Dice::new(2)).unwrap();
    let taken = sink.open(&schema, &SinkContext { generation: 1, ..world.context(1) });
    assert_eq!(taken.err().unwrap().kind(), ErrorKind::Superseded);
    sink.check(&schema, &world.context(1)).unwrap();
    meddle(&world, 3, &[add("stranger.parquet")]);
    let error = sink.open(&schema, &world.context(1)).err().unwrap();
    assert!(error.to_string().contains("another program has changed the rows"), "{error}");
}

#[test]
fn an_existing_commit_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, mut rows) = table(folder.path());
    let mut run = world.start(1, &rows, &mut Dice::new(2)).unwrap();
    rows.insert(5, row(5, &mut Dice::new(5)));
    run.insert(5, &rows[&5]);
    let content = run.stage(2).unwrap();
    // Another run takes over and makes the commit first.
    world.generation += 1;
    let mut other = world.sink().open(&schema(Mode::Snapshot), &world.context(1)).unwrap();
    other.commit(2, &content).unwrap();
    run.committer.commit(2, &content).unwrap();
    assert_eq!(world.read(), rows);
    assert!(!Path::new(&format!("{}/_delta_log/{:020}.json", world.url, 5)).exists());
}

#[test]
fn a_table_that_has_a_key_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut world) = (Dice::new(1), World::new(folder.path(), |d| d));
    let mut run = world.start(1, &Rows::new(), &mut dice).unwrap();
    // Two slots get a row of one key, which no table of a topology does.
    (1..3).for_each(|slot| run.insert(slot, &row(7, &mut dice)));
    let content = run.stage(1).unwrap();
    run.committer.commit(1, &content).unwrap();
    (world.committed, world.generation) = (1, 2);
    let (sink, schema, context) = (world.sink(), schema(Mode::Snapshot), world.context(1));
    let brief = sink.open(&schema, &context).unwrap().brief().unwrap();
    let mut recovery = sink.writers(&schema, &context, &brief, 0..1).unwrap();
    let error = recovery[0].insert(0, &row(7, &mut dice)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error
            .to_string()
            .contains("has a key twice: in part-1-0-0.parquet and in part-1-0-0.parquet"),
        "{error}"
    );
}

/// Returns the error of a reader of the table.
fn read(world: &World) -> String {
    let read =
        super::super::Table::open(&world.url).and_then(|table| table.for_each(&mut |_| Ok(())));
    read.unwrap_err().to_string()
}

#[test]
fn a_reader_of_a_changed_table_gets_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let (world, _) = table(folder.path());
    let log = |version: u64| {
        fs::read_to_string(format!("{}/_delta_log/{version:020}.json", world.url)).unwrap()
    };
    let mut metadata = log(0)
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap())
        .find(|a| a.get("metaData").is_some())
        .unwrap();
    let mut columns: Json =
        serde_json::from_str(metadata["metaData"]["schemaString"].as_str().unwrap()).unwrap();
    let more = json!({"name": "more", "type": "long", "nullable": true, "metadata": {}});
    columns["fields"].as_array_mut().unwrap().push(more);
    metadata["metaData"]["schemaString"] = columns.to_string().into();
    meddle(&world, 2, &[metadata]);
    let said = read(&world);
    assert!(
        said.contains(&world.url)
            && said.contains("lacks column more")
            && said.contains("as of that commit"),
        "{said}"
    );
    fs::remove_file(format!("{}/_delta_log/{:020}.json", world.url, 2)).unwrap();
    let files = fs::read_dir(&world.url).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.is_file()).for_each(|path| fs::remove_file(path).unwrap());
    let said = read(&world);
    assert!(said.contains("has deleted it") && said.contains("begin anew"), "{said}");
}
