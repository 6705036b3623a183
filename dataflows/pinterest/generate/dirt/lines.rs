//! Spoils one line, and returns one line. Each function reads the compact JSON of an event.

use std::ops::Range;

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// All fields null.
pub(super) fn nulls(line: &[u8]) -> Vec<u8> {
    let nulls: Vec<_> = fields(line).map(|(name, _)| [name, b"null"].join(&b':')).collect();
    [b"{", &nulls.join(&b',')[..], b"}"].concat()
}

/// All fields null but the number, which is a good record.
pub(super) fn nulls_but_number(line: &[u8]) -> Vec<u8> {
    let number: Vec<u8> =
        fields(line).next().map(|(_, value)| line[value].to_vec()).unwrap_or_default();
    edited(&nulls(line), NUMBER, &String::from_utf8_lossy(&number))
}

/// A good record in an array.
pub(super) fn in_array(line: &[u8]) -> Vec<u8> {
    [b"[ ", line, b" ]"].concat()
}

/// No record in an array.
pub(super) fn empty_array(_: &[u8]) -> Vec<u8> {
    b"[]".to_vec()
}

/// Two records in an array.
pub(super) fn array_of_two(line: &[u8]) -> Vec<u8> {
    [b"[", line, b",", line, b"]"].concat()
}

/// A good record, encoded once too often, as text of JSON.
pub(super) fn text_of_base64(line: &[u8]) -> Vec<u8> {
    format!("\"{}\"", BASE64_STANDARD.encode(line)).into_bytes()
}

/// A good record, encoded once too often.
pub(super) fn base64(line: &[u8]) -> Vec<u8> {
    BASE64_STANDARD.encode(line).into_bytes()
}

/// A good record in an array, encoded once too often.
pub(super) fn base64_of_array(line: &[u8]) -> Vec<u8> {
    text_of_base64(&in_array(line))
}

/// A record encoded twice too often.
pub(super) fn base64_twice(line: &[u8]) -> Vec<u8> {
    text_of_base64(&base64(line))
}

/// The error page of a proxy.
pub(super) fn no_json(_: &[u8]) -> Vec<u8> {
    b"<html><body>502 Bad Gateway</body></html>".to_vec()
}

/// Nothing at all.
pub(super) fn empty(_: &[u8]) -> Vec<u8> {
    Vec::new()
}

/// A null value, which deletes nothing.
pub(super) fn tombstone(_: &[u8]) -> Vec<u8> {
    b"null".to_vec()
}

/// Half a record, maybe with half a character.
pub(super) fn truncated(line: &[u8]) -> Vec<u8> {
    line[..line.len() / 2].to_vec()
}

/// A record and the end of another.
pub(super) fn trailing(line: &[u8]) -> Vec<u8> {
    [line, b"\"}"].concat()
}

/// The number as text.
pub(super) fn number_in_text(line: &[u8]) -> Vec<u8> {
    edited(line, NUMBER, "\"7528\"")
}

/// The number with a fraction.
pub(super) fn number_with_fraction(line: &[u8]) -> Vec<u8> {
    edited(line, NUMBER, "7528.0")
}

/// No number.
pub(super) fn no_number(line: &[u8]) -> Vec<u8> {
    let first = fields(line).next().map_or(0, |(_, value)| value.end + 1);
    [b"{", &line[first..]].concat()
}

/// Both names of the number. It is a good record: `ind` counts, unless it is null.
pub(super) fn both_names(line: &[u8]) -> Vec<u8> {
    let other: &[u8] =
        if line.starts_with(b"{\"ind\"") { b"{\"index\":-1," } else { b"{\"ind\":null," };
    [other, &line[1..]].concat()
}

/// Only the number: no field identifies the kind.
pub(super) fn no_kind(line: &[u8]) -> Vec<u8> {
    let first = fields(line).next().map_or(0, |(_, value)| value.end);
    [&line[..first], b"}"].concat()
}

/// The number twice.
pub(super) fn field_twice(line: &[u8]) -> Vec<u8> {
    let first = fields(line).next().map_or(0, |(_, value)| value.end);
    [&line[..first], b",", &line[1..]].concat()
}

/// One more field, nested deeper than the 64 levels that are allowed.
pub(super) fn deep(line: &[u8]) -> Vec<u8> {
    let more = format!(",\"more\":{}{}}}", "[".repeat(80), "]".repeat(80));
    [&line[..line.len() - 1], more.as_bytes()].concat()
}

/// A text with a byte that UTF-8 never has.
pub(super) fn no_utf8(line: &[u8]) -> Vec<u8> {
    let text = line.windows(2).position(|bytes| bytes == b":\"").unwrap_or(0) + 2;
    [&line[..text], b"\xff", &line[text..]].concat()
}

/// A byte order mark before the record.
pub(super) fn byte_order_mark(line: &[u8]) -> Vec<u8> {
    [b"\xef\xbb\xbf", line].concat()
}

/// One more field, which makes the line longer than 1 MiB.
pub(super) fn huge(line: &[u8]) -> Vec<u8> {
    let more = format!(",\"more\":\"{}\"}}", "x".repeat(1 << 20));
    [&line[..line.len() - 1], more.as_bytes()].concat()
}

/// Names the first field, `ind` or `index`, in [`edited`].
const NUMBER: &str = "";

/// Returns the line with another value in one field: the first field if the name is empty.
pub(super) fn edited(line: &[u8], name: &str, value: &str) -> Vec<u8> {
    let quoted = format!("\"{name}\"");
    let field = fields(line).find(|(field, _)| name.is_empty() || *field == quoted.as_bytes());
    field.map_or_else(
        || line.to_vec(),
        |(_, old)| [&line[..old.start], value.as_bytes(), &line[old.end..]].concat(),
    )
}

/// Returns the fields of a compact object of texts and numbers: each name with its quotes, and the
/// range of its value.
fn fields(line: &[u8]) -> impl Iterator<Item = (&[u8], Range<usize>)> {
    let mut at = 1;
    std::iter::from_fn(move || {
        let name = at..at + line.get(at..)?.iter().position(|&byte| byte == b':')?;
        let value = name.end + 1;
        let (mut text, mut escaped) = (false, false);
        let length = line[value..].iter().position(|&byte| {
            let end = !text && matches!(byte, b',' | b'}');
            text ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            end
        })?;
        at = value + length + 1;
        Some((&line[name], value..value + length))
    })
}
