//! Planted violations: each rule reports its own and ignores similar but correct code.

mod words;

use std::collections::BTreeMap;

use super::circles::circles;
use super::flags::FLAG;
use super::source::{Source, paths};
use super::{
    CLOCK, DEAD, DOCS, ENGINE, FLOOR, INDEX, LENGTH, PANIC, Tree, UNFINISHED, check, unlisted,
};

const LIB: &str = "//! Front.\nmod error;\npub use error::{Error, Result as Outcome};\npub use \
    stream::KStream;\n";

/// Returns the lines at which `path` breaks `rule`, with `code` below its first line.
fn lines(rule: &str, path: &str, code: &str) -> Vec<usize> {
    let tree = Tree::of(&BTreeMap::from([("src/lib.rs".to_owned(), LIB.to_owned())]));
    let broken = check(path, &format!("//! A file.\n{code}\n"), &tree);
    let at = |place: &str| place.split(':').nth(1).and_then(|line| line.parse().ok()).unwrap();
    broken.iter().filter(|(found, _)| *found == rule).map(|(_, place)| at(place)).collect()
}

#[track_caller]
fn breaks(rule: &str, path: &str, code: &str) {
    assert!(!lines(rule, path, code).is_empty(), "not found in {path}: {code}");
}

#[track_caller]
fn keeps(rule: &str, path: &str, code: &str) {
    assert_eq!(lines(rule, path, code), [0; 0], "found in {path}: {code}");
}

#[test]
fn an_import_from_above_is_found_in_any_form() {
    breaks(FLOOR, "src/serdes/mod.rs", "use crate::stream::KStream;");
    breaks(FLOOR, "src/serdes/mod.rs", "pub use crate::{error::Error, stream::{self, KStream}};");
    breaks(FLOOR, "src/serdes/mod.rs", "use crate::{\n    error::Error,\n    stream::KStream,\n};");
    breaks(FLOOR, "src/serdes/json.rs", "fn f() -> crate::stream::KStream { g() }");
    breaks(FLOOR, "src/serdes/json.rs", "use super::super::stream::KStream;");
    breaks(FLOOR, "src/serdes.rs", "use super::{error, stream::KStream};");
    breaks(FLOOR, "src/serdes/mod.rs", "use crate::KStream;");
    breaks(FLOOR, "src/serdes/mod.rs", "use crate::*;");
    breaks(FLOOR, "src/serdes/mod.rs", "use crate::prelude::Error;");
    breaks(FLOOR, "src/serdes/mod.rs", "#[cfg(test)]\nmod tests;\nuse crate::stream::KStream;");
    assert_eq!(
        lines(
            FLOOR,
            "src/serdes/mod.rs",
            "/* a\n b */\nconst S: &str = \"\n\";\nuse crate::stream::K;"
        ),
        [6]
    );
}

#[test]
fn an_import_from_below_is_left_alone() {
    keeps(
        FLOOR,
        "src/serdes/mod.rs",
        "use crate::{Error, error::{self, Error as E}, serdes::json};\nuse crate::Outcome;",
    );
    keeps(FLOOR, "src/serdes/json.rs", "use super::texts::Texts;\nuse super::super::error::Error;");
    keeps(
        FLOOR,
        "src/serdes/mod.rs",
        "// use crate::stream::KStream is what it means\n/// [`crate::stream`]\nconst S: &str = r#\"crate::stream\"#;",
    );
    keeps(
        FLOOR,
        "src/serdes/mod.rs",
        "#[cfg(test)]\nmod tests {\n    use crate::testing::Driver;\n}\npub(crate) fn f() {}",
    );
    keeps(FLOOR, "src/stream/tests.rs", "use crate::testing::Driver;");
    keeps(FLOOR, "src/lib.rs", "pub use crate::runtime::Streams;");
    keeps(FLOOR, "tests/laws.rs", "use crate::testing::Driver;");
}

#[test]
fn a_module_imports_only_earlier_modules_of_its_floor() {
    keeps(FLOOR, "src/record.rs", "use crate::time::Timestamp;");
    breaks(FLOOR, "src/time.rs", "use crate::record::Record;");
    keeps(FLOOR, "src/testing/mod.rs", "use crate::runtime::Streams;");
    breaks(FLOOR, "src/runtime/mod.rs", "use crate::testing::Driver;");
    for (one, other) in
        [("stream", "table"), ("table", "stream"), ("grouped", "stream"), ("table", "grouped")]
    {
        keeps(FLOOR, &format!("src/{one}/mod.rs"), &format!("use crate::{other}::X;"));
    }
    breaks(FLOOR, "src/options/mod.rs", "use crate::table::KTable;");
    keeps(FLOOR, "src/http/mod.rs", "use crate::error::Error;");
    breaks(FLOOR, "src/http/mod.rs", "use crate::connect::Source;");
}

