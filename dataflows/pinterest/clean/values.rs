//! Numbers and dates that are written as text, each in its few exact formats.

use chrono::NaiveDate;
use watershed::Timestamp;

/// Returns true if `text` has only Unicode `White_Space`, such as NBSP.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// Returns the whole number in a text of the form `^\d+(\.\d+)?(\s*[kKmMbB])?$` in ASCII digits:
/// `437`, `51k`, `1.5 M`. `None` if it is not whole or exceeds `i64`.
pub(super) fn follower_count(text: &str) -> Option<i64> {
    let (number, zeros) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (text[..text.len() - 1].trim_end(), 3),
        b'm' => (text[..text.len() - 1].trim_end(), 6),
        b'b' => (text[..text.len() - 1].trim_end(), 9),
        _ => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let zeros = 10i64.pow(u32::checked_sub(zeros, fraction.len().try_into().ok()?)?);
    let mut digits = whole.bytes().chain(fraction.bytes()).map(|b| i64::from(b - b'0'));
    digits.try_fold(0i64, |n, digit| n.checked_mul(10)?.checked_add(digit))?.checked_mul(zeros)
}

/// The formats of a date, the usual one first. A letter stands for a digit, any other byte for
/// itself. A date in the first format may end with a fraction and an offset.
const FORMATS: [&[u8]; 4] = [
    b"YYYY-MM-DDThh:mm:ss",
    b"YYYY-MM-DD hh:mm:ss",
    b"MM/DD/YYYY, hh:mm:ss",
    b"YYYY:MM:DD hh:mm:ss",
];

/// Returns the time that `text` denotes in UTC. `None` if it is in none of the formats, or its day
/// or time of day does not exist.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    let text = text.as_bytes();
    FORMATS.iter().find_map(|format| {
        let (head, tail) = text.split_at_checked(format.len())?;
        let [year, month, day, hour, minute, second] = fields(format, head)?;
        let fraction =
            if tail.is_empty() { 0 } else { (format[10] == b'T').then(|| fraction(tail))?? };
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
        let seconds = date.and_hms_opt(hour, minute, second)?.and_utc().timestamp();
        Some(Timestamp(seconds * 1_000_000 + fraction))
    })
}

/// Returns year, month, day, hour, minute and second of `text`, which is as long as its `format`.
fn fields(format: &[u8], text: &[u8]) -> Option<[u32; 6]> {
    let mut fields = [0; 6];
    for (&expected, &found) in format.iter().zip(text) {
        match b"YMDhms".iter().position(|&letter| letter == expected) {
            Some(at) if found.is_ascii_digit() => {
                fields[at] = fields[at] * 10 + u32::from(found - b'0')
            }
            None if found == expected => {}
            _ => return None,
        }
    }
    Some(fields)
}

/// Returns the microseconds of the end of a date: an optional fraction, `.` with 1 to 6 digits, and
/// an optional offset of UTC.
fn fraction(tail: &[u8]) -> Option<i64> {
    let tail = [&b"Z"[..], b"+00:00", b"+0000"]
        .iter()
        .find_map(|utc| tail.strip_suffix(*utc))
        .unwrap_or(tail);
    match tail {
        [] => Some(0),
        [b'.', digits @ ..]
            if (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) =>
        {
            let digits = digits.iter().chain(b"00000").take(6);
            Some(digits.fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
        }
        _ => None,
    }
}
