//! Windows close, and records are late, by positions and recorded decisions alone: the rows are the
//! same for any batches, workers, processes, crashes and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connectors::archive::Archive;
use watershed::options::{Consumed, Emit, Produced, TimeWindows};
use watershed::row::Value;
use watershed::runtime::{Config, Depth, Streams, Summary, TopologyChange, inspect};
use watershed::serdes::{Json, Utf8};
use watershed::store::Store;
use watershed::testing::processes;
use watershed::{Result, StreamsBuilder, Timestamp, Topology};

use crate::support::Dice;
use crate::support::broken::{Fuse, Log, Seen, Table};

const SIZE: i64 = 10;
const GRACE: i64 = 5;

/// Counts the records of each key in windows. Rows are emitted once, as a window closes.
fn program() -> Topology {
    Topology::new("windows", |builder: &StreamsBuilder<'_>| {
        let at = |_: &String, time: &i64| Timestamp(*time);
        let events = builder.stream("events", Consumed::with(Utf8, Json).timestamp(at));
        let micros = |n: i64| Duration::from_micros(n as u64);
        let windows = TimeWindows::of_size(micros(SIZE)).grace(micros(GRACE));
        let windowed = events.group_by_key().windowed_by(windows);
        let columns = |last| Produced::columns(["key", "start", "end", last]);
        windowed.late().to("late", columns("time"));
        windowed.emit(Emit::OnClose).count().to("closed", columns("n"));
    })
}

/// A window: its key and its start.
type Window = (String, i64);

/// The rows that must be there.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    closed: BTreeMap<Window, i64>,
    /// The windows and timestamps of late records.
    late: Vec<(Window, i64)>,
}

/// Everything that outlives a run.
#[derive(Default)]
struct World {
    /// By partition, the keys and timestamps of records.
    records: BTreeMap<u32, Vec<(String, i64)>>,
    log: MemoryLog,
    seen: Seen,
    tables: BTreeMap<&'static str, MemoryTable>,
    objects: Arc<InMemory>,
}

impl World {
    /// Appends records to three partitions, with timestamps out of order around `time`.
    fn append(&mut self, records: usize, time: i64, dice: &mut Dice) {
        for turn in 0..records {
            let (partition, key) = (turn as u32 % 3, format!("k{}", dice.below(3)));
            let time = time + turn as i64 + dice.below(30) as i64;
            let value = time.to_string();
            self.log.append(partition, Some(key.as_bytes()), Some(value.as_bytes()));
            self.records.entry(partition).or_default().push((key, time));
        }
    }

    fn expected(&self) -> Expected {
        let (mut expected, mut counts) = (Expected::default(), BTreeMap::<Window, i64>::new());
        let mut watermark = i64::MAX;
        for records in self.records.values() {
            let mut partition_time = i64::MIN;
            for (key, time) in records {
                partition_time = partition_time.max(*time);
                let window = (key.clone(), time.div_euclid(SIZE) * SIZE);
                match window.1 + SIZE + GRACE <= partition_time {
                    true => expected.late.push((window, *time)),
                    false => *counts.entry(window).or_default() += 1,
                }
            }
            watermark = watermark.min(partition_time);
        }
        let is_closed = |((_, start), _): &(Window, i64)| start + SIZE + GRACE <= watermark;
        expected.closed = counts.into_iter().filter(is_closed).collect();
        expected.late.sort();
        expected
    }

    fn found(&self) -> Expected {
        let rows = |topic| {
            self.tables[topic].rows().into_iter().map(|row| {
                let [Value::Text(key), Value::Timestamp(start), _, Value::Long(last)] = &row[..]
                else {
                    panic!("{row:?}")
                };
                ((key.clone(), *start), *last)
            })
        };
        let mut late: Vec<_> = rows("late").collect();
        late.sort();
        Expected { closed: rows("closed").collect(), late }
    }

    /// Runs so many workers in so many processes until all records are read.
    fn run(&mut self, places: (usize, usize), batch: u64, fuse: &Fuse) -> Result<Summary> {
        let (workers, count) = places;
        for topic in ["closed", "late"] {
            self.tables.entry(topic).or_default();
        }
        let run = |cluster| {
            let (log, seen, fuse) = (self.log.clone(), self.seen.clone(), fuse.clone());
            let log = Log { name: "events".into(), log, batch, seen, fuse: fuse.clone() };
            let mut streams = Streams::new(program()).source("events", log);
            for (topic, table) in &self.tables {
                let (name, table) = (topic.to_string(), table.clone());
                streams = streams.sink(topic, Table { name, table, fuse: fuse.clone() });
            }
            let state = Some(Store::objects(self.objects.clone(), "state").unwrap());
            let commit_every = Duration::ZERO;
            streams.run(Config { workers, state, commit_every, cluster, ..Config::default() })
        };
        if count == 1 {
            return run(None);
        }
        std::thread::scope(|scope| {
            let run = &run;
            let clusters = processes(count).unwrap().into_iter();
            let all: Vec<_> = clusters.map(|it| scope.spawn(move || run(Some(it)))).collect();
            all.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>().remove(0)
        })
    }

    /// Checks rows and the number of late records after a run.
    fn check(&self, summary: &Summary, case: &str) {
        let expected = self.expected();
        assert_eq!(self.found(), expected, "{case}");
        let late = summary.steps.iter().map(|step| step.total().late).sum::<u64>();
        assert_eq!(late, expected.late.len() as u64, "{case}");
    }
}

