//! The windows of a case.

use serde_json::Value as Json;
use watershed::prelude::*;

use super::graph::millis;
use super::value::Dyn;

const HOUR: i64 = 3_600_000_000;

/// Windows the records of a group.
///
/// # Errors
/// When the kind of windows is unknown.
pub(super) fn windowed_by<'s>(
    group: &KGrouped<'s, Dyn, Dyn>,
    window: &Json,
) -> Result<KWindowed<'s, Dyn, Dyn>, String> {
    let (at, grace) = (|name: &str| millis(&window[name]), millis(&window["grace_ms"]));
    Ok(match window["kind"].as_str() {
        Some("time") => {
            let windows = TimeWindows::of_size(at("size_ms")).advance_by(at("advance_ms"));
            group.windowed_by(SinceEpoch(windows.grace(grace)))
        }
        Some("sliding") => group
            .windowed_by(SlidingWindows::of_time_difference(at("time_difference_ms")).grace(grace)),
        Some("session") => {
            group.windowed_by(SessionWindows::of_inactivity_gap(at("gap_ms")).grace(grace))
        }
        Some("unlimited") => {
            let start = window["start_ms"].as_i64().unwrap_or_default();
            group.windowed_by(UnlimitedWindows::starting_at(Timestamp::from_millis(start)))
        }
        Some("daily") if window["zone"] == "UTC" => {
            let start = window["start_hour"].as_i64().unwrap_or_default() * HOUR;
            group.windowed_by(Days { start, grace })
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

    fn grace(&self) -> Option<std::time::Duration> {
        Windows::grace(&self.0)
    }
}

/// Days of 24 hours from an hour on.
struct Days {
    start: i64,
    grace: std::time::Duration,
}

impl Windows for Days {
    fn assign(&self, at: Timestamp, each: &mut dyn FnMut(Timestamp, Timestamp)) {
        let start = (at.0 - self.start).div_euclid(24 * HOUR) * 24 * HOUR + self.start;
        each(Timestamp(start), Timestamp(start + 24 * HOUR));
    }

    fn describe(&self) -> String {
        format!("days from {}", self.start)
    }

    fn grace(&self) -> Option<std::time::Duration> {
        Some(self.grace)
    }
}
