//! The campaign: the real program is killed, stopped and starved of disk, life after life. After
//! each life every version of every table is compared with an oracle that shares no code with it.
//!
//! `cargo run --release --example campaign -- --lives 10000 --seed 1` runs it for long.

#[cfg(test)]
mod bugs;
mod campaign;
mod check;
mod feeder;
mod life;
mod oracle;
mod plan;
mod process;
mod report;
#[cfg(test)]
mod tests;

pub(crate) use campaign::Campaign;
#[allow(unused_imports, reason = "the program of the campaign uses it")]
pub(crate) use plan::plan;
