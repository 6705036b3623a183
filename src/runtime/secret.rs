//! Randomness: the only place of the library that draws it.

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::simulation;

/// Draws a secret from the random generator of the operating system, for digests outside a run.
/// Each run draws its own.
///
/// ```
/// let secret = watershed::runtime::secret()?;
/// assert_eq!(secret.digest("tea"), secret.digest("tea"));
/// assert_ne!(secret.digest("tea"), watershed::runtime::secret()?.digest("tea"));
/// # Ok::<(), watershed::Error>(())
/// ```
///
/// # Errors
/// When the generator fails.
pub fn secret() -> Result<Secret> {
    if let Some(task) = simulation::current() {
        return Ok(Secret::new([0; 16].map(|_: u8| task.draw(256) as u8)));
    }
    drawn().map(Secret::new)
}

/// Draws bytes from the random generator of the operating system.
///
/// # Errors
/// When the generator fails.
pub(crate) fn drawn<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    #[expect(clippy::disallowed_methods, reason = "this is the randomness that is injected")]
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::internal(format!("can't draw a secret from the operating system's generator: {e}"))
    })?;
    Ok(bytes)
}
