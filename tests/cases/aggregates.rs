//! The groups of a case, their windows and their aggregates.

use watershed::prelude::*;

use super::case::LATE;
use super::cogroups::Cogrouped;
use super::functions::Merger;
use super::graph::{Built, Step, millis};
use super::value::{Dyn, Key};
use super::windows::windowing;

impl<'s> Step<'_, 's> {
    /// Builds an aggregate of records whose keys are groups.
    pub(super) fn of_records(&self, records: &KStream<'s, Dyn, Dyn>) -> Result<Built<'s>, String> {
        let records = &self.without_null_values(records);
        let group = records.group_by_key();
        Ok(Built::Table(match self.op() {
            "count" => group.count().map_values(|n| Dyn::Int(*n)),
            "reduce" => {
                let reduce = self.function("reducer").aggregator()?;
                group.reduce(move |all, v| reduce(v, &all))
            }
            "aggregate" => {
                let (init, add) = self.fold()?;
                group.aggregate(move || init.clone(), move |all, v| add(v, &all))
            }
            "windowed_by" => {
                let windows = group.windowed_by(windowing(&self.node["window"])?);
                if self.case.has_late_records() {
                    write_late(&windows.late());
                }
                return Ok(Built::Windows(windows));
            }
            "cogroup" => {
                let add = self.function("aggregator").aggregator()?;
                return Ok(Built::Cogrouped(Cogrouped::of(records, add)));
            }
            op => return self.unbuilt(op),
        }))
    }

    pub(super) fn of_cogrouped(&self, group: &Cogrouped<'s>) -> Result<Built<'s>, String> {
        match self.op() {
            "windowed_by" => {
                let windows = windowing(&self.node["window"])?;
                if self.case.has_late_records() {
                    write_late(&group.late(windows.clone()));
                }
                Ok(Built::CogroupedWindows(group.windowed_by(windows)))
            }
            "aggregate" => {
                let init = self.function("initializer").initializer()?;
                Ok(Built::Table(group.aggregate(init)))
            }
            op => self.unbuilt(op),
        }
    }

    pub(super) fn suppressed(&self) -> Result<Suppressed, String> {
        let (setting, buffer) = (&self.node["suppress"], &self.node["suppress"]["buffer"]);
        let mut suppressed = match setting["until"].as_str() {
            Some("window_closes") => Suppressed::until_window_closes(),
            Some("time_limit") => Suppressed::until_time_limit(millis(&setting["limit_ms"])),
            other => return Err(format!("unknown suppress until {other:?}")),
        };
        if let Some(records) = buffer["max_records"].as_u64() {
            suppressed = suppressed.max_records(records as usize);
        }
        if let Some(bytes) = buffer["max_bytes"].as_u64() {
            suppressed = suppressed.max_bytes(bytes as usize);
        }
        Ok(match buffer["when_full"] == "shut_down" {
            true => suppressed.shut_down(),
            false => suppressed.emit_early(),
        })
    }

    pub(super) fn of_rows(&self, group: &KGrouped<'s, Dyn, Dyn>) -> Result<Built<'s>, String> {
        match self.op() {
            "count" => Ok(Built::Table(group.count().map_values(|n| Dyn::Int(*n)))),
            "reduce" => {
                let add = self.function("adder").aggregator()?;
                let subtract = self.function("subtractor").aggregator()?;
                Ok(Built::Table(group.reduce_subtracting(
                    move |all, v| add(v, &all),
                    move |all, v| subtract(v, &all),
                )))
            }
            "aggregate" => {
                let init = self.function("initializer").initializer()?;
                let add = self.function("adder").aggregator()?;
                let subtract = self.function("subtractor").aggregator()?;
                Ok(Built::Table(group.aggregate_subtracting(
                    move || init.clone(),
                    move |all, v| add(v, &all),
                    move |all, v| subtract(v, &all),
                )))
            }
            op => self.unbuilt(op),
        }
    }

    pub(super) fn of_windows(
        &self,
        windows: &KWindowed<'s, Dyn, Dyn>,
    ) -> Result<Built<'s>, String> {
        Ok(Built::WindowTable(match self.op() {
            "emit" => {
                let emit = match self.node["emit"].as_str() {
                    Some("on_window_update") => Emit::OnUpdate,
                    Some("on_window_close") => Emit::OnClose,
                    other => return Err(format!("unknown emit {other:?}")),
                };
                return Ok(Built::Windows(windows.clone().emit(emit)));
            }
            "count" => windows.count().map_values(|n| Dyn::Int(*n)),
            "reduce" => {
                let reduce = self.function("reducer").aggregator()?;
                // As in Kafka, there is no aggregate while all values were null.
                windows.reduce(move |all, v| match all {
                    Dyn::Null => v.clone(),
                    all => reduce(v, &all),
                })
            }
            "aggregate" if self.node["merger"].is_null() => {
                let (init, add) = self.fold()?;
                windows.aggregate(move || init.clone(), move |all, v| add(v, &all))
            }
            "aggregate" => {
                let ((init, add), merge) = (self.fold()?, self.function("merger").merger()?);
                windows.aggregate_merging(
                    move || init.clone(),
                    move |all, v| add(v, &all),
                    move |all, later| merge(&all, later),
                )
            }
            op => return self.unbuilt(op),
        }))
    }

    fn fold(&self) -> Result<(Dyn, Merger), String> {
        let init = self.function("initializer").initializer()?;
        Ok((init, self.function("aggregator").aggregator()?))
    }
}

/// Writes the records that are late for a window.
fn write_late(late: &KStream<'_, Windowed<Dyn>, Dyn>) {
    let late = late.map(|key, value| (key.to_dyn(), value));
    late.with_timestamps().to(LATE, Produced::columns(["key", "value", "at"]));
}
