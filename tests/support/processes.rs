//! Runs in several processes. Here each is a thread, which encodes all that it sends.

use std::thread;

use watershed::Result;
use watershed::runtime::{Config, Streams, Summary};
use watershed::testing::processes;

/// Runs a program in several processes. Returns the result of each.
pub(crate) fn run_in(
    count: usize,
    streams: impl Fn() -> Streams + Sync,
    config: impl Fn(usize) -> Config + Sync,
) -> Vec<Result<Summary>> {
    let clusters = processes(count).unwrap();
    thread::scope(|scope| {
        let (streams, config) = (&streams, &config);
        let run = |(process, cluster)| {
            let work = move || {
                let config = Config { cluster: Some(cluster), ..config(process) };
                streams().run(config)
            };
            scope.spawn(work)
        };
        let runs: Vec<_> = clusters.into_iter().enumerate().map(run).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}
