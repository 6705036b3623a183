//! The command `answers`.
use std::io::Write;
use watershed::Result;
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}
pub(crate) struct Lake {
    pub(crate) url: String,
    pub(crate) user_id: String,
}
impl Lake {
    pub(crate) fn table(&self, t: &str) -> String {
        if ["pin_table", "geo_table", "user_table"].contains(&t) {
            format!("{}/{}_{t}", self.url, self.user_id)
        } else {
            format!("{}/{t}", self.url)
        }
    }
}
pub(crate) fn answers(_v: Option<&str>, _l: &Lake, _f: Format, _a: Option<u64>, _o: &mut dyn Write) -> Result<()> {
    Ok(())
}
