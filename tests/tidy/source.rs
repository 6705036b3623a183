//! Enough of Rust's lexical grammar to separate code from comments, strings and tests.

use std::ops::Range;

/// A source file in parts. Blanks replace the removed characters, so that an offset is the same in
/// each text.
pub(super) struct Source {
    /// The code without comments and without the contents of literals.
    pub(super) code: String,
    /// The code, also without test items.
    pub(super) shipped: String,
    /// The comments by line, each with its line number.
    pub(super) comments: Vec<(usize, String)>,
    /// The modules below a `#[cfg(test)]`, inside the file or declared there.
    pub(super) test_modules: Vec<TestModule>,
    /// The lines of items below an `#[expect(clippy::…, reason = …)]` for `unwrap` or `expect`.
    pub(super) promises: Vec<Range<usize>>,
}

pub(super) struct TestModule {
    pub(super) name: String,
    /// The line of the attribute.
    pub(super) line: usize,
    /// The number of lines from the attribute to the end of the module.
    pub(super) lines: usize,
}

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let (code, comments) = split(text);
        let mut source = Source {
            shipped: code.clone(),
            code,
            comments,
            test_modules: Vec::new(),
            promises: Vec::new(),
        };
        for attribute in ["#[cfg(test)]", "#[cfg(all(test", "#[test]"] {
            for at in positions(&source.code, attribute) {
                let end = item_end(&source.code, at);
                let blank: String = source.code[at..end]
                    .chars()
                    .map(|c| if c == '\n' { '\n' } else { ' ' })
                    .collect();
                let mut words = identifiers(&source.code[at..end]).map(|(_, word)| word);
                if let Some(name) =
                    words.find(|word| *word == "mod").and_then(|_| words.next()).map(str::to_owned)
                {
                    let lines = source.code[at..end].lines().count();
                    source.test_modules.push(TestModule { name, line: source.line(at), lines });
                }
                source.shipped.replace_range(at..end, &blank);
            }
        }
        for at in positions(&source.code, "#[expect(") {
            let attribute = source.code[at..].split(')').next().unwrap_or_default();
            if identifiers(attribute)
                .any(|(_, lint)| lint == "unwrap_used" || lint == "expect_used")
            {
                source.promises.push(source.line(at)..source.line(item_end(&source.code, at)) + 1);
            }
        }
        source
    }

    /// Returns the line number of an offset.
    pub(super) fn line(&self, at: usize) -> usize {
        self.code.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
    }
}

fn positions(code: &str, what: &str) -> Vec<usize> {
    code.match_indices(what).map(|(at, _)| at).collect()
}

/// Returns the end of the item or statement whose attributes begin at `at`.
fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0;
    for (i, c) in code[at..].char_indices() {
        depth += match c {
            '(' | '[' | '{' => 1,
            ')' | ']' | '}' => -1,
            _ => 0,
        };
        if depth < 0 {
            return at + i;
        }
        let after = at + i + c.len_utf8();
        let goes_on = c == '}'
            && ['.', '?', ';'].iter().any(|next| code[after..].trim_start().starts_with(*next));
        if depth == 0 && (c == ';' || c == '}' && !goes_on) {
            return after;
        }
    }
    code.len()
}

/// Every identifier and keyword with its offset.
pub(super) fn identifiers(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let start = rest + code[rest..].find(part)?;
        let end = code[start..].find(|c| !part(c)).map_or(code.len(), |length| start + length);
        rest = end;
        Some((start, &code[start..end]))
    })
}

/// The paths of the use tree or path at the start of `code`: `a::{b, c::d}` is `a::b` and
/// `a::c::d`.
///
/// A renamed path ends in its new name.
pub(super) fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    tree(code.trim_start(), &mut Vec::new(), &mut found);
    found
}

/// Parses one tree below `prefix` and returns the rest of `code`.
fn tree<'a>(code: &'a str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            match rest.strip_prefix('}') {
                Some(after) => return after.trim_start(),
                None if rest.is_empty() => return rest,
                None => {
                    let after = tree(rest, prefix, found);
                    // Skip anything that is no tree, so that parsing ends on any text.
                    rest = if after.len() < rest.len() {
                        after
                    } else {
                        &rest[rest.chars().next().map_or(0, char::len_utf8)..]
                    };
                }
            }
        }
    }
    let length =
        code.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(code.len());
    if length == 0 {
        found.extend((!prefix.is_empty()).then(|| prefix.clone()));
        return code;
    }
    prefix.push(code[..length].to_owned());
    let mut rest = code[length..].trim_start();
    if let Some(after) = rest.strip_prefix("::") {
        rest = tree(after.trim_start(), prefix, found);
    } else {
        let mut path = prefix.clone();
        if let Some(renamed) = rest.strip_prefix("as ") {
            let name = identifiers(renamed).next().map_or("", |(_, name)| name);
            path.push(name.to_owned());
            rest = renamed.trim_start()[name.len()..].trim_start();
        } else if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        found.extend((!path.is_empty()).then_some(path));
    }
    prefix.pop();
    rest
}

/// Returns the code with blanks for comments and contents of literals, and the comments by line.
fn split(text: &str) -> (String, Vec<(usize, String)>) {
    let (mut code, mut comments, mut line) = (String::with_capacity(text.len()), Vec::new(), 1);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let (length, kept) = token(rest, word);
        let (piece, after) = rest.split_at(length);
        if piece.starts_with("//") || piece.starts_with("/*") {
            comments.extend(
                piece.lines().enumerate().map(|(i, comment)| (line + i, comment.trim().to_owned())),
            );
        }
        let blank = |c: char| if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) };
        if kept {
            code.push_str(piece);
        } else {
            // Keep one quote, so that the texts on both sides of a literal stay separate.
            code.push(if first == '/' { ' ' } else { '"' });
            code.extend(piece.chars().skip(1).map(blank));
        }
        line += piece.matches('\n').count();
        rest = after;
    }
    (code, comments)
}

/// Returns the length of the comment, literal or single character at the start of `rest`, and true
/// if it is code.
fn token(rest: &str, after_word: bool) -> (usize, bool) {
    let first = rest.chars().next().map_or(0, char::len_utf8);
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), false);
    }
    if !after_word {
        let prefix = ["br", "cr", "r"]
            .into_iter()
            .find(|prefix| rest.starts_with(prefix))
            .map_or(0, str::len);
        let hashes = rest[prefix..].bytes().take_while(|b| *b == b'#').count();
        if prefix > 0 && rest[prefix + hashes..].starts_with('"') {
            let start = prefix + hashes + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            return (rest[start..].find(&end).map_or(rest.len(), |i| start + i + end.len()), false);
        }
    }
    match rest.as_bytes()[0] {
        b'"' => (quoted(rest, '"'), false),
        // A quote begins a character literal if one character or escape and a quote follow, and
        // otherwise a lifetime.
        b'\'' if rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'') => {
            (quoted(rest, '\''), false)
        }
        _ => (first, true),
    }
}

/// Returns the length of a literal between quotes, with escapes skipped.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return i + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// Returns the length of a block comment; block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = if rest[at..].starts_with("/*") {
            depth += 1;
            2
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}
