//! Texts of the help pages: the summary of each command, and examples for a program that supplies
//! none.

pub(super) const RUN: &str = "Read all records that the sources hold at the start, commit, and \
                              print the answers; with --follow continue";
pub(super) const ANSWERS: &str =
    "Print one view, or all, from the Delta tables, all at the same commit";
pub(super) const CHECK: &str = "Compute all tables again from the sources with a naive batch \
                                program, and compare row by row";
pub(super) const DESCRIBE: &str = "Print the topology, its sources and its outputs";
pub(super) const STATE: &str = "Print the manifests and snapshots of a state, and what a restart \
                                would read; with --verify find damage

A run decides each commit by a manifest, which names the ranges of the sources and the content of \
the tables. Now and then it saves a snapshot: the rows of all cuts, the places in the dataflow \
behind which everything can be computed again. A restart loads the youngest snapshot and reads the \
committed records behind it. The snapshot before is kept as a spare.

The command only reads, and a run may be going. It expects a restart of the same topology.

With --verify it reads every object. Each manifest must have the checksum that the next one names, \
and each snapshot, each layer and each block of a layer its own. Nothing names the checksum of the \
last manifest, so only its form is checked. A damaged object is named with its consequence. The \
exit code is 65 if no run can continue, or if all snapshots are damaged.";
pub(super) const ARCHIVE: &str = "Copy topics of Kafka into an archive, as Confluent's S3 sink \
                                  does, each record exactly once";
#[cfg(feature = "gateway")]
pub(super) const GATEWAY: &str = "Accept records by HTTP, as the Confluent REST Proxy and API \
                                  Gateway before Kinesis do, into an archive, Kafka or Kinesis";
pub(super) const STREAMS: &str = "List, create, describe, delete and reshard streams of Kinesis";

/// Returns the end of the page of `command`: examples and, on the first page, the exit codes.
pub(super) fn examples(name: &str, command: &str) -> String {
    let lines: &[&str] = match command {
        "" => &["run --follow", "answers --format json", "describe"],
        "run" => &[
            "run --from archive --follow --commit-every 200ms",
            "run --from archive --from kafka://localhost:9092 --follow",
            "run --from s3://bucket/archive --lake s3://bucket/lake",
            "run --adopt",
            "run --reset",
            "run --from archive --follow --keep 7d",
            "run --processes 2 --workers 1",
        ],
        "answers" => &["answers", "answers --format csv --as-of 3"],
        "check" => &["check --from archive --lake lake"],
        "describe" => &["describe --from archive --lake s3://bucket/lake"],
        "state" => &["state", "state --lake s3://bucket/lake --verify", "state --json"],
        "archive" => &["archive --from kafka://localhost:9092 --to archive --follow"],
        "gateway" => &["gateway --to kafka://localhost:9092 --listen 127.0.0.1:8082"],
        "streams" => &[
            "streams list --at kinesis://eu-west-1",
            "streams create --shards 2",
            "streams describe NAME",
            "streams reshard NAME --shards 4",
            "streams delete NAME",
        ],
        _ => return String::new(),
    };
    let lines: Vec<String> = lines.iter().map(|line| format!("  {name} {line}")).collect();
    let examples = format!("Examples:\n{}", lines.join("\n"));
    if command.is_empty() { format!("{examples}\n\n{EXIT_CODES}") } else { examples }
}

const EXIT_CODES: &str = "Exit codes: 0 success, 1 check found a difference, 2 usage, 65 a source, \
                          state or table contradicts its record,\n69 a service or a folder can't \
                          be reached, 70 a bug in the program, 75 another process of the run is \
                          gone,\n76 a newer run took over, 78 configuration.";
