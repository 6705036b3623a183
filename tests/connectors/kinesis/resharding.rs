//! Runs before, during and after splits, merges and other changes of the number of shards. Each
//! ends with every record once, and the last record of each key in the table.

use std::panic::{catch_unwind, resume_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use object_store::memory::InMemory;
use watershed::connect::memory::MemoryTable;
use watershed::options::{Consumed, Produced};
use watershed::row::Value;
use watershed::runtime::{Config, Milestone, Stop, Streams, Summary};
use watershed::serdes::{Json, Utf8};
use watershed::store::Store;
use watershed::{StreamsBuilder, Topology};

use super::World;
use crate::support::EVENT_TIMEOUT;

/// The number of scripts that run at a time, and the number of those that run now.
const SCRIPTS_AT_ONCE: usize = 3;
static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// The stream, the state and the tables of a script.
struct Scene {
    world: World,
    objects: Arc<InMemory>,
    all: MemoryTable,
    last: MemoryTable,
    script: &'static str,
}

fn program() -> Topology {
    Topology::new("program", |builder: &StreamsBuilder<'_>| {
        let columns = || Produced::columns(["key", "number"]);
        builder.stream::<String, i64>("events", Consumed::with(Utf8, Json)).to("all", columns());
        builder.table::<String, i64>("rows", Consumed::with(Utf8, Json)).to("last", columns());
    })
}

impl Scene {
    /// Plays a script. It has the number of shards, and then the steps: `p` puts records, `s1`
    /// splits, `m1,2` merges, `c4` changes to 4 shards, `r` runs to the end. Steps in parentheses
    /// happen while a run follows the stream. A final run to the end is added.
    fn play(script: &'static str) {
        let (shards, steps) = script.split_once(' ').unwrap();
        let name = script.replace([' ', ','], "-").replace('(', "f").replace(')', "e");
        let Some(world) = World::new(&name, shards.parse().unwrap()) else { return };
        let objects = Arc::new(InMemory::new());
        let scene = Scene {
            world,
            objects,
            all: MemoryTable::default(),
            last: MemoryTable::default(),
            script,
        };
        let mut steps = steps.split_whitespace();
        while let Some(step) = steps.next() {
            match step {
                "r" => scene.run(),
                "(" => scene.follow(steps.by_ref().take_while(|step| *step != ")")),
                change => scene.change(change),
            }
        }
        scene.run();
    }

