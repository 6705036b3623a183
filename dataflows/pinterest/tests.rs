//! The help pages, whose examples parse, and the order of answers.

use clap::Command;
use watershed::row::Value;

use super::{by_count, program};

/// Returns the words of each example on a help page, without its explanation behind two blanks.
fn examples(command: &Command) -> Vec<Vec<String>> {
    let page = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = page.lines().filter_map(|line| line.strip_prefix("  "));
    let lines = lines.filter(|line| line.split_whitespace().next() == Some("pinterest"));
    lines
        .map(|line| {
            line.split("  ").next().unwrap_or(line).split_whitespace().map(str::to_string).collect()
        })
        .collect()
}

/// Visits all commands with their paths, except clap's own.
fn walk(path: &[&str], command: &Command, visit: &mut dyn FnMut(&[&str], &Command)) {
    visit(path, command);
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        walk(&[path, &[below.get_name()]].concat(), below, visit);
    }
}

/// Returns true for an example of the command at `path`.
fn is_of(path: &[&str], example: &[String]) -> bool {
    path.len() <= example.len() && path.iter().zip(example).all(|(name, word)| name == word)
}

#[test]
fn every_command_has_help_examples_that_parse() {
    let (mut below, mut shown) = (Vec::new(), Vec::new());
    walk(&["pinterest"], &program().clap(), &mut |path, command| {
        let examples = examples(command);
        for example in &examples {
            if let Err(error) = program().clap().try_get_matches_from(example) {
                panic!("the help of {path:?} has the example {example:?}: {error}");
            }
        }
        match path.len() {
            1 | 2 => assert!(
                examples.iter().any(|example| is_of(path, example)),
                "the help of {path:?} has no example of it"
            ),
            _ => below.push(path.join(" ")),
        }
        shown.extend(examples);
    });
    // The examples of the subcommands of `streams` are on its own page.
    assert_eq!(below.len(), 5, "{below:?}");
    for path in below {
        let path: Vec<&str> = path.split(' ').collect();
        assert!(
            shown.iter().any(|example| is_of(&path, example)),
            "no help has an example of {path:?}"
        );
    }
    assert!(shown.len() > 40, "{shown:?}");
}

#[test]
fn counts_are_sorted_by_group_and_then_from_the_greatest() {
    let text = |text: &str| Value::Text(text.into());
    let row = |group, category, count| vec![text(group), text(category), Value::Long(count)];
    let mut rows: Vec<Vec<Value>> =
        vec![row("b", "z", 9), row("a", "y", 1), row("a", "z", 2), row("a", "x", 2)];
    rows.sort_by(|a, b| by_count(a, b));
    assert_eq!(rows, [row("a", "x", 2), row("a", "z", 2), row("a", "y", 1), row("b", "z", 9)]);
}
