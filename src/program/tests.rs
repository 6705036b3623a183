//! A program of two topics, run from its command line.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use tempfile::TempDir;

use super::*;
use crate::StreamsBuilder;
use crate::connect::memory::MemoryLog;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Consumed, Produced};
use crate::serdes::Reject;

/// Scores below this one are left out.
#[derive(clap::Args)]
struct Options {
    /// The least score that counts
    #[arg(long, default_value_t = 0)]
    least: i64,
}

/// A line `key number`.
fn entry(value: Option<&[u8]>) -> Result<(String, i64), Reject> {
    let line = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    let entry = line.split_once(' ').and_then(|(key, n)| Some((key.to_string(), n.parse().ok()?)));
    entry.ok_or_else(|| Reject::new("no entry", line))
}

fn topology(builder: &StreamsBuilder<'_>, options: &Options) {
    let least = options.least;
    builder.setting("least", least);
    let scores = builder.table("score", Consumed::from_value(entry));
    let teams = builder.table("team", Consumed::from_value(entry));
    scores
        .join(&teams, |score, team| (*score, *team))
        .filter(move |_, (score, _)| *score >= least)
        .group_by(|_, (score, team)| (*team, *score))
        .sum(|score| *score)
        .to("total", Produced::columns(["team", "score"]));
    scores.to("score_table", Produced::columns(["player", "score"]));
}

fn naive(inputs: &Inputs<'_, Options>, expected: &mut Expected) -> Result<()> {
    let mut latest = |topic| {
        let mut rows = BTreeMap::new();
        inputs.each(topic, |record| match entry(record.value) {
            Ok((key, n)) => {
                let stands = rows.entry(key).or_insert((record.order, n));
                *stands = (*stands).max((record.order, n));
            }
            Err(reject) => expected.dead_letter(topic, &record, reject),
        })?;
        Ok::<_, Error>(rows)
    };
    let (scores, teams) = (latest("score")?, latest("team")?);
    let mut totals = BTreeMap::new();
    for (player, (order, score)) in scores {
        if let Some((_, team)) = teams.get(&player)
            && score >= inputs.options().least
        {
            *totals.entry(*team).or_insert(0) += score;
        }
        let digest = expected.digest_of(&(player, score));
        expected.digest("score_table", digest, Origin::Record { topic: "score", order });
    }
    expected.rows("total", totals);
    Ok(())
}

fn program() -> Program<Options> {
    Program::with_options("league", topology)
        .about("Scores of players and teams")
        .reads(["score", "team"])
        .writes([Output::new("total").title("How many points has each team?")])
        .writes([Output::new("score_table").unlisted().prefixed()])
        .prefix(Prefix::new("season-id").default_value("s1"))
        .expects(naive)
        .scheme("constant", |url, topic| {
            let log = MemoryLog::default();
            let (_, lines) = url.split_once("://").unwrap_or_default();
            for line in lines.split(',') {
                let value = if topic == "team" {
                    line.replace(|c: char| c.is_numeric(), "7")
                } else {
                    line.into()
                };
                log.append(0, None, Some(value.as_bytes()));
            }
            Ok(Box::new(log))
        })
        .command("names", "Print the names of all topics", |_: (), context| {
            let names = [context.topics(), context.streams()].concat().join(" ");
            context.print(&format!("{}: {names}\n", context.prefix()))
        })
}

struct World(TempDir);

impl World {
    /// An archive of three players in two teams, with a line that is no entry.
    fn new() -> Self {
        let world = World(tempfile::tempdir().unwrap());
        world.append("score", 0, "ann 3\nbob 5\nnonsense\n");
        world.append("team", 0, "ann 1\nbob 2\ncid 1\n");
        world
    }

