//! An output that is an archive of JSON lines, from the command line.

use std::fs;
use std::process::ExitCode;

use tempfile::TempDir;

use super::*;
use crate::StreamsBuilder;
use crate::error::{ErrorKind, Result};
use crate::options::{Consumed, Produced};
use crate::serdes::{Deserializer, Json, Reject};

/// A line is a score, which has a player of its own.
fn score(line: Option<&[u8]>) -> Result<(String, i64), Reject> {
    let score: i64 = Json.decode(line)?;
    Ok((format!("player {score}"), score))
}

/// Logs each score, and keeps the latest of each player.
fn topology(builder: &StreamsBuilder<'_>) {
    let scores = builder.stream("score", Consumed::from_value(score));
    scores.to("log", Produced::columns(["player", "score"]));
    scores.to_table().to("latest", Produced::columns(["player", "score"]));
}

fn naive(inputs: &Inputs<'_>, expected: &mut Expected) -> Result<()> {
    let mut rows = Vec::new();
    inputs.each("score", |record| {
        let line = String::from_utf8_lossy(record.value.unwrap_or_default());
        rows.extend(line.parse::<i64>().ok().map(|score| (format!("player {score}"), score)));
    })?;
    expected.rows("log", rows.iter().cloned());
    rows.sort();
    rows.dedup();
    expected.rows("latest", rows);
    Ok(())
}

fn program() -> Program {
    Program::new("journal", topology)
        .reads(["score"])
        .writes([Output::new("log").archived().prefixed(), Output::new("latest")])
        .prefix(Prefix::new("season-id"))
        .expects(naive)
}

struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = World(tempfile::tempdir().unwrap());
        world.write("from/topics/s1.score/partition=0/s1.score+0+0000000000.json", "7\n5\n7\n");
        world
    }

    fn write(&self, path: &str, lines: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, lines).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    fn perform(&self, command: &[&str]) -> Result<(ExitCode, String)> {
        let (from, lake) = (self.path("from"), self.path("lake"));
        let mut args = [&["journal"], command, &["--season-id", "s1", "--lake", &lake]].concat();
        if command[0] != "answers" {
            args.extend(["--from", &from]);
        }
        let mut out = Vec::new();
        let code = program().perform(args, &mut out)?;
        Ok((code, String::from_utf8(out).unwrap()))
    }
}

#[test]
fn an_archived_output_is_lines_of_json_in_the_lake() {
    let world = World::new();
    let (_, screen) = world.perform(&["run", "--workers", "1"]).unwrap();
    assert!(screen.contains("latest\n") && !screen.contains("log\n"), "{screen}");
    let object = "lake/archive/topics/s1.log/partition=0/s1.log+0+0000000000.json";
    let line = |score| format!("{{\"player\":\"player {score}\",\"score\":{score}}}\n");
    assert_eq!(fs::read_to_string(world.path(object)).unwrap(), [7, 5, 7].map(line).concat());

    let (_, text) = world.perform(&["describe"]).unwrap();
    let bound = format!("  log -> archive {} topic s1.log\n", world.path("lake/archive"));
    assert!(text.contains(&bound) && !text.contains("log -> delta"), "{text}");

    let error = world.perform(&["answers", "log"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("lake/archive/topics/s1.log."), "{error}");
}

#[test]
fn a_check_compares_archived_lines() {
    let world = World::new();
    world.perform(&["run", "--workers", "1"]).unwrap();
    let check = || world.perform(&["check"]);
    let (code, text) = check().unwrap();
    assert!(text.ends_with("compared 5 rows of 2 tables and 1 archived topic: all are equal\n"));
    assert_eq!(code, ExitCode::SUCCESS);

    let next = "lake/archive/topics/s1.log/partition=0/s1.log+0+0000000003.json";
    world.write(next, "{\"player\":\"player 7\",\"score\":7}\n");
    let (code, text) = check().unwrap();
    assert_eq!(code, ExitCode::from(1), "{text}");
    assert!(text.contains("DIFFERENT: 1 in the lake only, 0 missing"), "{text}");
    assert!(text.contains("  - in the lake only: player 7 | 7\n"), "{text}");

    world.write(next, "{\"player\":\"player 7\"}\n");
    let error = check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("line 3 of partition 0 of archive "), "{error}");

    fs::remove_dir_all(world.path("lake/archive")).unwrap();
    let (code, text) = check().unwrap();
    assert_eq!(code, ExitCode::from(1), "{text}");
    assert!(text.contains("DIFFERENT: 0 in the lake only, 3 missing"), "{text}");
}
