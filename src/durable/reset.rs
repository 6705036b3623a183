//! The reset of a state: a manifest by which a new application begins without any record and row.
//!
//! The manifest is the decision. Before it nothing is changed. After it every run first empties the
//! sinks of the replaced application, as often as needed, until the next manifest is made. So a
//! reset that dies at any step is completed by the next run. An earlier run can't add the next
//! manifest, nor rows to a sink that is empty: the sink belongs to another application.

use super::ledger::Ledger;
use super::manifest::{Manifest, Reset};
use crate::error::Result;
use crate::faults;
use crate::secret::Secret;

impl Ledger {
    /// Returns the manifest from which a run continues. There is none before the first one, nor
    /// after a reset.
    pub(crate) fn continued(&self) -> Option<&Manifest> {
        self.last.as_ref().filter(|last| last.reset.is_none())
    }

    /// Returns the reset whose sinks may hold rows of the replaced application.
    pub(crate) fn pending_reset(&self) -> Option<&Reset> {
        self.last.as_ref()?.reset.as_ref()
    }

    /// Returns the last manifest of the replaced application; none if it made none. A reset that is
    /// not pending would replace the present application.
    ///
    /// # Errors
    /// When the manifest can't be read.
    pub(crate) fn replaced(&self) -> Result<Option<Manifest>> {
        let Some(last) = self.last.as_ref().filter(|last| last.reset.is_some()) else {
            return Ok(self.last.clone());
        };
        let Some(before) = last.n.checked_sub(1).filter(|before| *before > 0) else {
            return Ok(None);
        };
        let path = format!("manifest/{before:020}");
        Ok(self.read::<Manifest>(&path)?.map(|(manifest, _)| manifest))
    }

    /// Resets the state: from here on it belongs to the application `app` with this `secret`, and
    /// the sinks of `topics` are to be emptied. The run must have begun.
    ///
    /// # Errors
    /// The errors of [`commit`](Ledger::commit). Then the state must be found again, because it is
    /// unknown which application owns it.
    pub(crate) fn reset(&mut self, app: String, secret: Secret, topics: Vec<String>) -> Result<()> {
        let replaced = std::mem::replace(&mut self.app, app);
        self.secret = secret;
        let reset = Some(Reset { replaced, topics });
        let manifest = Manifest { reset, ..Manifest::after(self) };
        faults::point("reset.manifest.before");
        self.commit(manifest)?;
        faults::point("reset.manifest.after");
        Ok(())
    }
}