    fn append(&self, topic: &str, offset: u64, lines: &str) {
        let folder = self.0.path().join(format!("archive/topics/s1.{topic}/partition=0"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("s1.{topic}+0+{offset:010}.json")), lines).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    /// Performs a command with the archive and the lake of this world.
    fn perform(&self, command: &[&str]) -> Result<(ExitCode, String)> {
        let (from, lake) = (self.path("archive"), self.path("lake"));
        let mut args = vec!["league"];
        args.extend(command);
        args.extend(["--lake", &lake]);
        if !["answers", "state"].contains(&command[0]) && !command.contains(&"--from") {
            args.extend(["--from", &from]);
        }
        let mut out = Vec::new();
        let code = program().perform(args, &mut out)?;
        Ok((code, String::from_utf8(out).unwrap()))
    }

    fn ok(&self, command: &[&str]) -> String {
        let (code, text) = self.perform(command).unwrap();
        assert_eq!(code, ExitCode::SUCCESS, "{text}");
        text
    }
}

#[test]
fn a_run_answers_and_an_earlier_commit_stays_readable() {
    let world = World::new();
    let screen = world.ok(&["run", "--workers", "2"]);
    assert!(screen.contains("How many points has each team? (total)\n"), "{screen}");
    assert!(screen.contains("\n6 new records in "), "{screen}");
    let csv = |more: &[&str]| world.ok(&[&["answers", "total", "--format", "csv"], more].concat());
    let first = "team,score\n1,3\n2,5\n";
    assert_eq!(csv(&[]), first);
    world.append("score", 3, "cid 4\n");
    world.ok(&["run", "--close-at-end"]);
    assert_eq!(csv(&[]), "team,score\n1,7\n2,5\n");
    assert_eq!(csv(&["--as-of", "1"]), first);
    let error = world.perform(&["answers", "--as-of", "9"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let error = world.perform(&["answers", "nonsense"]).unwrap_err();
    assert!(error.to_string().contains("Give one of total, score_table, dead_letters."), "{error}");
}

#[test]
fn a_check_finds_no_difference_until_a_source_grows() {
    let world = World::new();
    world.ok(&["run"]);
    let equal = world.ok(&["check"]);
    assert!(equal.ends_with("compared 5 rows of 3 tables: all are equal\n"), "{equal}");
    world.append("score", 3, "cid 4\nrubbish\n");
    let (code, text) = world.perform(&["check"]).unwrap();
    assert_eq!(code, ExitCode::from(1), "{text}");
    for part in [
        "DIFFERENT: 1 in the lake only, 1 missing in the lake\n  - in the lake only: 1 | 3\n",
        "  + missing in the lake: 1 | 7\n",
        "  + missing in the lake: the score record at offset 3 of partition 0\n",
        "  + missing in the lake: the score record at offset 4 of partition 0\n",
        "3 of them differ\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    world.ok(&["run"]);
    world.ok(&["check"]);
}

#[test]
fn own_options_reach_the_topology_and_the_check() {
    let world = World::new();
    world.ok(&["run", "--least", "4"]);
    assert_eq!(world.ok(&["answers", "total", "--format", "json"]), "{\"team\":2,\"score\":5}\n");
    world.ok(&["check", "--least", "4"]);
    let error = world.perform(&["run", "--least", "5"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("topology"), "{error}");
}

#[test]
fn a_state_is_described_and_its_damage_is_named() {
    let world = World::new();
    let error = world.perform(&["state"]).unwrap_err().to_string();
    assert!(error.starts_with("there is no state in ") && error.contains("league run"), "{error}");
    world.ok(&["run", "--workers", "2"]);
    world.append("score", 3, "cid 4\n");
    world.ok(&["run"]);
    let text = world.ok(&["state"]);
    for part in ["of league, run 2", "manifests 1 to 2, ", "snapshot of commit 2: ", "0 records of"]
    {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&world.ok(&["state", "--json", "--verify"])).unwrap();
    assert_eq!(
        (&json["restart"]["snapshot"], &json["verified"]["snapshots"]),
        (&2.into(), &2.into())
    );
    let damage = |folder: &str| {
        let objects = fs::read_dir(world.0.path().join("lake/_watershed").join(folder)).unwrap();
        let youngest = objects.map(|object| object.unwrap().path()).max().unwrap();
        fs::write(&youngest, "damaged").unwrap();
        youngest.file_name().unwrap().to_str().unwrap().to_string()
    };
    let snapshot = damage("snap");
    let text = world.ok(&["state", "--verify"]);
    assert!(text.contains(&format!("snap/{snapshot} is not as a run wrote it: ")), "{text}");
    damage("manifest");
    let error = world.perform(&["state"]).unwrap_err();
    assert_eq!(error.exit_code(), 65, "{error}");
}

#[test]
fn topics_are_bound_by_scheme_and_an_unknown_one_is_an_error() {
    let world = World::new();
    let text = world.ok(&["describe", "--from", "constant://ann 1", "--season-id", "s2"]);
    assert!(text.contains("  score <- "), "{text}");
    assert!(text.contains("/lake/s2_score_table\n") && text.contains("/lake/total\n"), "{text}");
    world.ok(&["run", "--from", "constant://ann 4,bob 6"]);
    assert_eq!(world.ok(&["answers", "total", "--format", "csv"]), "team,score\n7,10\n");
    let error = world.perform(&["run", "--from", "tape://x"]).unwrap_err();
    assert!(error.to_string().contains("Give constant://; an archive"), "{error}");
    let error = World::new().perform(&["run", "--season-id", "s9"]).unwrap_err();
    assert!(error.to_string().contains("no topics of the season s9 in "), "{error}");
    assert!(error.to_string().contains("Give --season-id s1: there are no others."), "{error}");
}

#[test]
fn own_commands_get_the_names_of_topics() {
    let mut out = Vec::new();
    program().perform(["league", "names", "--season-id", "x"], &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "x: x.score x.team x-score x-team\n");
}

#[test]
fn a_password_is_not_repeated_by_a_usage_error() {
    let error = program().perform(["league", "https://me:hunter2@host"], &mut Vec::new());
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn every_example_of_a_generated_help_page_parses() {
    let cli = program().clap();
    let pages = cli.get_subcommands().chain([&cli]);
    let mut shown = 0;
    for page in pages {
        let text = page.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines().filter_map(|line| line.strip_prefix("  ")) {
            let parsed = program().clap().try_get_matches_from(line.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            shown += 1;
        }
    }
    assert!(shown > 10, "{shown}");
}

#[test]
fn without_a_batch_program_there_is_no_check() {
    let program = Program::new("plain", |_| {}).reads(["score"]).writes(["total"]);
    let error = program.perform(["plain", "check"], &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn the_default_archive_is_generated_only_where_it_is_missing() {
    let world = World::new();
    let archive: &'static str = world.path("made").leak();
    let lake = world.path("lake");
    let program = Program::new("plain", |builder| {
        builder
            .table("score", Consumed::from_value(entry))
            .to("total", Produced::columns(["player", "score"]));
    });
    let program = program.reads(["score"]).writes(["total"]).default_source(archive).generated_by(
        "generate --to",
        move |context| {
            let folder = std::path::Path::new(archive).join("topics/score/partition=0");
            assert!(!folder.exists(), "it was generated twice");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("score+0+0000000000.json"), "ann 3\n").unwrap();
            context.print("generated\n")
        },
    );
    let run = |args: &[&str]| {
        let mut out = Vec::new();
        let done = program.perform([&["plain", "run", "--lake", &lake], args].concat(), &mut out);
        done.map(|_| String::from_utf8(out).unwrap())
    };
    let error = run(&["--from", &world.path("none")]).unwrap_err().to_string();
    assert!(error.contains("or make an archive with `plain generate --to "), "{error}");
    let screen = run(&[]).unwrap();
    assert!(screen.starts_with("generated\n") && screen.contains("1 new records"), "{screen}");
    assert!(!run(&[]).unwrap().contains("generated"));
}
