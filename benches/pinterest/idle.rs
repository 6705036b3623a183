//! How much does it cost to follow an archive without new records?

use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::support::archive;
use crate::support::live::{self, Live};
use crate::support::machine;

/// The time from the end of the replay to the measurement, for the last commit and snapshot.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Returns the share of a core that a run with two workers takes while no record comes.
pub(crate) fn measure(archive: &Path, work: &Path, length: Duration) -> Result<f64> {
    let records = archive::count(archive)?.records;
    let mut live = Live::start(live::streams(archive, work)?, live::config(work, 2)?)?;
    live.replayed(records)?;
    live.rest(SETTLE_TIME)?;
    let before = machine::cpu()?;
    live.rest(length)?;
    let share = (machine::cpu()? - before) / length.as_secs_f64();
    live.end()?;
    Ok(share)
}