#[test]
fn a_connector_may_import_floors_0_and_1_and_itself() {
    keeps(
        FLOOR,
        "src/connectors/delta/sink.rs",
        "use crate::{connect::Sink, Error};\nuse crate::connectors::delta::log;\nuse super::log::X;",
    );
    breaks(FLOOR, "src/connectors/delta/sink.rs", "use crate::connectors::archive::Source;");
    breaks(FLOOR, "src/connectors/delta/sink.rs", "use super::super::archive::Source;");
    breaks(FLOOR, "src/connectors/delta/mod.rs", "use crate::operators::top;");
    breaks(FLOOR, "src/connectors/delta.rs", "use crate::gateway::serve;");
    keeps(FLOOR, "src/connectors/mod.rs", "pub use crate::connectors::delta::Delta;");
    keeps(FLOOR, "src/gateway/mod.rs", "use crate::gateway::rest::serve;");
    breaks(FLOOR, "src/gateway/rest.rs", "use crate::connectors::kafka::Kafka;");
    breaks(FLOOR, "src/runtime/mod.rs", "use crate::connectors::delta::Delta;");
    keeps(FLOOR, "src/program/run.rs", "use crate::connectors::delta::Delta;");
    breaks(FLOOR, "src/runtime/mod.rs", "use crate::program::Program;");
}

#[test]
fn a_module_without_a_floor_is_found() {
    breaks(FLOOR, "src/helpers.rs", "");
    breaks(FLOOR, "src/helpers/mod.rs", "");
    keeps(FLOOR, "src/prelude.rs", "pub use crate::KStream;");
}

#[test]
fn timely_is_named_on_the_middle_floors_only() {
    for path in [
        "src/connect/mod.rs",
        "src/durable/mod.rs",
        "src/connectors/delta/mod.rs",
        "src/lib.rs",
        "dataflows/wordcount/main.rs",
    ] {
        breaks(ENGINE, path, "use timely::dataflow::Scope;");
        breaks(ENGINE, path, "type C = differential_dataflow::VecCollection<u8>;");
    }
    for path in [
        "src/operators/top.rs",
        "src/graph.rs",
        "src/builder.rs",
        "src/runtime/worker.rs",
        "benches/operators.rs",
        "src/connect/tests.rs",
    ] {
        keeps(ENGINE, path, "use timely::dataflow::Scope;");
    }
    keeps(
        ENGINE,
        "src/connect/mod.rs",
        "//! Knows nothing of timely.\nconst S: &str = \"timely\";\nfn untimely() {}",
    );
}

#[test]
fn a_flag_of_a_command_in_the_library_is_found() {
    let hint =
        "fn f() -> E {\n    e.hint(\n        \"Or begin anew with another --state.\",\n    )\n}";
    breaks(FLAG, "src/durable/mod.rs", hint);
    breaks(FLAG, "src/connectors/kafka/source.rs", "const S: &str = \"Give --from.\";");
    keeps(FLAG, "src/program/advice.rs", hint);
    keeps(FLAG, "src/durable/mod.rs", "// as --state does\n/// `--lake`\nfn f() { \"a -- b\" }");
    keeps(FLAG, "src/durable/mod.rs", &format!("#[cfg(test)]\nmod tests {{\n    {hint}\n}}"));
    keeps(FLAG, "src/durable/tests.rs", hint);
}

#[test]
fn only_sync_reads_clocks_and_spawns_threads() {
    for code in [
        "std::time::Instant::now()",
        "SystemTime::now()",
        "Utc::now()",
        "thread::spawn(f)",
        "std::thread::Builder::new()",
    ] {
        let code = format!("fn f() {{ {code}; }}");
        breaks(CLOCK, "src/durable/mod.rs", &code);
        breaks(CLOCK, "src/connectors/kafka/source.rs", &code);
        breaks(CLOCK, "src/runtime/ingest.rs", &code);
        keeps(CLOCK, "src/sync/time.rs", &code);
        keeps(CLOCK, "src/testing/mod.rs", &code);
        keeps(CLOCK, "src/durable/mod.rs", &format!("#[cfg(test)]\nmod tests {{ {code} }}"));
        keeps(CLOCK, "src/durable/mod.rs", &format!("#[test]\n{code}"));
        keeps(CLOCK, "src/durable/tests.rs", &code);
    }
    keeps(CLOCK, "src/durable/mod.rs", "fn f() { thread::Builder::new().spawn_scoped(scope, f); }");
    breaks(CLOCK, "src/durable/mod.rs", "use std::thread::{self, spawn};");
    breaks(CLOCK, "src/runtime/commits.rs", "use std::sync::mpsc::{Sender, channel};");
    keeps(CLOCK, "src/gateway/mod.rs", "use std::sync::mpsc::{Sender, channel};");
    keeps(CLOCK, "src/durable/mod.rs", "use std::thread::JoinHandle;\nuse std::time::Instant;");
}

