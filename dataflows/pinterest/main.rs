//! `pinterest`: the Pinterest data pipeline as one incremental program.

mod clean;
mod generate;
mod model;
mod questions;
mod topology;

fn main() {
    let topology = topology::topology(&Default::default());
    print!("{}", topology.describe());
}
