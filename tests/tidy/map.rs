//! The map of the floors in lib.rs has the modules of [`FLOORS`](super::FLOORS), and each exists.

use std::fs;
use std::path::Path;

use super::FLOORS;

/// Returns the modules of each floor on the map, from the lowest floor.
///
/// A line of the map has the number of a floor, or none if it continues the floor above. Then come
/// modules and a description, with at least two blanks between all of them.
fn floors(lib: &str) -> Vec<Vec<&str>> {
    let lines = lib.lines().skip_while(|line| *line != "//! ```text").skip(1);
    let mut floors: Vec<Vec<&str>> = Vec::new();
    for line in lines.take_while(|line| *line != "//! ```") {
        let parts = line.trim_start_matches("//!").split("  ").map(str::trim);
        for part in parts.filter(|part| !part.is_empty()) {
            if part.parse::<usize>().is_ok() {
                floors.insert(0, Vec::new());
            } else if !part.contains(' ') {
                floors[0].push(part);
            }
        }
    }
    floors
}

#[test]
fn the_map_has_each_module_on_its_floor() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    assert_eq!(floors(&lib), FLOORS);
    let exists = |module: &str| {
        source.join(module).is_dir() || source.join(format!("{module}.rs")).is_file()
    };
    let missing: Vec<_> = FLOORS.concat().into_iter().filter(|module| !exists(module)).collect();
    assert!(missing.is_empty(), "no such module: {missing:?}");
}

#[test]
fn a_map_is_read_from_the_lowest_floor() {
    let map =
        "//! ```text\n//!   1  a  b    some words\n//!      c    more words\n//!   0  d\n//! ```";
    assert_eq!(floors(map), [vec!["d"], vec!["a", "b", "c"]]);
}
