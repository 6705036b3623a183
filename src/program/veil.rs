//! Hides the passwords of all URLs in the text of a message.

use std::borrow::Cow;

/// Returns the text with `…` in place of each password. A password is the text between the first
/// colon behind `://` and the last `@` of the same word.
pub(crate) fn veiled(text: &str) -> Cow<'_, str> {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("://") {
        let (before, word) = rest.split_at(at + 3);
        let end = word
            .find(|c: char| c.is_whitespace() || c.is_control() || "'\"`".contains(c))
            .unwrap_or(word.len());
        shown.push_str(before);
        match word[..end].rfind('@').and_then(|to| Some((word[..to].find(':')?, to))) {
            Some((from, to)) => shown += &format!("{}:…{}", &word[..from], &word[to..end]),
            None => shown.push_str(&word[..end]),
        }
        rest = &word[end..];
    }
    if shown.is_empty() {
        return text.into();
    }
    shown.push_str(rest);
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let cases = [
            ("can't open https://u:pw@host/a", "can't open https://u:…@host/a"),
            (
                "'mysql://me:p/w@x@host:3306/db' and 's3://key:pw@bucket'",
                "'mysql://me:…@host:3306/db' and 's3://key:…@bucket'",
            ),
            ("https://:pw@host", "https://:…@host"),
            ("mysql://me@host:3306/db", "mysql://me@host:3306/db"),
            ("kafka://a:1,b:2/x a@b", "kafka://a:1,b:2/x a@b"),
            ("a://b://c:pw@d", "a://b:…@d"),
            ("no URL: me@here", "no URL: me@here"),
        ];
        for (text, shown) in cases {
            assert_eq!(veiled(text), shown);
        }
    }
}
