//! Planted violations of the rules for words.

use super::super::source::Source;
use super::super::words::{BEGINNINGS, TEST_NAMES, UNITS, WHATS, WIDTH, too_many_whats, whats};
use super::{breaks, keeps};

#[test]
fn a_doc_comment_that_begins_with_a_clause_is_found() {
    breaks(BEGINNINGS, "src/error.rs", "/// What it is.\nfn f() {}");
    breaks(BEGINNINGS, "src/error.rs", "fn g() {}\n/// Whether it is.\nfn f() {}");
    keeps(BEGINNINGS, "src/error.rs", "/// Whatever it is.\nfn f() {}");
    keeps(BEGINNINGS, "src/error.rs", "/// Returns true\n/// Whether or not.\nfn f() {}");
    keeps(BEGINNINGS, "src/error.rs", "fn f() {\n    // What it is.\n}");
}

#[test]
fn a_wide_line_with_more_than_literals_is_found() {
    breaks(WIDTH, "src/error.rs", &format!("// {}", "x".repeat(98)));
    keeps(WIDTH, "src/error.rs", &format!("// {}", "x".repeat(97)));
    breaks(WIDTH, "tests/a.rs", &format!("const A: &str = \"{}\";", "x".repeat(82)));
    keeps(WIDTH, "tests/a.rs", &format!("const A: &str = \"{}\";", "x".repeat(81)));
    keeps(
        WIDTH,
        "tests/a.rs",
        &format!("const A: [&str; 2] = [\n\"{}\", r#\"y\"#,\n];", "x".repeat(98)),
    );
}

#[test]
fn a_constant_without_a_unit_is_found() {
    breaks(UNITS, "src/error.rs", "const FAR: u64 = 128 << 20;");
    breaks(UNITS, "src/error.rs", "const PATIENCE: Duration = Duration::from_secs(1);");
    keeps(UNITS, "src/error.rs", "const EPOCH_MAX_BYTES: u64 = 128 << 20;");
    keeps(UNITS, "src/error.rs", "const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);");
    keeps(UNITS, "src/error.rs", "const WORKERS: usize = 64;");
    keeps(UNITS, "tests/a.rs", "const FAR: u64 = 128 << 20;");
}

#[test]
fn comments_with_too_many_clauses_are_found() {
    let counts = |text: &str| vec![("src/a.rs".to_owned(), whats(&Source::new(text)))];
    let plain = "// A plain sentence.\n".repeat(98);
    assert_eq!(too_many_whats(&counts(&format!("{plain}// What it is.\n"))), []);
    let many = too_many_whats(&counts(&format!("{plain}// What it is.\n// What else.\n")));
    assert_eq!(many, [(WHATS, "2 in 100 comment lines: src/a.rs 2".to_owned())]);
}

#[test]
fn a_test_with_a_long_name_or_a_clause_is_found() {
    let test = |name: &str| format!("#[test]\n#[ignore]\nfn {name}() {{}}");
    breaks(TEST_NAMES, "tests/laws.rs", &test(&"x".repeat(61)));
    keeps(TEST_NAMES, "tests/laws.rs", &test(&"x".repeat(60)));
    breaks(TEST_NAMES, "src/error.rs", &test("a_record_is_kept_by_whoever_reads_it"));
    breaks(TEST_NAMES, "src/error.rs", &test("what_is_lost_is_found"));
    keeps(TEST_NAMES, "src/error.rs", &test("a_whole_record_is_kept"));
    keeps(TEST_NAMES, "src/error.rs", &format!("fn {}() {{}}", "x".repeat(61)));
}
