//! The rules for words: plain English in comments, units in constants, short names of tests.

use super::source::{Source, identifiers};
use super::{Broken, place};

/// The most occurrences of "what" in 1,000 lines of comments.
const MOST_WHATS: usize = 15;
/// The widest line, in characters. rustfmt keeps most code to it, but no literals and few macros.
const WIDEST_LINE: usize = 100;
/// The longest name of a test, in letters.
const LONGEST_TEST_NAME: usize = 60;

pub(super) const WHATS: &str = "At most 15 of 1,000 comment lines have the word \"what\": name the \
    thing instead of describing it.";
pub(super) const BEGINNINGS: &str =
    "A doc comment begins with a noun or a verb, not with What, Who, Whose or Whether.";
pub(super) const WIDTH: &str =
    "A line has at most 100 characters, unless it has nothing but literals.";
pub(super) const UNITS: &str = "A constant of time or size names its unit or quantity, such as \
    EPOCH_MAX_BYTES or CONNECT_TIMEOUT.";

pub(super) const TEST_NAMES: &str = "The name of a test is a promise: subject, verb, object, in at \
    most 60 letters, and no clause with \"what\" or \"who\".";

/// Nouns that name a length of time; its type carries the unit.
const TIMES: [&str; 14] = [
    "TIMEOUT", "INTERVAL", "DEADLINE", "DELAY", "PAUSE", "PERIOD", "AGE", "LIFETIME", "WAIT",
    "DURATION", "BACKOFF", "TTL", "GRACE", "LATENCY",
];
/// Units of integers that are written with a shift or in millions.
const SIZES: [&str; 16] = [
    "BYTES", "KIB", "MIB", "RECORDS", "ROWS", "EVENTS", "KEYS", "FILES", "LINES", "CHARS", "UNITS",
    "MILLIS", "MICROS", "NANOS", "SECONDS", "SLOTS",
];

/// Counts the occurrences of "what" and the comment lines of a file.
pub(super) fn whats(source: &Source) -> (usize, usize) {
    let count = |text: &str| {
        identifiers(text).filter(|(_, word)| word.eq_ignore_ascii_case("what")).count()
    };
    let words = source.comments.iter().map(|(_, comment)| count(comment)).sum();
    (words, source.comments.len())
}

/// Reports a tree with too many "what" in its comments, and lists the files with the most.
pub(super) fn too_many_whats(counts: &[(String, (usize, usize))]) -> Vec<Broken> {
    let (words, lines) =
        counts.iter().fold((0, 0), |(words, lines), (_, (w, l))| (words + w, lines + l));
    if words * 1000 <= lines * MOST_WHATS {
        return Vec::new();
    }
    let mut most: Vec<_> = counts.iter().filter(|(_, (words, _))| *words > 0).collect();
    most.sort_by_key(|(_, (words, _))| std::cmp::Reverse(*words));
    let most: Vec<String> =
        most.iter().take(30).map(|(path, (words, _))| format!("{path} {words}")).collect();
    vec![(WHATS, format!("{words} in {lines} comment lines: {}", most.join(", ")))]
}

/// Checks the comments and constants of one file.
pub(super) fn words(path: &str, text: &str, source: &Source, tested: bool) -> Vec<Broken> {
    let mut broken = Vec::new();
    for (line, comment) in &source.comments {
        let Some(mark) = ["///", "//!"].into_iter().find(|mark| comment.starts_with(mark)) else {
            continue;
        };
        // A doc comment begins where the line before has another mark, or none.
        let before = text.lines().nth(line.wrapping_sub(2)).unwrap_or_default().trim();
        let prose = comment[mark.len()..].trim();
        let word = identifiers(prose).next().map_or("", |(_, word)| word);
        if !before.starts_with(mark) && ["What", "Who", "Whose", "Whether"].contains(&word) {
            broken.push((BEGINNINGS, place(path, *line, prose)));
        }
    }
    for ((number, line), code) in text.lines().enumerate().zip(source.code.lines()) {
        let is_data = !line.trim_start().starts_with("//") && identifiers(code).next().is_none();
        if line.chars().count() > WIDEST_LINE && !is_data {
            broken.push((WIDTH, place(path, number + 1, line.trim())));
        }
    }
    if !tested {
        broken.extend(units(path, source));
    }
    broken.extend(test_names(path, source));
    broken
}

/// Reports tests whose names are long or describe a thing by a clause.
fn test_names(path: &str, source: &Source) -> Vec<Broken> {
    let tests = source.code.match_indices("#[test]").filter_map(|(at, _)| {
        let mut words = identifiers(&source.code[at..]).skip_while(|(_, word)| *word != "fn");
        Some((at, words.nth(1)?.1))
    });
    let clause = |name: &str| {
        name.split('_').any(|word| ["what", "who", "whose", "whoever", "whatever"].contains(&word))
    };
    tests
        .filter(|(_, name)| name.len() > LONGEST_TEST_NAME || clause(name))
        .map(|(at, name)| (TEST_NAMES, place(path, source.line(at), name)))
        .collect()
}

/// Reports constants of time and size whose names have neither unit nor quantity.
fn units(path: &str, source: &Source) -> Vec<Broken> {
    let mut broken = Vec::new();
    for (at, word) in identifiers(&source.shipped) {
        let rest = &source.shipped[at + word.len()..];
        let Some((name, rest)) =
            (word == "const").then(|| rest.split_once(':')).flatten().map(|(n, r)| (n.trim(), r))
        else {
            continue;
        };
        let Some((ty, value)) = rest.split(';').next().and_then(|item| item.split_once('=')) else {
            continue;
        };
        let upper = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let has = |nouns: &[&str]| name.split('_').any(|part| nouns.contains(&part));
        let sized = ["<< 10", "<< 20", "<< 30", "_000_000"].iter().any(|s| value.contains(s));
        let integer = ["usize", "u64", "u32", "i64"].contains(&ty.trim());
        let wrong = ty.trim() == "Duration" && !has(&TIMES) || integer && sized && !has(&SIZES);
        if upper && wrong {
            broken.push((UNITS, place(path, source.line(at), name)));
        }
    }
    broken
}