#[test]
fn windows_are_the_same_for_any_batches_workers_and_processes() {
    for places in [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2)] {
        for batch in [1, 5, 1000] {
            let (mut world, mut dice) = (World::default(), Dice::new(7));
            for life in 0..2 {
                world.append(90, life * 60, &mut dice);
                let summary = world.run(places, batch, &Fuse::sound()).unwrap();
                world.check(&summary, &format!("{places:?}, batches of {batch}, life {life}"));
            }
            let state = Store::objects(world.objects.clone(), "state").unwrap();
            let time = inspect(&state, Depth::Listing).unwrap().time;
            let greatest = |records: &Vec<(String, i64)>| records.iter().map(|it| it.1).max();
            let clocks: Vec<_> = world.records.values().map(greatest).collect();
            assert_eq!(time.clocks.iter().map(|it| it.at).collect::<Vec<_>>(), clocks);
            assert_eq!(
                time.watermarks.iter().map(|it| Some(it.at)).min(),
                clocks.into_iter().min()
            );
            let Expected { closed, late } = world.expected();
            assert!(closed.len() > 20 && late.len() > 5, "{closed:?} {late:?}");
        }
    }
}

#[test]
fn a_crash_at_any_call_changes_no_window() {
    for late in [false, true] {
        for call in 1.. {
            let (mut world, mut dice) = (World::default(), Dice::new(call as u64));
            world.append(30, 0, &mut dice);
            let fuse = Fuse::at(call, late);
            let result = world.run((1 + call as usize % 3, 1), 4, &fuse);
            if !fuse.broken() {
                world.check(&result.unwrap(), "no crash");
                assert!(call > 20);
                break;
            }
            world.append(30, 40, &mut dice);
            let places = [(1, 1), (2, 1), (1, 2)][call as usize % 3];
            let summary = world.run(places, 4, &Fuse::sound()).unwrap();
            world.check(&summary, &format!("a crash at call {call}, {late}"));
        }
    }
}

/// Counts the records of each key: also in windows if the program `uses_time`, and in twice as long
/// ones if it uses `more`.
fn grown(uses_time: bool, more: bool) -> Topology {
    Topology::new("grown", move |builder: &StreamsBuilder<'_>| {
        let at = |_: &String, time: &i64| Timestamp(*time);
        let events = builder.stream("events", Consumed::with(Utf8, Json).timestamp(at));
        let grouped = events.group_by_key();
        grouped.count().to("all", Produced::columns(["key", "n"]));
        for (topic, size, is_used) in [("closed", SIZE, uses_time), ("longer", 2 * SIZE, more)] {
            let micros = |n: i64| Duration::from_micros(n as u64);
            let windows = TimeWindows::of_size(micros(size)).grace(micros(GRACE));
            if is_used {
                let counts = grouped.windowed_by(windows).emit(Emit::OnClose).count();
                counts.to(topic, Produced::columns(["key", "start", "end", "n"]));
            }
        }
    })
}

#[test]
fn a_program_that_begins_to_use_time_adopts_the_state() {
    let (log, state) = (MemoryLog::default(), Arc::new(InMemory::new()));
    let tables = ["all", "closed", "longer"].map(|topic| (topic, MemoryTable::default()));
    let append = |partition, time: i64| {
        log.append(partition, Some(b"k"), Some(time.to_string().as_bytes()));
    };
    let run = |workers, uses_time, more| {
        let topics = 1 + usize::from(uses_time) + usize::from(more);
        let mut streams = Streams::new(grown(uses_time, more)).source("events", log.clone());
        for (topic, table) in &tables[..topics] {
            streams = streams.sink(topic, table.clone());
        }
        let state = Some(Store::objects(state.clone(), "state").unwrap());
        let topology_change = TopologyChange::Adopt;
        streams.run(Config { workers, state, topology_change, ..Config::default() }).unwrap();
        let long = |value: &Value| match value {
            Value::Long(n) | Value::Timestamp(n) => *n,
            other => panic!("{other:?}"),
        };
        let rows = |(_, table): &(_, MemoryTable)| {
            table.rows().iter().map(|row| (long(&row[1]), long(&row[row.len() - 1]))).collect()
        };
        [rows(&tables[1]), rows(&tables[2])] as [Vec<(i64, i64)>; 2]
    };
    [1, 7, 12].into_iter().for_each(|time| append(0, time));
    assert_eq!(run(1, false, false), [vec![], vec![]]);
    append(1, 30);
    append(0, 16);
    // The program uses time for the first time, so partition 1 is as old as partition 0.
    assert_eq!(run(2, true, false), [vec![(0, 2)], vec![]]);
    append(0, 40);
    append(2, 3); // added later, and late for the window from 0 to 10
    append(2, 17);
    assert_eq!(run(1, true, false), [vec![(0, 2)], vec![]]);
    append(2, 50);
    assert_eq!(run(2, true, false), [vec![(0, 2), (10, 3)], vec![]]);
    // All records are read again for the longer windows, and partition 2 begins where it did.
    assert_eq!(run(1, true, true), [vec![(0, 2), (10, 3)], vec![(0, 6)]]);
}

#[test]
fn a_topic_without_timestamps_is_refused_by_name() {
    let topology = Topology::new("windows", |builder: &StreamsBuilder<'_>| {
        let events = builder.stream::<String, i64>("events", Consumed::with(Utf8, Json));
        let windows = TimeWindows::of_size(Duration::from_secs(1));
        let counts = events.group_by_key().windowed_by(windows).count();
        counts.to("counts", Produced::columns(["key", "start", "end", "n"]));
    });
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path().to_str().unwrap()).unwrap();
    let streams = Streams::new(topology).source("events", archive.topic("events"));
    let error = streams.sink("counts", MemoryTable::default()).run(Config::default()).unwrap_err();
    assert!(error.to_string().contains("the time of topic events is used"), "{error}");
}
