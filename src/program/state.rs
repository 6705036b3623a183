//! The command `state`: the manifests, snapshots and layers of a state, the reads of a restart, and
//! the damage.

use std::fmt::Write as _;
use std::io::Write;

use chrono::{DateTime, SecondsFormat};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{BinaryBytes, HumanCount};

use super::process::print;
use super::values;
use crate::error::{Advice, Error, Result};
use crate::runtime::{
    ClockReport, Consequence, CutReport, Damage, Depth, Finding, KeysReport, ManifestRange,
    Restart, SnapshotReport, StateReport, TimeReport, Verified, WatermarkReport, inspect,
};
use crate::store::Store;

/// Objects that no snapshot needs and that are printed.
const PRINTED_OBJECTS_MAX: usize = 20;

#[derive(Args)]
pub(super) struct StateArgs {
    /// Folder of the Delta tables, or s3://bucket/prefix
    #[arg(long, value_name = "URL", default_value = "data/lake", value_parser = values::lake)]
    pub(super) lake: String,
    /// Folder of the manifests [default: <lake>/_watershed]
    #[arg(long, value_name = "URL")]
    pub(super) state: Option<String>,
    /// Read every object, compare all checksums, and name the damaged objects
    #[arg(long)]
    pub(super) verify: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Prints the report on the state at `url`.
///
/// # Errors
/// When there is no state or it can't be read. When the damage is so grave that no run can
/// continue, or none without reading all records again; the report is printed before.
pub(super) fn state(args: &StateArgs, url: &str, name: &str, out: &mut dyn Write) -> Result<()> {
    let depth = if args.verify { Depth::Checksums } else { Depth::Listing };
    let store = Store::open(url)?;
    if store.list("gen")?.is_empty() && store.list("manifest")?.is_empty() {
        return Err(Error::config(format!("there is no state in {url}"))
            .hint(format!("Run `{name} run` first, or give its --lake or --state.")));
    }
    let report = inspect(&store, depth)?;
    if args.json {
        let text = serde_json::to_string(&report)
            .map_err(|e| Error::internal("can't encode the report").because(e))?;
        print(out, &format!("{text}\n"))?;
    } else {
        print(out, &described(url, &report))?;
    }
    let message = match report.consequence() {
        Consequence::NoRun => "no run can continue it",
        Consequence::AllRecords => "no snapshot of it is sound, so all records are read again",
        _ => return Ok(()),
    };
    Err(Error::data(format!("the state {url} is damaged: {message}"))
        .hint("Restore the damaged objects, or begin anew.")
        .advise(Advice::BeginAnew))
}

/// Returns the report for people.
fn described(url: &str, report: &StateReport) -> String {
    let program = report.program.as_deref().unwrap_or("an unknown program");
    let mut text = format!("state {url} of {program}, run {}", report.generation);
    if let Some(app) = &report.app {
        let _ = write!(text, ", application {app}");
    }
    text += "\n\n";
    match &report.manifests {
        Some(manifests) => text += &manifests_line(manifests),
        None => text += "no manifest: no run has committed\n",
    }
    text += &time_text(&report.time);
    for snapshot in &report.snapshots {
        text += &snapshot_text(snapshot);
    }
    if !report.unneeded.is_empty() {
        text += "\nneeded by no snapshot; a run may be writing them, or will delete them\n";
        for object in report.unneeded.iter().take(PRINTED_OBJECTS_MAX) {
            let _ = writeln!(text, "  {}  {}", object.path, BinaryBytes(object.bytes));
        }
        if report.unneeded.len() > PRINTED_OBJECTS_MAX {
            let _ = writeln!(text, "  … and {} more", report.unneeded.len() - PRINTED_OBJECTS_MAX);
        }
    }
    if report.manifests.is_some() {
        text += &restart_text(&report.restart);
    }
    if let Some(verified) = &report.verified {
        text += &verified_text(verified);
    }
    if !report.damage.is_empty() {
        text += "\ndamaged\n";
        report.damage.iter().for_each(|damage| text += &damage_text(damage));
    }
    text
}

fn manifests_line(manifests: &ManifestRange) -> String {
    let ManifestRange { first, last, bytes, generation, stored_at } = manifests;
    let run = generation.map_or_else(String::new, |run| format!(", by run {run}"));
    let time = stored_at.and_then(DateTime::from_timestamp_millis);
    let time = time.map_or_else(String::new, |time| {
        format!(", stored at {}", time.to_rfc3339_opts(SecondsFormat::Secs, true))
    });
    format!("manifests {first} to {last}, {}; the last{run}{time}\n", BinaryBytes(*bytes))
}

/// Returns the watermarks and clocks; nothing where no time is used.
fn time_text(time: &TimeReport) -> String {
    let shown = |micros: i64| match DateTime::from_timestamp_micros(micros) {
        Some(at) => at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{micros} µs since 1970"),
    };
    let mut text = String::new();
    for WatermarkReport { topics, at } in &time.watermarks {
        let _ = writeln!(text, "watermark of {}: {}", topics.join(", "), shown(*at));
    }
    for ClockReport { topic, source, partition, at, is_idle } in &time.clocks {
        let at = at.map_or_else(|| "no record".to_string(), shown);
        let idle = if *is_idle { ", idle" } else { "" };
        let _ = writeln!(text, "  {topic}, source {source}, partition {partition}: {at}{idle}");
    }
    text
}

fn snapshot_text(snapshot: &SnapshotReport) -> String {
    let SnapshotReport { commit, is_sound, rows, bytes, keys, cuts, layers, .. } = snapshot;
    let (rows, bytes) = (HumanCount(*rows), BinaryBytes(*bytes));
    let damaged = if *is_sound { "" } else { " (damaged)" };
    let mut table = plain(["", "cut", "rows", "bytes"]);
    for KeysReport { name, keys, bytes } in keys {
        let (keys, bytes) = (HumanCount(*keys), BinaryBytes(*bytes));
        table.add_row([String::new(), keys_label(name), keys.to_string(), bytes.to_string()]);
    }
    for cut in cuts {
        let (rows, bytes) = (HumanCount(cut.rows), BinaryBytes(cut.bytes));
        table.add_row([String::new(), cut_label(cut, cuts), rows.to_string(), bytes.to_string()]);
    }
    let mut files = plain(["", "layer", "", "bytes"]);
    for layer in layers {
        let merged = if layer.is_merged { "merged" } else { "" };
        let (path, bytes) = (layer.path.clone(), BinaryBytes(layer.bytes).to_string());
        files.add_row([String::new(), path, merged.to_string(), bytes]);
    }
    format!(
        "\nsnapshot of commit {commit}{damaged}: {rows} rows, {bytes}\n{}\n{}\n",
        table.trim_fmt(),
        files.trim_fmt()
    )
}

/// Returns the label of a keyspace: the type of its keys, or the cut whose data they are.
fn keys_label(name: &str) -> String {
    match name.starts_with("data of ") {
        true => name.to_string(),
        false => format!("keys of type {name}"),
    }
}

/// Returns the label of a cut. Cuts of one name have different types, which tell them apart.
fn cut_label(cut: &CutReport, cuts: &[CutReport]) -> String {
    match cuts.iter().filter(|other| other.name == cut.name).count() {
        0 | 1 => cut.name.clone(),
        _ => format!("{} ({})", cut.name, cut.types),
    }
}

/// Returns a table without lines, whose last two columns are aligned to the right.
fn plain(header: [&str; 4]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    table
        .column_iter_mut()
        .skip(2)
        .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn restart_text(restart: &Restart) -> String {
    let mut text = match restart.snapshot {
        Some(commit) => {
            let bytes = BinaryBytes(restart.layer_bytes);
            format!("\na restart reads {bytes} of layers of the snapshot of commit {commit}, and\n")
        }
        None => "\na restart reads no snapshot, and\n".to_string(),
    };
    for (topic, tail) in &restart.topics {
        let about = tail.bytes.filter(|bytes| *bytes > 0);
        let about = about.map(|bytes| format!(", about {}", BinaryBytes(bytes)));
        let (records, about) = (counted(tail.records, "record"), about.unwrap_or_default());
        let _ = writeln!(text, "  {records} of {topic}{about}");
    }
    text
}

fn verified_text(verified: &Verified) -> String {
    let Verified { manifests, snapshots, layers, blocks, bytes } = *verified;
    format!(
        "\nverified {}, {}, and {} with {}: {}\n",
        counted(manifests, "manifest"),
        counted(snapshots, "snapshot"),
        counted(layers, "layer"),
        counted(blocks, "block"),
        BinaryBytes(bytes)
    )
}

/// Returns a number of things with their noun.
fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", HumanCount(count))
}

fn damage_text(damage: &Damage) -> String {
    let finding = match damage.finding {
        Finding::Missing => "is missing",
        Finding::Changed => "is not as a run wrote it",
    };
    let mut text = format!("  {} {finding}: {}\n", damage.path, damage.consequence.text());
    damage.blocks.iter().for_each(|block| text += &format!("    {block}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_of_one_name_are_told_apart_by_their_types() {
        let cut = |name: &str, types: &str| {
            let (name, types) = (name.to_string(), types.to_string());
            CutReport { name, types, rows: 2, bytes: 8 }
        };
        let (first, second) = (cut("pin rows", "i64, Post"), cut("pin rows", "String, Post"));
        let keys = ["i64", "data of geo count: Place, isize"].map(|name| {
            let name = name.to_string();
            KeysReport { name, keys: 2, bytes: 8 }
        });
        let cuts = vec![first, second, cut("geo rows", "i64, Geo")];
        let text = snapshot_text(&SnapshotReport {
            cuts,
            keys: keys.to_vec(),
            ..SnapshotReport::default()
        });
        let labels = [
            " keys of type i64 ",
            " data of geo count: Place, isize ",
            " pin rows (i64, Post) ",
            " pin rows (String, Post) ",
            " geo rows  ",
        ];
        for label in labels {
            assert_eq!(text.matches(label).count(), 1, "{label}: {text}");
        }
    }
}
