//! Reads the names and values of a flat file of YAML. All values are texts, because a password may
//! look like a number or like a keyword of YAML.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Returns the names and values of the first document in `text`. Nested values are skipped.
///
/// # Errors
/// A message that contains none of the values.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let (mut anchors, mut name, mut depth) = (BTreeMap::new(), None, 0);
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|e| scanned(e.marker().line()))?;
        let line = span.start.line();
        let value = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                let flat = depth == 0 && matches!(event, Event::MappingStart(..));
                if !flat && (depth == 0 || depth == 1 && name.is_none()) {
                    return Err(wrong(line));
                }
                depth += 1;
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                depth -= 1;
                if depth == 1 {
                    name = None;
                }
                continue;
            }
            Event::DocumentEnd => break,
            Event::Alias(anchor) => anchors.get(&anchor).cloned().unwrap_or_default(),
            Event::Scalar(text, style, anchor, _) => {
                let none = style == ScalarStyle::Plain
                    && ["", "~", "null", "Null", "NULL"].contains(&&*text);
                let value = if none { String::new() } else { text.into_owned() };
                anchors.insert(anchor, value.clone());
                value
            }
            _ => continue,
        };
        match (depth, name.take()) {
            (0, _) if value.is_empty() => {}
            (0, _) => return Err(wrong(line)),
            (1, None) => name = Some(value),
            (1, Some(name)) if pairs.iter().any(|(earlier, _)| *earlier == name) => {
                return Err(format!("line {line} says again what an earlier line says"));
            }
            (1, Some(name)) => pairs.push((name, value)),
            (_, outer) => name = outer,
        }
    }
    Ok(pairs)
}

/// Returns the message for a malformed line. It does not contain the line, which may hold the
/// password.
fn wrong(line: usize) -> String {
    format!("line {line} is no `NAME: value`")
}

/// Returns the message for a syntax error. The parser may find a malformed line only at the next
/// one.
fn scanned(line: usize) -> String {
    if line > 1 { format!("line {} or {line} is no `NAME: value`", line - 1) } else { wrong(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_text_that_yaml_defines() {
        let cases = [
            (r#"PASSWORD: "x" # note"#, "x"),
            ("PASSWORD: 'it''s'", "it's"),
            (r#"PASSWORD: "a\"b\\c\u00e9""#, "a\"b\\cé"),
            (r#""PASSWORD": a #b"#, "a"),
            ("'PASSWORD' : a#b", "a#b"),
            ("\u{feff}PASSWORD: x", "x"),
            ("\u{feff}---\r\nPASSWORD: x\r\n", "x"),
            ("PASSWORD: 0012", "0012"),
            ("PASSWORD: yes", "yes"),
            ("PASSWORD: '~'", "~"),
            ("PASSWORD: ~", ""),
            ("PASSWORD:", ""),
            ("{PASSWORD: x}", "x"),
            ("USER: &me x\nPASSWORD: *me", "x"),
            ("OTHER: {deep: [1, {PASSWORD: y}]}\nPASSWORD: x\nLIST:\n  - z", "x"),
            ("PASSWORD: a:b", "a:b"),
            ("PASSWORD: x\n---\nPASSWORD: y", "x"),
        ];
        for (text, value) in cases {
            let pairs = pairs(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            let found = pairs.iter().find(|(name, _)| name == "PASSWORD");
            assert_eq!(found.map(|(_, value)| value.as_str()), Some(value), "{text}");
        }
        assert_eq!(pairs(""), Ok(Vec::new()));
        assert_eq!(pairs("# nothing\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_wrong_line_is_reported_by_its_number_alone() {
        let cases = [
            "PASSWORD secret",
            "- secret",
            "HOST: a\nPASSWORD: \"secret",
            "PASSWORD: a\nPASSWORD: secret",
            "? [secret]\n: x",
        ];
        for text in cases {
            let why = pairs(text).unwrap_err();
            assert!(why.contains("line ") && !why.contains("secret"), "{text}: {why}");
        }
    }
}
