//! Texts that are decoded without a copy.

use std::borrow::Cow;

use serde::Deserialize;

/// A text in the bytes from which it is decoded, unless it needs a copy there.
///
/// A [`Cow`] by itself is always decoded as a copy.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_copied_only_if_it_must_be() {
        let is_borrowed = |json| {
            let Text(text) = serde_json::from_str(json).unwrap();
            (matches!(text, Cow::Borrowed(_)), text.into_owned())
        };
        assert_eq!(is_borrowed("\"tea\""), (true, "tea".to_string()));
        assert_eq!(is_borrowed("\"te\\u0061\""), (false, "tea".to_string()));
    }
}
