//! The command `check`.
use std::io::Write;
use watershed::Result;
use watershed::connect::Source;
pub(crate) fn check(
    _s: &[Vec<Box<dyn Source>>; 3],
    _l: &crate::answers::Lake,
    _b: &crate::topology::Bounds,
    _o: &mut dyn Write,
) -> Result<bool> {
    Ok(true)
}
