//! The windows of a case.

use std::time::Duration;

use chrono::{TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;
use serde_json::Value as Json;
use watershed::options::Windowing;
use watershed::prelude::*;

use super::graph::millis;

const DAY_MICROS: i64 = 86_400_000_000;

/// Returns the windows of a step.
///
/// # Errors
/// When the kind of windows is unknown.
pub(super) fn windowing(window: &Json) -> Result<Windowing, String> {
    let (at, grace) = (|name: &str| millis(&window[name]), millis(&window["grace_ms"]));
    Ok(match window["kind"].as_str() {
        Some("time") => {
            let windows = TimeWindows::of_size(at("size_ms")).advance_by(at("advance_ms"));
            SinceEpoch(windows.grace(grace)).into()
        }
        Some("sliding") => {
            SlidingWindows::of_time_difference(at("time_difference_ms")).grace(grace).into()
        }
        Some("session") => SessionWindows::of_inactivity_gap(at("gap_ms")).grace(grace).into(),
        Some("unlimited") => {
            let start = window["start_ms"].as_i64().unwrap_or_default();
            UnlimitedWindows::starting_at(Timestamp::from_millis(start)).into()
        }
        Some("daily") => {
            let zone = window["zone"].as_str().unwrap_or_default();
            let zone: Tz = zone.parse().map_err(|_| format!("unknown time zone {zone:?}"))?;
            let start_hour = window["start_hour"].as_u64().unwrap_or_default() as u32;
            Days { zone, start_hour, grace }.into()
        }
        other => return Err(format!("unknown windows {other:?}")),
    })
}

/// Windows that begin in 1970 or later: Kafka has no others.
struct SinceEpoch(TimeWindows);

impl Windows for SinceEpoch {
    fn assign(&self, at: Timestamp, each: &mut dyn FnMut(Timestamp, Timestamp)) {
        self.0.assign(at, &mut |start, end| {
            if start >= Timestamp(0) {
                each(start, end);
            }
        });
    }

    fn describe(&self) -> String {
        Windows::describe(&self.0)
    }

    fn grace(&self) -> Option<Duration> {
        Windows::grace(&self.0)
    }
}

/// Windows that begin each day at an hour of a time zone. As in the example of Kafka, each is 24
/// hours long, also where the day is not.
struct Days {
    zone: Tz,
    start_hour: u32,
    grace: Duration,
}

impl Windows for Days {
    fn assign(&self, at: Timestamp, each: &mut dyn FnMut(Timestamp, Timestamp)) {
        let local = self.zone.timestamp_micros(at.0).unwrap();
        let today = local.date_naive();
        let is_begun = local.hour() >= self.start_hour;
        let day = if is_begun { today } else { today.pred_opt().unwrap() };
        let hour = day.and_hms_opt(self.start_hour, 0, 0).unwrap();
        let start = |hour| self.zone.from_local_datetime(&hour).earliest();
        // An hour that the clocks skip begins with the next one.
        let start = start(hour).or_else(|| start(hour + TimeDelta::hours(1))).unwrap();
        let start = start.timestamp_micros();
        each(Timestamp(start), Timestamp(start + DAY_MICROS));
    }

    fn describe(&self) -> String {
        format!("days of {} from {} h on", self.zone, self.start_hour)
    }

    fn grace(&self) -> Option<Duration> {
        Some(self.grace)
    }
}
