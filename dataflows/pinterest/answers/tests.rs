//! What `answers` promises: formats that keep to their rules, and rows that are all of one commit.

use serde_json::Value as Json;
use tempfile::TempDir;
use watershed::ErrorKind;
use watershed::connect::{Poll, Source};
use watershed::connectors::archive::ArchiveTopic;
use watershed::connectors::delta::Delta;
use watershed::row::ColumnType;
use watershed::runtime::{Config, Streams};

use super::*;
use crate::generate::{Options, generate};
use crate::topology::{Bounds, topology};

/// A small dirty archive, and the lake that a run of the real thing has made of it.
pub(crate) struct Sample {
    root: TempDir,
    pub(crate) lake: Lake,
}

impl Sample {
    pub(crate) fn new(events: u64) -> Sample {
        let root = TempDir::new().unwrap();
        let to = root.path().join("archive");
        generate(&Options { events, to, dirt: 0.1, ..Default::default() }, &mut |_| ()).unwrap();
        let lake =
            Lake::new(root.path().join("lake").to_str().unwrap().into(), "demo".into(), None);
        let sample = Sample { root, lake };
        sample.run();
        sample
    }

    fn topic(&self, kind: &str) -> ArchiveTopic {
        let archive = watershed::connectors::archive::Archive::open(
            self.root.path().join("archive").to_str().unwrap(),
        );
        archive.unwrap().topic(format!("demo.{kind}"))
    }

    pub(crate) fn sources(&self) -> [Vec<Box<dyn Source>>; 3] {
        KINDS.map(|(kind, _)| vec![Box::new(self.topic(kind)) as Box<dyn Source>])
    }

    /// Reads on to the end of the archive; returns the number of the last commit.
    pub(crate) fn run(&self) -> u64 {
        let mut streams = Streams::new(topology(&Bounds::default()));
        for (kind, _) in KINDS {
            streams = streams.source(kind, self.topic(kind));
        }
        for topic in Lake::topics() {
            streams = streams.sink(topic, Delta::table(&self.lake.table(topic)).unwrap());
        }
        let state = Some(Store::open(&self.lake.state).unwrap());
        streams.run(Config { workers: 2, state, ..Config::default() }).unwrap().committed
    }

    /// Adds an object of `lines` to a partition; returns the offset of the first.
    pub(crate) fn append(&self, kind: &str, partition: u32, lines: &str) -> u64 {
        let mut reader = self.topic(kind).open(partition, None, false).unwrap();
        let mut next = 0;
        while let Poll::Batch(batch) = reader.poll().unwrap() {
            next = batch.next;
        }
        let object = format!(
            "archive/topics/demo.{kind}/partition={partition}/demo.{kind}+{partition}+{next:010}.json"
        );
        std::fs::write(self.root.path().join(object), lines).unwrap();
        next
    }

