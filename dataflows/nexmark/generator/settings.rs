//! The settings of the generator, which are parameters of its URL.

use watershed::{Error, Result};

/// The settings of the generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Events of all kinds together.
    pub(super) events: u64,
    pub(super) seed: u64,
    /// Events a second of all kinds together while the source is followed; `None` is no limit.
    pub(super) rate: Option<u64>,
    /// Partitions of each topic.
    pub(super) partitions: u32,
    /// Microseconds of event time between two events.
    pub(super) spacing_us: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { events: 100_000, seed: 7, rate: None, partitions: 4, spacing_us: 100 }
    }
}

/// The parameters of the URL, each with its greatest value.
const GREATEST: [(&str, u64); 5] = [
    ("events", 10_000_000_000),
    ("seed", u64::MAX),
    ("rate", 1_000_000_000),
    ("partitions", 1000),
    ("spacing_us", 100_000_000),
];

impl Settings {
    /// Reads a URL.
    ///
    /// # Errors
    /// When it is not a URL of the generator, or a parameter is unknown or out of its range.
    pub(super) fn parse(url: &str) -> Result<Settings> {
        let refused = |why: &str| {
            let known = GREATEST.map(|(name, _)| name).join(", ");
            Error::config(format!("can't read {url}: {why}")).hint(format!(
                "Give a URL such as generated://?events=1000000&seed=7, with the parameters {known}."
            ))
        };
        let rest =
            url.strip_prefix("generated://").ok_or_else(|| refused("it is no generated:// URL"))?;
        let query = match rest.split_once('?') {
            Some(("" | "/", query)) => query,
            None if rest.is_empty() => "",
            _ => return Err(refused("the generator has no host and no path")),
        };
        let mut settings = Settings::default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let Some((_, greatest)) = GREATEST.iter().find(|(known, _)| *known == name) else {
                return Err(refused(&format!("there is no parameter {name:?}")));
            };
            // Only the seed may be 0.
            let least = u64::from(name != "seed");
            let number = value.parse().ok().filter(|number| (least..=*greatest).contains(number));
            let number = number.ok_or_else(|| {
                refused(&format!("{name} is a whole number from {least} to {greatest}"))
            })?;
            match name {
                "events" => settings.events = number,
                "seed" => settings.seed = number,
                "rate" => settings.rate = Some(number),
                "partitions" => settings.partitions = number as u32,
                _ => settings.spacing_us = number,
            }
        }
        Ok(settings)
    }
}