#[test]
fn a_panic_outside_tests_is_found() {
    for code in
        ["x.unwrap()", "x\n    .unwrap()", "x.expect(\"is there\")", "xs.map(Option::unwrap)"]
    {
        let code = format!("fn f() {{ {code}; }}");
        breaks(PANIC, "src/graph.rs", &code);
        breaks(PANIC, "dataflows/pinterest/main.rs", &code);
        breaks(PANIC, "src/graph.rs", &format!("#[cfg(test)]\nmod tests {{}}\n{code}"));
        for path in [
            "src/graph/tests.rs",
            "src/graph/join_tests.rs",
            "tests/laws.rs",
            "benches/operators.rs",
            "dataflows/pinterest/tests.rs",
        ] {
            keeps(PANIC, path, &code);
        }
        keeps(PANIC, "src/graph.rs", &format!("#[cfg(test)]\nmod tests {{\n    {code}\n}}"));
        keeps(
            PANIC,
            "src/graph.rs",
            &format!(
                "#[expect(\n    clippy::unwrap_used,\n    clippy::expect_used,\n    reason = \"it is\"\n)]\n{code}"
            ),
        );
        breaks(
            PANIC,
            "src/graph.rs",
            &format!("#[expect(clippy::unwrap_used, reason = \"it is\")]\nfn g() {{}}\n{code}"),
        );
    }
    keeps(
        PANIC,
        "src/graph.rs",
        "/// x.unwrap()\nfn f() { x.unwrap_or(1); y.expect_err(2); }\n// x.unwrap() would panic\nconst S: &str = \".unwrap()\";",
    );
    keeps(
        PANIC,
        "src/graph.rs",
        "fn f() {\n    #[expect(clippy::unwrap_used, reason = \"it is\")]\n    let x = match y { _ => z }.unwrap();\n}",
    );
}

#[test]
fn unfinished_code_is_found_but_not_its_name_in_a_string() {
    for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        breaks(UNFINISHED, "tests/laws.rs", &format!("fn f() {{}} // {word}: more"));
        breaks(UNFINISHED, "src/graph.rs", &format!("/* a\n{word} */"));
        keeps(UNFINISHED, "src/graph.rs", &format!("const S: &str = \"{word}\"; // {word}LIST"));
    }
    for code in ["dbg!(x)", "todo!()", "unimplemented!(\"later\")"] {
        breaks(UNFINISHED, "src/graph.rs", &format!("fn f() {{ {code} }}"));
        breaks(UNFINISHED, "tests/laws.rs", &format!("#[test]\nfn f() {{ {code} }}"));
        keeps(UNFINISHED, "src/graph.rs", &format!("// no {code} here"));
    }
}

#[test]
fn code_in_a_comment_is_found_and_prose_is_not() {
    for code in ["// let x = 1;", "    // if x {", "// }", "fn f() {} // g();", "// })"] {
        breaks(DEAD, "src/graph.rs", code);
    }
    for prose in [
        "// Why: it is so.",
        "/// let x = 1;",
        "//! let x = 1;",
        "//",
        "// see [a, b]",
        "const S: &str = \"// x;\";",
    ] {
        keeps(DEAD, "src/graph.rs", prose);
    }
}

