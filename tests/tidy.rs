//! The house rules that a machine can check, on the source tree itself.
//!
//! Each rule is a pure function of a file's path and text, so that a planted violation can prove
//! that it works. One failure lists all violations of the tree, grouped by the sentence of the
//! rule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

mod circles;
mod flags;
mod map;
mod packages;
mod pages;
mod source;
#[cfg(test)]
mod tests;
mod words;

use source::{Source, identifiers, paths};

/// The modules of each floor, in the order in which they may import one another.
const FLOORS: [&[&str]; 7] = [
    &["error", "time", "secret", "simulation", "faults", "record", "sync", "metrics"],
    &["http", "serdes", "row", "store", "connect"],
    &["cluster", "operators", "ports"],
    &["options", "plan", "graph", "stream", "table", "grouped", "windowed"],
    &["builder", "topology", "durable"],
    &["runtime", "testing"],
    &["program"],
];
/// Modules that may import each other.
const EXCUSED: [&str; 4] = ["stream", "table", "grouped", "windowed"];
/// Modules beside the floors. They import floors 0 and 1, and otherwise only themselves.
const WINGS: [&str; 2] = ["connectors", "gateway"];
/// The files that re-export the whole crate and may import anything.
const FRONT: [&str; 2] = ["src/lib.rs", "src/prelude.rs"];
/// The root files below `tests/` of packages, examples and programs.
const TEST_ROOTS: [&str; 5] =
    ["main.rs", "model/mod.rs", "faults/main.rs", "faults/visits/main.rs", "simulation/main.rs"];
const LONGEST_FILE: usize = 399;
const LONGEST_TEST_MODULE: usize = 100;

const FLOOR: &str = "A module imports lower floors or, on its own, those before it in FLOORS; \
    connectors and gateway import floors 0 and 1 and themselves. Move the code, or pass a value.";
const CIRCLE: &str =
    "No files of one folder import one another in a circle: move the shared part to its own file.";
const ENGINE: &str = "Only floors 2 to 5 name timely or differential, and durable does not.";
const CLOCK: &str = "Only sync, simulation, program and testing read a clock or spawn a thread \
    that outlives a call, and the runtime and the cluster have only the channels of sync: then a \
    simulation decides their order. Take them from sync.";
const DOCS: &str = "Each file begins with a `//!` line that names its subject.";
const LENGTH: &str =
    "No file has 400 lines, no test module inside another file more than 100: split it by subject.";
const UNFINISHED: &str = "Nothing unfinished stays in the tree: do it, or take it out.";
const PANIC: &str = "Outside tests nothing panics by `unwrap` or `expect`: return an error.";
const DEAD: &str = "Code is deleted, not commented out: a comment ends in no `;` and no brace.";
const INDEX: &str = "A test file that no `mod` line names is never run: list it.";
const LINTS: &str =
    "The tree has a .clippy.toml that bans clocks and randomness and names their replacements.";

/// A broken rule, and the place.
type Broken = (&'static str, String);

#[test]
fn the_tree_keeps_the_house_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeMap::new();
    for folder in ["src", "dataflows", "tests", "benches"] {
        collect(root, folder, &mut files).unwrap();
    }
    assert!(
        files.contains_key("src/lib.rs"),
        "{} is not the tree that was meant: it has no src/lib.rs",
        root.display()
    );
    let tree = Tree::of(&files);
    let mut broken: Vec<Broken> =
        files.iter().flat_map(|(path, text)| check(path, text, &tree)).collect();
    let counts: Vec<_> =
        files.iter().map(|(path, text)| (path.clone(), words::whats(&Source::new(text)))).collect();
    broken.extend(words::too_many_whats(&counts));
    broken.extend(unlisted(&files));
    broken.extend(circles::circles(&files, &tree));
    if !root.join(".clippy.toml").exists() {
        broken.push((LINTS, ".clippy.toml: not there".to_owned()));
    }
    let mut report: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (rule, place) in broken {
        report.entry(rule).or_default().push(place);
    }
    let report: Vec<String> =
        report.iter().map(|(rule, places)| format!("{rule}\n  {}", places.join("\n  "))).collect();
    assert!(report.is_empty(), "the tree breaks house rules:\n\n{}\n", report.join("\n\n"));
}

