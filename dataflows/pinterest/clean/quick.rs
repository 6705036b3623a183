//! Reads the usual object without a parser: the fields of its kind in their order, each a text, a
//! number or null. It refuses any other text; the strict reader then reads that from the start.

use std::ops::Range;

use super::json::{Fields, Shape, Value, decimal};

/// Most digits of an integer that fits into 64 bits whatever they are.
const DIGITS_MAX: usize = 18;

/// Puts the values of the object that `text` is into `fields`.
///
/// Returns `None` for any text that is not the usual object; `fields` may hold some values then.
/// The strict reader returns the same values for an object that this one accepts.
pub(super) fn object<'a, const N: usize>(
    text: &'a str,
    shape: &Shape<N>,
    fields: &mut Fields<'a, N>,
) -> Option<()> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.take(b'{')?;
    let mut next = 0;
    loop {
        let field = (next..N).find(|&field| cursor.key(shape.fields[field]))?;
        cursor.take(b':')?;
        fields[field] = Some(cursor.value(shape.decimals.contains(&field))?);
        // The order of names is strict, so no name can come twice.
        next = field + 1;
        match cursor.any()? {
            b',' => cursor.blanks(),
            b'}' => break,
            _ => return None,
        }
    }
    cursor.blanks();
    (cursor.at == text.len()).then_some(())
}

/// A position in a text.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Skips white space.
    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes the next byte that is no white space.
    fn any(&mut self) -> Option<u8> {
        self.blanks();
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Takes `byte` with white space on both sides.
    fn take(&mut self, byte: u8) -> Option<()> {
        let found = self.any()? == byte;
        self.blanks();
        found.then_some(())
    }

    /// Takes the key `name`, if it is next and has no escapes.
    fn key(&mut self, name: &str) -> bool {
        let name = name.as_bytes();
        let found = match self.rest() {
            [b'"', rest @ ..] => rest.starts_with(name) && rest.get(name.len()) == Some(&b'"'),
            _ => false,
        };
        self.at += if found { name.len() + 2 } else { 0 };
        found
    }

    fn value(&mut self, is_decimal: bool) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' if !is_decimal => self.string(),
            b'n' if self.rest().starts_with(b"null") => {
                self.at += 4;
                Some(Value::Null)
            }
            b'-' | b'0'..=b'9' => self.number(is_decimal),
            _ => None,
        }
    }

    fn string(&mut self) -> Option<Value<'a>> {
        let from = self.at;
        let end = from + 1 + special(&self.text.as_bytes()[from + 1..])?;
        match self.text.as_bytes()[end] {
            b'"' => {
                self.at = end + 1;
                Some(Value::Text(self.text.get(from + 1..end)?.into()))
            }
            b'\\' => {
                self.at = end + closing(&self.text.as_bytes()[end..])? + 1;
                let text: String = serde_json::from_str(self.text.get(from..self.at)?).ok()?;
                Some(Value::Text(text.into()))
            }
            _ => None,
        }
    }

    fn digits(&mut self) -> Range<usize> {
        let from = self.at;
        self.at += self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        from..self.at
    }

    /// Reads a number without exponent.
    fn number(&mut self, is_decimal: bool) -> Option<Value<'a>> {
        let from = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let whole = self.digits();
        let leading_zero = self.text.as_bytes().get(whole.start) == Some(&b'0');
        if whole.is_empty()
            || leading_zero && (whole.len() > 1 || !is_decimal && whole.start > from)
        {
            return None;
        }
        if is_decimal && self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits().is_empty() {
                return None;
            }
        }
        if let Some(b'.' | b'e' | b'E') = self.peek() {
            return None;
        }
        let text = self.text.get(from..self.at)?;
        if is_decimal {
            return Some(decimal(text));
        }
        (whole.len() <= DIGITS_MAX).then_some(())?;
        text.parse().ok().map(Value::Integer)
    }
}

/// Returns the place of the first quotation mark, backslash or control character.
///
/// Eight bytes are tested at once. In `byte ^ c` the byte `c` becomes 0. A subtraction sets the
/// highest bit of a byte only if the byte is less than the number that is subtracted: 1 for
/// equality, 32 for control characters. A borrow may also set the bit of a byte behind such a one,
/// but never of a byte before it, so the first byte found is right.
fn special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word;
    let is = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let (words, rest) = bytes.as_chunks();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = (below(word, b' ') | is(word, b'"') | is(word, b'\\')) & (ONES << 7);
        if found != 0 {
            return Some(number * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|byte| matches!(byte, ..b' ' | b'"' | b'\\'))?;
    Some(words.len() * 8 + found)
}

/// Returns the place of the quotation mark that ends a string. `bytes` begins with the string's
/// first escape.
fn closing(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        // A backslash escapes the byte behind it.
        at += 2;
    }
}
