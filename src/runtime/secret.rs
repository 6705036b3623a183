//! Randomness: the one place where it is drawn.

use crate::error::{Error, Result};
use crate::secret::Secret;

/// Draws a secret from the operating system's generator, for digests outside of a run. A run draws
/// its own.
///
/// # Errors
/// When the generator fails.
pub fn secret() -> Result<Secret> {
    let mut bytes = [0; 16];
    #[expect(clippy::disallowed_methods, reason = "this is the randomness that is injected")]
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::internal(format!("can't draw a secret from the operating system's generator: {e}"))
    })?;
    Ok(Secret::new(bytes))
}