    fn print(&self, view: Option<&str>, format: Format, as_of: Option<u64>) -> Result<String> {
        let mut out = Vec::new();
        answers(view, &self.lake, format, as_of, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }
}

/// A row of every type of column.
fn answer(topic: &'static str, rows: usize) -> Answer {
    use ColumnType::{Binary, Doubles, Long, Text, Timestamp};
    let types = [
        ("n", Long),
        ("text", Text),
        ("at", Timestamp),
        ("pair", Doubles),
        ("bytes", Binary),
        ("none", Text),
    ];
    let columns = types.map(|(name, ty)| Column { name: name.into(), ty, nullable: true }).to_vec();
    let row = vec![
        Value::Long(-5),
        Value::Text("a \"b\",\nc\u{1b}".into()),
        Value::Timestamp(1_598_586_767_250_000),
        Value::Doubles(vec![1.5, -2.0]),
        Value::Binary(vec![]),
        Value::Null,
    ];
    Answer { topic, columns, rows: vec![row; rows] }
}

fn printed(answers: &[Answer], all: bool, format: Format) -> String {
    let mut out = Vec::new();
    print(answers, all, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn csv_quotes_what_needs_it_and_tells_null_from_empty() {
    let row = "-5,\"a \"\"b\"\",\nc\u{1b}\",2020-08-28T03:52:47.250Z,\"[1.5, -2.0]\",\"\",\n";
    assert_eq!(
        printed(&[answer("v", 1)], false, Format::Csv),
        format!("n,text,at,pair,bytes,none\n{row}")
    );
    let both = printed(&[answer("v", 1), answer("w", 0)], true, Format::Csv);
    assert_eq!(
        both,
        format!("view,n,text,at,pair,bytes,none\nv,{row}\nview,n,text,at,pair,bytes,none\n\n")
    );
}

#[test]
fn json_is_one_object_a_line_with_the_columns_in_order() {
    let row = r#""n":-5,"text":"a \"b\",\nc\u001b","at":"2020-08-28T03:52:47.250Z","pair":[1.5,-2.0],"bytes":"","none":null}"#;
    assert_eq!(printed(&[answer("v", 2)], false, Format::Json), format!("{{{row}\n{{{row}\n"));
    assert_eq!(printed(&[answer("v", 1)], true, Format::Json), format!("{{\"view\":\"v\",{row}\n"));
}

#[test]
fn a_table_is_aligned_and_nothing_in_it_steers_the_terminal() {
    let mut one = answer("top_country", 1);
    one.rows[0][4] = Value::Text("é".repeat(61));
    let expected = [
        "In which country does the poster with the most followers of all post? (top_country)",
        "  n   text              at                         pair          bytes                                                           none",
        &"─".repeat(134),
        &format!(
            " -5   a \"b\",\\nc\\u{{1b}}   2020-08-28T03:52:47.250Z   [1.5, -2.0]   {}…",
            "é".repeat(60)
        ),
    ];
    let found = printed(&[one], false, Format::Table);
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{found}");
}

#[test]
fn of_all_views_the_first_rows_are_shown_and_of_a_named_one_all() {
    let count = |all| {
        printed(&[answer("top_country", 23)], all, Format::Table)
            .lines()
            .filter(|l| l.starts_with(" -5"))
            .count()
    };
    assert_eq!((count(true), count(false)), (20, 23));
    let all = printed(&[answer("top_country", 23)], true, Format::Table);
    assert!(all.ends_with("\n … and 3 more rows (pinterest answers top_country)\n\n"), "{all}");
}

#[test]
fn counts_are_sorted_by_group_and_then_from_the_greatest() {
    let row = |group: &str, category: &str, count| {
        vec![group, category].into_iter().map(text).chain([Value::Long(count)]).collect()
    };
    let mut rows: Vec<Vec<Value>> =
        vec![row("b", "z", 9), row("a", "y", 1), row("a", "z", 2), row("a", "x", 2)];
    rows.sort_by(|a, b| by_count(a, b));
    assert_eq!(rows, [row("a", "x", 2), row("a", "z", 2), row("a", "y", 1), row("b", "z", 9)]);
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn every_view_is_answered_with_its_columns_and_as_of_any_commit() {
    let sample = Sample::new(120);
    let first = sample.run();
    let before = sample.print(None, Format::Json, None).unwrap();
    for (view, columns) in VIEWS {
        let named = sample.print(Some(view), Format::Json, None).unwrap();
        let with_view = named
            .lines()
            .map(|line| format!("{{\"view\":\"{view}\",{}\n", &line[1..]))
            .collect::<String>();
        assert!(!named.is_empty() && before.contains(&with_view), "{view}: {named}");
        let header = sample.print(Some(view), Format::Csv, None).unwrap();
        assert_eq!(header.lines().next(), Some(columns.join(",").as_str()));
        for line in named.lines() {
            let row: Json = serde_json::from_str(line).unwrap();
            assert!(columns.iter().all(|column| !row[column].is_null()), "{view}: {line}");
        }
    }
    let screen = sample.print(None, Format::Table, None).unwrap();
    assert!(
        QUESTIONS
            .iter()
            .zip(VIEWS)
            .all(|(question, (view, _))| screen.contains(&format!("{question} ({view})\n")))
    );
    assert!(
        sample.print(Some("dead_letters"), Format::Json, None).unwrap().contains("\"payload\":")
    );

    // A pin that has a place and no user changes some of the views and not the others.
    sample.append(
        "geo",
        0,
        "{\"ind\":-1,\"timestamp\":\"1999-01-01 00:00:00\",\"country\":\"Nowhere\"}\n",
    );
    sample.append("pin", 0, "{\"ind\":-1,\"unique_id\":null,\"category\":\"new\"}\n");
    let second = sample.run();
    assert!(second > first);
    let after = sample.print(None, Format::Json, None).unwrap();
    assert!(
        after.contains(
            r#"{"view":"category_by_year","post_year":1999,"category":"new","category_count":1}"#
        ),
        "{after}"
    );
    assert_eq!(after.lines().count(), before.lines().count() + 3);
    assert_eq!(sample.print(None, Format::Json, Some(first)).unwrap(), before);
    assert_eq!(sample.print(None, Format::Json, Some(second)).unwrap(), after);
    let error = sample.print(None, Format::Json, Some(second + 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);

    // A run that died while it showed its last commit: that one is no answer yet.
    let log = sample.root.path().join("lake/category_by_year/_delta_log");
    let last = std::fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .max()
        .unwrap();
    let away = sample.root.path().join("away");
    std::fs::rename(&last, &away).unwrap();
    assert_eq!(sample.print(None, Format::Json, None).unwrap(), before);
    assert!(
        !sample.print(Some("category_count_by_year"), Format::Json, None).unwrap().contains("1999")
    );
    std::fs::rename(&away, &last).unwrap();
    assert_eq!(sample.print(None, Format::Json, None).unwrap(), after);
}

#[test]
fn an_unknown_view_is_a_mistake_of_usage_and_an_absent_lake_one_of_configuration() {
    let root = TempDir::new().unwrap();
    let lake = Lake::new(format!("{}/", root.path().display()), "me".into(), None);
    assert_eq!(lake.table("pin_table"), format!("{}/me_pin_table", root.path().display()));
    assert_eq!(lake.table("top_country"), format!("{}/top_country", root.path().display()));
    let fail = |view| answers(view, &lake, Format::Json, None, &mut Vec::new()).unwrap_err();
    let error = fail(Some("nonsense"));
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(
        error
            .to_string()
            .contains("Give one of pin_table, geo_table, user_table, category_by_country, "),
        "{error}"
    );
    let error = fail(None);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("pinterest run"), "{error}");
}