    /// Plays scripts, at most [`SCRIPTS_AT_ONCE`] of all tests at a time: each waits most of the
    /// time, but the server is slow.
    fn play_all<const N: usize>(scripts: [&'static str; N]) {
        let play = |script| {
            let mut running = RUNNING.0.lock().unwrap();
            while *running == SCRIPTS_AT_ONCE {
                running = RUNNING.1.wait(running).unwrap();
            }
            *running += 1;
            drop(running);
            let played = catch_unwind(|| Scene::play(script));
            *RUNNING.0.lock().unwrap() -= 1;
            RUNNING.1.notify_one();
            played.unwrap_or_else(|panic| resume_unwind(panic));
        };
        std::thread::scope(|scope| {
            scripts.map(|script| scope.spawn(move || play(script))).map(|play| play.join().unwrap())
        });
    }

    fn change(&self, step: &str) {
        let (verb, numbers) = step.split_at(1);
        let numbers: Vec<u32> =
            numbers.split(',').filter_map(|number| number.parse().ok()).collect();
        let (kinesis, name) = (&self.world.kinesis, &self.world.name);
        match (verb, &numbers[..]) {
            ("p", []) => self.world.number(3),
            ("s", [shard]) => kinesis.split(name, *shard).unwrap(),
            ("m", [one, other]) => kinesis.merge(name, *one, *other).unwrap(),
            ("c", [shards]) => kinesis.reshard(name, *shards).unwrap(),
            _ => panic!("{step} is not a step"),
        }
    }

    fn bound(&self) -> Streams {
        let streams = Streams::new(program())
            .source("events", self.world.stream())
            .source("rows", self.world.stream());
        streams.sink("all", self.all.clone()).sink("last", self.last.clone())
    }

    fn config(&self) -> Config {
        let state = Some(Store::objects(self.objects.clone(), "state").unwrap());
        Config { workers: 2, state, commit_every: Duration::ZERO, ..Config::default() }
    }

    fn run(&self) {
        self.check(&self.bound().run(self.config()).unwrap());
    }

    /// Runs while the steps happen, until everything they wrote is visible.
    fn follow<'a>(&self, steps: impl Iterator<Item = &'a str>) {
        let (sender, receiver) = channel();
        let stop = Stop::default();
        let milestone = Box::new(move |milestone| {
            // The receiver may be gone.
            let _ = sender.send(milestone);
        });
        let config = Config {
            follow: true,
            stop: stop.clone(),
            milestone: Some(milestone),
            ..self.config()
        };
        let streams = self.bound();
        let run = std::thread::spawn(move || streams.run(config));
        let until = |records: u64| {
            loop {
                match receiver.recv_timeout(EVENT_TIMEOUT) {
                    Ok(Milestone::Committed(visible)) if visible >= records => return,
                    Ok(_) => {}
                    Err(RecvTimeoutError::Timeout) => {
                        panic!("{}: {records} records are not shown in time", self.script)
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let mut visible = false;
        for step in steps {
            self.change(step);
            visible = step == "p";
            if visible {
                // The records of both topics.
                until(2 * self.world.written().values().sum::<u64>());
            }
        }
        stop.stop();
        let summary = run.join().unwrap().unwrap();
        if visible {
            self.check(&summary);
        }
    }

    fn check(&self, summary: &Summary) {
        let row =
            |key: &String, number: u64| vec![Value::Text(key.clone()), Value::Long(number as i64)];
        let written = self.world.written();
        let mut all: Vec<_> =
            written.iter().flat_map(|(key, count)| (0..*count).map(|n| row(key, n))).collect();
        all.sort();
        assert_eq!(self.all.rows(), all, "{}: every record once", self.script);
        let last: Vec<_> = written
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(key, count)| row(key, count - 1))
            .collect();
        assert_eq!(self.last.rows(), last, "{}: the last of each key", self.script);
        assert!(
            summary.topics.values().all(|topic| topic.balances() && topic.dead == 0),
            "{summary:?}"
        );
    }
}

#[test]
fn runs_around_splits_read_every_record_once_and_in_order() {
    Scene::play_all([
        "2 p r s0 p r s1 s2 p",
        "2 p s0 p r p",
        "1 r s0 r p",
        "1 p s0 p s1 s2 p s3 p r p",
    ]);
}

#[test]
fn runs_around_merges_read_every_record_once_and_in_order() {
    Scene::play_all([
        "2 p r m0,1 p",
        "2 p m0,1 p r p",
        "2 r m0,1 s2 r p",
        "4 p r m0,1 r m2,3 p m4,5 p",
    ]);
}

#[test]
fn runs_around_resharding_read_every_record_once_and_in_order() {
    Scene::play_all(["2 p r c4 p r c2 p", "3 p c6 r c3 p r p", "2 c4 c2 p r p"]);
}

#[test]
fn a_run_continues_while_shards_split_and_merge() {
    Scene::play_all([
        "2 p ( p s0 p ) p",
        "2 ( p m0,1 p ) p r s2 p",
        "2 ( p c4 p c2 p ) p",
        "2 p ( p s0 ) ( p m2,3 ) ( p )",
    ]);
}

#[test]
fn a_run_that_restarts_between_splits_and_merges_continues() {
    Scene::play_all(["2 p r s0 r p r r m2,3 r p r s4 r", "1 r p r s0 ( ) p ( ) m1,2 ( p ) r"]);
}