/// Reads every `.rs` file below `folder`, by its path from the root.
fn collect(root: &Path, folder: &str, files: &mut BTreeMap<String, String>) -> io::Result<()> {
    if !root.join(folder).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(root, &path, files)?;
        } else if path.ends_with(".rs") {
            files.insert(path, fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

/// Facts about the whole tree that the check of one file needs.
struct Tree {
    /// The names that lib.rs re-exports at the root of the crate, each with its module.
    front: BTreeMap<String, String>,
    /// Paths, without `.rs`, of the modules that a file declares below `#[cfg(test)]`.
    tests: BTreeSet<String>,
}

impl Tree {
    fn of(files: &BTreeMap<String, String>) -> Self {
        let front = files.get("src/lib.rs").map(|text| exports(text)).unwrap_or_default();
        let mut tests = BTreeSet::new();
        for (path, text) in files {
            let folder = ["mod.rs", "main.rs", "lib.rs"]
                .iter()
                .find_map(|root| path.strip_suffix(root)?.strip_suffix('/'));
            let folder = folder.unwrap_or(path.trim_end_matches(".rs"));
            tests.extend(
                Source::new(text)
                    .test_modules
                    .iter()
                    .map(|module| format!("{folder}/{}", module.name)),
            );
        }
        Tree { front, tests }
    }

    /// Returns true if the whole file is test code: by its name, its folder, or the `#[cfg(test)]`
    /// above its `mod` line.
    fn is_test(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let inside =
            path.split('/').rev().skip(1).any(|folder| folder == "tests" || folder == "benches");
        let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let declared = module
            .match_indices('/')
            .map(|(at, _)| &module[..at])
            .chain([module])
            .any(|m| self.tests.contains(m));
        inside || declared || name == "tests.rs" || name.ends_with("_tests.rs")
    }
}

/// Checks the file at `path` against the rules for single files.
fn check(path: &str, text: &str, tree: &Tree) -> Vec<Broken> {
    let source = Source::new(text);
    let tested = tree.is_test(path);
    let mut broken = form(path, text, &source);
    broken.extend(words::words(path, text, &source, tested));
    if !tested {
        broken.extend(long_tests(path, &source));
        broken.extend(panics(path, &source));
        broken.extend(engine(path, &source));
    }
    if path.starts_with("src/") && !tested {
        broken.extend(floors(path, &source, &tree.front));
        broken.extend(clocks(path, &source));
        broken.extend(flags::flags(path, text, &source));
    }
    broken
}

fn place(path: &str, line: usize, what: &str) -> String {
    format!("{path}:{line}: {what}")
}

/// Checks the rules for every file, tests included: first line, length, unfinished code, code in
/// comments.
fn form(path: &str, text: &str, source: &Source) -> Vec<Broken> {
    let mut broken = Vec::new();
    if !text.starts_with("//!") {
        broken.push((DOCS, place(path, 1, "begins with something else")));
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        broken.push((LENGTH, place(path, lines, "the file ends only here")));
    }
    for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        let found = source
            .comments
            .iter()
            .filter(|(_, comment)| identifiers(comment).any(|(_, found)| found == word));
        broken.extend(found.map(|(line, _)| (UNFINISHED, place(path, *line, word))));
    }
    for (at, word) in identifiers(&source.code) {
        if ["dbg", "todo", "unimplemented"].contains(&word)
            && source.code[at + word.len()..].starts_with('!')
        {
            broken.push((UNFINISHED, place(path, source.line(at), &format!("{word}!"))));
        }
    }
    for (line, comment) in &source.comments {
        let Some(prose) = comment.strip_prefix("//").filter(|rest| !rest.starts_with(['/', '!']))
        else {
            continue;
        };
        let prose = prose.trim();
        if prose.ends_with([';', '{'])
            || (!prose.is_empty() && prose.chars().all(|c| "})],".contains(c)))
        {
            broken.push((DEAD, place(path, *line, prose)));
        }
    }
    broken
}

fn long_tests(path: &str, source: &Source) -> Vec<Broken> {
    let long = source.test_modules.iter().filter(|module| module.lines > LONGEST_TEST_MODULE);
    long.map(|module| {
        (LENGTH, place(path, module.line, &format!("{} has {} lines", module.name, module.lines)))
    })
    .collect()
}

fn panics(path: &str, source: &Source) -> Vec<Broken> {
    let found = identifiers(&source.shipped).filter(|(at, word)| {
        let (before, after) =
            (source.shipped[..*at].trim_end(), &source.shipped[at + word.len()..]);
        let called = before.ends_with('.') && after.starts_with('(') || before.ends_with("::");
        called && ["unwrap", "expect"].contains(word)
    });
    let excused = |line: usize| source.promises.iter().any(|promise| promise.contains(&line));
    let lines = found.map(|(at, word)| (source.line(at), word)).filter(|(line, _)| !excused(*line));
    lines.map(|(line, word)| (PANIC, place(path, line, &format!(".{word}")))).collect()
}

fn engine(path: &str, source: &Source) -> Vec<Broken> {
    let module = module(path);
    let floor = floor(module).map(|(floor, _)| floor);
    if path.starts_with("src/") && floor.is_some_and(|floor| floor >= 2) && module != "durable" {
        return Vec::new();
    }
    let found = identifiers(&source.shipped)
        .filter(|(_, word)| ["timely", "differential_dataflow"].contains(word));
    found.map(|(at, word)| (ENGINE, place(path, source.line(at), word))).collect()
}

fn clocks(path: &str, source: &Source) -> Vec<Broken> {
    const BANNED: [(&str, &[&str]); 6] = [
        ("Instant", &["now"]),
        ("SystemTime", &["now"]),
        ("Utc", &["now"]),
        ("Local", &["now"]),
        ("thread", &["spawn", "Builder"]),
        ("mpsc", &["channel", "sync_channel"]),
    ];
    let module = module(path);
    if ["sync", "simulation", "testing", "program"].contains(&module) {
        return Vec::new();
    }
    let mut broken = Vec::new();
    for (at, word) in identifiers(&source.shipped) {
        let Some((_, names)) = BANNED.iter().find(|(owner, _)| *owner == word) else { continue };
        let Some(rest) = source.shipped[at + word.len()..].strip_prefix("::") else { continue };
        if word == "mpsc" && !["runtime", "ports", "connect", "cluster"].contains(&module) {
            continue;
        }
        // A scoped thread ends within the call.
        if rest.starts_with("Builder::new().spawn_scoped(") {
            continue;
        }
        let found = paths(rest).into_iter().filter(|path| names.contains(&path[0].as_str()));
        broken.extend(
            found.map(|found| {
                (CLOCK, place(path, source.line(at), &format!("{word}::{}", found[0])))
            }),
        );
    }
    broken
}

/// The top module of a file below src: `src/stream/join.rs` is in `stream`.
fn module(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

fn floor(module: &str) -> Option<(usize, usize)> {
    let places = FLOORS.iter().enumerate();
    places
        .flat_map(|(f, modules)| modules.iter().enumerate().map(move |(i, m)| (f, i, *m)))
        .find_map(|(f, i, m)| (m == module).then_some((f, i)))
}

fn exports(lib: &str) -> BTreeMap<String, String> {
    let source = Source::new(lib);
    let uses = identifiers(&source.shipped).filter(|(_, word)| *word == "use");
    let trees = uses.flat_map(|(at, word)| paths(&source.shipped[at + word.len()..]));
    trees
        .filter_map(|path| {
            Some((
                path.last()?.clone(),
                path.iter().find(|part| *part != "crate" && *part != "self")?.clone(),
            ))
        })
        .collect()
}

/// Checks the imports of a library file against the floors.
fn floors(path: &str, source: &Source, front: &BTreeMap<String, String>) -> Vec<Broken> {
    if FRONT.contains(&path) {
        return Vec::new();
    }
    let own = module(path);
    if floor(own).is_none() && !WINGS.contains(&own) {
        return vec![(FLOOR, place(path, 1, &format!("{own} stands on no floor")))];
    }
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, imported) in imports(path, source) {
        let first = front.get(&imported[0]).unwrap_or(&imported[0]);
        let line = source.line(at);
        if !may_import(path, first, imported.get(1).map(String::as_str))
            && seen.insert((line, first.clone()))
        {
            broken.push((
                FLOOR,
                place(path, line, &format!("{own} imports crate::{}", imported.join("::"))),
            ));
        }
    }
    broken
}

/// The paths from the crate's root in shipped code, written with `crate::` or `super::`.
fn imports(path: &str, source: &Source) -> Vec<(usize, Vec<String>)> {
    let code = &source.shipped;
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs").split('/');
    let own: Vec<String> = inner.filter(|part| *part != "mod").map(str::to_owned).collect();
    let mut found = Vec::new();
    for (at, word) in identifiers(code) {
        if let Some(rest) = code[at..].strip_prefix("crate::").filter(|_| word == "crate") {
            found.extend(paths(rest).into_iter().map(|path| (at, path)));
        }
        let rest = code[at..].trim_start_matches("super::");
        let supers = (code.len() - at - rest.len()) / "super::".len();
        if word == "super" && (1..=own.len()).contains(&supers) && !code[..at].ends_with("::") {
            let whole =
                paths(rest).into_iter().map(|path| [&own[..own.len() - supers], &path].concat());
            // Inside an inline module, `super` goes one level less up than the depth of the file
            // suggests. Therefore only names of modules count here.
            let known =
                |path: &Vec<String>| floor(&path[0]).is_some() || WINGS.contains(&path[0].as_str());
            found.extend(whole.filter(known).map(|path| (at, path)));
        }
    }
    found
}

/// Returns true if the file at `path` may import `crate::first::second`.
fn may_import(path: &str, first: &str, second: Option<&str>) -> bool {
    let own = module(path);
    if WINGS.contains(&own) {
        let folder = path.split('/').nth(2).map(|part| part.trim_end_matches(".rs"));
        let itself =
            first == own && (own != "connectors" || folder == Some("mod") || folder == second);
        return itself || floor(first).is_some_and(|(floor, _)| floor <= 1);
    }
    let known = EXCUSED.contains(&own) && EXCUSED.contains(&first);
    let binds = own == "program" && WINGS.contains(&first);
    first == own || known || binds || floor(first).is_some_and(|there| Some(there) < floor(own))
}

/// The integration tests without a `mod` line.
fn unlisted(files: &BTreeMap<String, String>) -> Vec<Broken> {
    let mut broken = Vec::new();
    let is_root = |path: &str| TEST_ROOTS.contains(&path.trim_start_matches("tests/"));
    let inner = |path: &&String| path.starts_with("tests/") && !is_root(path);
    for path in files.keys().filter(inner) {
        let inner = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let Some((folder, name)) = inner.rsplit_once('/') else { continue };
        let parents = ["/mod.rs", ".rs", "/main.rs"].map(|end| format!("{folder}{end}"));
        let index = parents.iter().find_map(|it| files.get(it)).or(files.get("tests/main.rs"));
        let listed = index.is_some_and(|text| {
            let code = Source::new(text).code;
            let words: Vec<&str> = identifiers(&code).map(|(_, word)| word).collect();
            words.windows(2).any(|pair| pair == ["mod", name])
        });
        if !listed {
            broken.push((INDEX, place(path, 1, &format!("no `mod {name};`"))));
        }
    }
    broken
}
