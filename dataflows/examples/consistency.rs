//! The public test of internal consistency: no version of a table shows half of an update.
//!
//! `cargo run --example consistency -- lake shuffled 2` moves money between ten accounts, in two
//! processes (here threads of one), and commits Delta tables with every 50 transactions. At every
//! commit the balance of an account is its credits less its debits, the balances have the sum 0,
//! also in each window of ten seconds, and an outer join shows both halves of a transaction or
//! none. With `ordered`, transactions come in the order of their times. The test is that of
//! `github.com/jamii/streaming-consistency`.
//!
//! ```text
//! 1000 transactions in ... commits
//! total of all accounts: 0
//! ```

#[path = "consistency/topology.rs"]
mod topology;
#[path = "consistency/transactions.rs"]
mod transactions;

use std::{thread, time::Duration};

use topology::{TABLES, topology};
use transactions::generate;
use watershed::connect::memory::MemoryLog;
use watershed::connectors::delta::{Delta, Table};
use watershed::prelude::*;
use watershed::runtime::{Cluster, Milestone, Summary};
use watershed::testing::processes;

const TRANSACTIONS: usize = 1_000;
const STEP: usize = 50;

/// Appends a step of transactions to the four partitions of a log.
fn append(log: &MemoryLog, transactions: &[Vec<u8>], from: usize) {
    for (n, transaction) in transactions.iter().enumerate().skip(from).take(STEP) {
        log.append(n as u32 % 4, None, Some(transaction));
    }
}

/// Runs one of the processes. When a step is committed, the first process appends the next one.
fn run(lake: &str, log: &MemoryLog, steps: Vec<Vec<u8>>, cluster: Cluster) -> Result<Summary> {
    let stop = Stop::default();
    let (next, end) = (log.clone(), stop.clone());
    let milestone = move |milestone| match milestone {
        Milestone::Committed(n) if n as usize == steps.len() => end.stop(),
        Milestone::Committed(n) if n > 0 && (n as usize).is_multiple_of(STEP) => {
            append(&next, &steps, n as usize);
        }
        _ => (),
    };
    let streams = Streams::new(Topology::new("consistency", topology));
    let streams = streams.source("transactions", log.clone());
    let streams = TABLES.iter().try_fold(streams, |streams, table| {
        Ok::<_, Error>(streams.sink(table, Delta::table(&format!("{lake}/{table}"))?))
    })?;
    streams.run(Config {
        workers: 1,
        cluster: Some(cluster),
        state: Some(Store::open(&format!("{lake}/_watershed"))?),
        follow: true,
        commit_every: Duration::ZERO,
        stop,
        milestone: Some(Box::new(milestone)),
        ..Config::default()
    })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [lake, order, count] = args.as_slice() else {
        return Err(Error::config("three arguments are needed: FOLDER ordered|shuffled PROCESSES"));
    };
    let transactions = generate(TRANSACTIONS, order == "shuffled")?;
    let log = MemoryLog::default();
    append(&log, &transactions, 0);
    let clusters = processes(count.parse().unwrap_or(1))?;
    let one = &|cluster| run(lake, &log, transactions.clone(), cluster);
    let summaries = thread::scope(|scope| {
        let start = |cluster| scope.spawn(move || one(cluster));
        let runs: Vec<_> = clusters.into_iter().map(start).collect();
        let panicked = |_| Err(Error::internal("a run panicked"));
        let ended = runs.into_iter().map(|run| run.join().unwrap_or_else(panicked));
        ended.collect::<Result<Vec<Summary>>>()
    })?;
    let commits = summaries.first().map_or(0, |summary| summary.committed);
    println!("{TRANSACTIONS} transactions in {commits} commits");
    Table::open(&format!("{lake}/total"))?.for_each(&mut |row| {
        if let [Value::Long(total)] = row {
            println!("total of all accounts: {total}");
        }
        Ok(())
    })
}