#[test]
fn a_file_has_a_header_and_stays_short() {
    let tree = Tree::of(&BTreeMap::new());
    let rules = |text: &str| {
        check("src/graph.rs", text, &tree).into_iter().map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    assert_eq!(rules("// A graph.\n"), [DOCS]);
    assert_eq!(rules("\n//! A graph.\n"), [DOCS]);
    assert_eq!(rules(&format!("//! A graph.\n{}", "\n".repeat(398))), [""; 0]);
    assert_eq!(rules(&format!("//! A graph.\n{}", "\n".repeat(399))), [LENGTH]);
    let tests =
        |n: usize| format!("//! A graph.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(n - 3));
    assert_eq!(rules(&tests(100)), [""; 0]);
    assert_eq!(rules(&tests(101)), [LENGTH]);
}

#[test]
fn a_test_file_that_nothing_names_is_found() {
    let files = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect()
    };
    let main = (
        "tests/main.rs",
        "//! Index.\n/// The laws.\nmod laws;\nmod stream;\n// mod gone;\nmod support { mod lake; }\n",
    );
    let all = [
        main,
        ("tests/laws.rs", ""),
        ("tests/stream/mod.rs", "mod join;"),
        ("tests/stream/join.rs", ""),
        ("tests/support/lake.rs", ""),
    ];
    assert_eq!(unlisted(&files(&all)), []);
    for lost in
        ["tests/gone.rs", "tests/stream/laws.rs", "tests/stream/gone.rs", "tests/table/mod.rs"]
    {
        let found = unlisted(&files(&[&all[..], &[(lost, "")]].concat()));
        assert!(
            matches!(&found[..], [(INDEX, place)] if place.starts_with(lost)),
            "{lost}: {found:?}"
        );
    }
}

#[test]
fn comments_strings_and_characters_do_not_pass_for_code() {
    let text = "a /* b /* c */ d */ e \"f \\\" g\" h b\"i\" r##\"j\"# k\"## l '\"' m '\\'' n 'o p \
        // q\nr#type";
    let source = Source::new(text);
    let words: Vec<&str> = super::identifiers(&source.code).map(|(_, word)| word).collect();
    assert_eq!(words, ["a", "e", "h", "b", "l", "m", "n", "o", "p", "r", "type"]);
    assert_eq!((source.code.len(), source.line(text.len() - 1)), (text.len(), 2));
    assert_eq!(source.comments, [(1, "/* b /* c */ d */".to_owned()), (1, "// q".to_owned())]);
}

#[test]
fn a_use_tree_is_expanded_to_its_paths() {
    let joined = |code: &str| paths(code).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(joined("a::{b, c::{self, d as e}, *};"), ["a::b", "a::c", "a::c::d::e", "a::*"]);
    assert_eq!(joined("{a, {b}, };"), ["a", "b"]);
    assert_eq!(joined("a::f::<T>(x)"), ["a::f"]);
    assert_eq!(joined("a::B { c: d }"), ["a::B"]);
    assert_eq!(joined("{self, \u{e9} ; a"), ["\u{e9}", "a"]);
}

#[test]
fn a_file_is_a_test_by_its_name_its_folder_or_its_mod_line() {
    let lib = "#[cfg(test)]\nmod laws;\nmod time;";
    let graph =
        "#[cfg(test)]\n#[rustfmt::skip]\npub(crate) mod fuzz;\nmod fuzzy;\n#[test]\nfn modest() {}";
    let tree = Tree::of(
        &[("src/lib.rs", lib), ("src/graph.rs", graph), ("src/join/mod.rs", graph)]
            .map(|(p, t)| (p.into(), t.into()))
            .into(),
    );
    for path in [
        "tests/main.rs",
        "benches/b.rs",
        "src/stream/tests.rs",
        "src/stream/join_tests.rs",
        "src/stream/tests/join.rs",
    ] {
        assert!(tree.is_test(path), "{path}");
    }
    for path in [
        "src/laws.rs",
        "src/laws/mod.rs",
        "src/graph/fuzz.rs",
        "src/graph/fuzz/mod.rs",
        "src/graph/fuzz/deep.rs",
        "src/join/fuzz.rs",
    ] {
        assert!(tree.is_test(path), "{path}");
    }
    for path in [
        "src/testing/mod.rs",
        "src/contests.rs",
        "src/graph/fuzzy.rs",
        "src/graph/laws.rs",
        "src/fuzz.rs",
        "src/time.rs",
        "src/graph.rs",
    ] {
        assert!(!tree.is_test(path), "{path}");
    }
}

#[test]
fn files_that_import_one_another_are_found_through_others_too() {
    let found = |c: &str| {
        let files = [
            ("src/runtime/mod.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\n"),
            ("src/runtime/a.rs", "use super::b::B;\nuse crate::error::Error;\n"),
            ("src/runtime/b/mod.rs", "mod inner;\n"),
            ("src/runtime/b/inner.rs", "use super::super::c::C;\n"),
            ("src/runtime/c.rs", c),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), format!("//! A file.\n{text}")));
        let files = BTreeMap::from(files);
        let broken = circles(&files, &Tree::of(&files)).into_iter();
        broken.map(|(_, place)| place).collect::<Vec<_>>()
    };
    let circle = ["a.rs:1: through b", "b.rs:1: through c", "c.rs:1: through a"];
    assert_eq!(found("use super::a::A;"), circle.map(|file| format!("src/runtime/{file}")));
    assert_eq!(found("use super::A;\n// use super::a::A"), [""; 0]);
    assert_eq!(found("#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}"), [""; 0]);
}
