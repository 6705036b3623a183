//! The smallest program counts words.

use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn words_are_counted_and_invalid_text_is_a_dead_letter() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wordcount"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"to be or\nnot \xff\nTo be\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let screen = String::from_utf8(output.stdout).unwrap();
    for line in
        ["word=\"be\" count=2", "word=\"or\" count=1", "word=\"to\" count=2", "invalid utf-8"]
    {
        assert!(screen.contains(line), "{line} is missing in {screen}");
    }
    assert!(
        !screen.contains("word=\"not\""),
        "a line that can't be decoded counts for nothing: {screen}"
    );
}
