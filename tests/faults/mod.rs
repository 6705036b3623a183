//! The campaign: a real program is killed, stopped and starved of disk, life after life, while it
//! follows an archive, Kafka or Kinesis in one process or in several. After each life every version
//! of every table is compared with an oracle that shares no code with it. The program is
//! `pinterest`, and in worlds of event time `visits`.
//!
//! `cargo run --release --example campaign -- --lives 10000 --seed 1 --world all` runs it for long.

#[cfg(test)]
mod bugs;
mod campaign;
mod check;
mod cluster;
#[cfg(test)]
mod families;
mod life;
mod manifest;
mod oracle;
mod plan;
mod points;
mod process;
mod report;
#[cfg(test)]
mod tests;
mod worlds;

pub(crate) use campaign::Campaign;
#[allow(unused_imports, reason = "the program of the campaign uses them")]
pub(crate) use {
    plan::{Runs, plan},
    worlds::{KINDS, Kind},
};
