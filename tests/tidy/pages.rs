//! The pages in `docs` name only functions that the library has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::collect;

/// The page with a row for each method of Kafka Streams.
const PAGE: &str = "docs/kafka-streams.md";
/// The header of the first column, in tables whose first column names methods of Kafka.
const KAFKA: &str = "Kafka";
/// The header of the first column, in tables whose first column names verbs without brackets.
const VERB: &str = "verb";

/// Returns the code spans of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the names of functions that a code span calls: those before an opening bracket.
fn called(span: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = span.match_indices('(').map(|(at, _)| {
        let before = &span[..at];
        &before[before.trim_end_matches(is_part).len()..]
    });
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

/// Returns the names of our functions on a page.
fn functions(page: &str) -> BTreeSet<&str> {
    let (mut names, mut header) = (BTreeSet::new(), None);
    for line in page.lines() {
        let Some(row) = line.strip_prefix('|').map(str::trim_start) else {
            header = None;
            names.extend(spans(line).flat_map(called));
            continue;
        };
        let (first, rest) = row.split_once(" | ").unwrap_or((row, ""));
        let header = *header.get_or_insert(first);
        names.extend(spans(rest).flat_map(called));
        if header == VERB {
            let is_name = |span: &&str| span.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            names.extend(spans(first).filter(is_name));
        } else if header != KAFKA {
            names.extend(spans(first).flat_map(called));
        }
    }
    names
}

#[test]
fn the_page_for_users_of_kafka_names_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeMap::new();
    collect(root, "src", &mut files).unwrap();
    let source: String = files.into_values().collect();
    let exists =
        |name: &str| ["(", "<"].iter().any(|next| source.contains(&format!("fn {name}{next}")));
    let page = fs::read_to_string(root.join(PAGE)).unwrap();
    let named = functions(&page);
    assert!(named.len() > 80, "the page names only these functions: {named:?}");
    let missing: Vec<_> = named.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{PAGE} names functions that do not exist: {missing:?}");
}

#[test]
fn a_page_names_its_calls_and_verbs_but_no_methods_of_kafka() {
    let page = "Use `a.one(x)` and `Two::two(y)`, not `Three(z)`.\n\
                | Kafka | here |\n|---|---|\n| `leftJoin(k)` | `left_join(&other, f)` |\n\n\
                | verb | cost |\n|---|---|\n| `keep` `Other` | `look(up)` |\n";
    assert!(functions(page).into_iter().eq(["keep", "left_join", "look", "one", "two"]));
}
