//! The formats of answers.

use super::*;
use crate::row::ColumnType;

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
    let output = Output::new(topic).title("Which one?");
    Answer { output, command: format!("program answers {topic}"), columns, rows: vec![row; rows] }
}

fn printed(answers: &[Answer], all: bool, format: Format) -> String {
    let mut out = Vec::new();
    print(answers, all, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn csv_quotes_where_needed_and_separates_null_from_empty() {
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
    let row = [
        r#""n":-5,"text":"a \"b\",\nc\u001b","at":"2020-08-28T03:52:47.250Z","#,
        r#""pair":[1.5,-2.0],"bytes":"","none":null}"#,
    ]
    .concat();
    assert_eq!(printed(&[answer("v", 2)], false, Format::Json), format!("{{{row}\n{{{row}\n"));
    assert_eq!(printed(&[answer("v", 1)], true, Format::Json), format!("{{\"view\":\"v\",{row}\n"));
}

#[test]
fn a_table_is_aligned_and_without_control_characters() {
    let mut one = answer("top_country", 1);
    one.rows[0][4] = Value::Text("é".repeat(61));
    let expected = [
        "Which one? (top_country)",
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
fn answers_show_first_rows_of_all_views_or_all_of_one() {
    let count = |all| {
        printed(&[answer("top_country", 23)], all, Format::Table)
            .lines()
            .filter(|l| l.starts_with(" -5"))
            .count()
    };
    assert_eq!((count(true), count(false)), (20, 23));
    let all = printed(&[answer("top_country", 23)], true, Format::Table);
    assert!(all.ends_with("\n … and 3 more rows (program answers top_country)\n\n"), "{all}");
}
