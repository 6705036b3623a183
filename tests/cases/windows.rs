//! The windows of a case.

use serde_json::Value as Json;
use watershed::options::Windowing;
use watershed::prelude::*;

use super::graph::millis;

const HOUR: i64 = 3_600_000_000;

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
        Some("daily") if window["zone"] == "UTC" => {
            let start = window["start_hour"].as_i64().unwrap_or_default() * HOUR;
            Days { start, grace }.into()
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
