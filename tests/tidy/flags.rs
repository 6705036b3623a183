//! No text of the library names a command-line option: an embedder's program may have others or
//! none.

use super::{Broken, place};
use crate::tidy::source::Source;

pub(super) const FLAG: &str = "The library names no flag of a command: give an Advice to the \
    error, and let src/program name the flag.";

/// Finds ` --name` in the string literals of a library file, outside comments and tests.
pub(super) fn flags(path: &str, text: &str, source: &Source) -> Vec<Broken> {
    if path.starts_with("src/program/") {
        return Vec::new();
    }
    let lines = text.lines().zip(source.code.lines().zip(source.shipped.lines()));
    let mut broken = Vec::new();
    for (number, (line, (code, shipped))) in (1..).zip(lines) {
        let commented = source.comments.iter().any(|(at, _)| *at == number);
        let named = line.match_indices("--").any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + 2..]);
            !before.ends_with('-') && after.starts_with(|c: char| c.is_ascii_lowercase())
        });
        if named && !commented && code == shipped {
            broken.push((FLAG, place(path, number, line.trim())));
        }
    }
    broken
}
