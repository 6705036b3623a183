//! Colliding texts: equal under a hash without a key, as anybody who has the algorithm can craft
//! them.

/// Returns two texts of 1,000 letters and digits. Behind `before` bytes of prefix, both have the
/// same unkeyed XXH3-128.
///
/// For each 8 bytes, that hash adds the product of their halves after an XOR with a public secret.
/// At the two places here the upper halves are equal after the XOR. Swapping a bit between the
/// lower halves keeps the sum.
pub(crate) fn twins(before: usize) -> [String; 2] {
    [("a", "c"), ("c", "a")].map(|(one, other)| {
        let mut text = "x".repeat(1000);
        for (at, first, upper) in [(64, one, "aaaa"), (640, other, "4M53")] {
            text.replace_range(at - before..at - before + 8, &format!("{first}bcd{upper}"));
        }
        text
    })
}
