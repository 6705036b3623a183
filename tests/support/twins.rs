//! Texts that collide: for a hash without a key they are one, as anybody can make them who knows
//! it.

/// Returns two texts of 1,000 letters and digits. With `before` bytes in front, they have one
/// XXH3-128 without a key.
///
/// That hash adds up, for each 8 bytes, the product of their halves after XOR with a public secret.
/// In the two places here the upper halves are equal after it, so that the lower halves may swap a
/// bit.
pub(crate) fn twins(before: usize) -> [String; 2] {
    [("a", "c"), ("c", "a")].map(|(one, other)| {
        let mut text = "x".repeat(1000);
        for (at, first, upper) in [(64, one, "aaaa"), (640, other, "4M53")] {
            text.replace_range(at - before..at - before + 8, &format!("{first}bcd{upper}"));
        }
        text
    })
}
