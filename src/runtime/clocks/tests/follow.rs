//! Runs that follow their sources: partitions are added, fall silent, and come back.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::runs::{Seen, World};
use crate::prelude::*;
use crate::runtime::Milestone;
use crate::sync::lock;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the watermark is greater than `time`. Returns it.
fn await_watermark(risen: &Receiver<i64>, time: i64) -> i64 {
    std::iter::from_fn(|| risen.recv_timeout(PATIENCE).ok()).find(|it| *it > time).unwrap()
}

#[test]
fn a_silent_partition_is_left_out_until_it_brings_something() {
    for workers in [1, 2] {
        let mut world = World::default();
        for (topic, partition) in [(0, 0), (0, 1), (1, 0)] {
            world.append(topic, partition, 10);
        }
        let (seen, (risen, watermarks)) = (Arc::new(Mutex::new(Seen::default())), channel());
        lock(&seen).risen = Some(risen);
        let (stop, (reached, milestones)) = (Stop::default(), channel());
        let config = Config {
            workers,
            follow: true,
            stop: stop.clone(),
            milestone: Some(Box::new(move |milestone| _ = reached.send(milestone))),
            ..world.config()
        };
        let streams = world.streams(&seen, 9, Some(Duration::from_millis(30)));
        let run = thread::spawn(move || streams.run(config));
        await_watermark(&watermarks, 9);
        // The others go on, until partition 0 of topic a is idle.
        let mut time = 10;
        let idle = loop {
            time += 1;
            world.append(0, 1, time);
            world.append(1, 0, time);
            if let Ok(watermark) = watermarks.recv_timeout(Duration::from_millis(5))
                && watermark > 10
            {
                break watermark;
            }
        };
        let late = world.append(0, 0, 3);
        let committed = Milestone::Committed(world.records as u64);
        let is_committed = |milestone: &Milestone| *milestone == committed;
        let mut reached = std::iter::from_fn(|| milestones.recv_timeout(PATIENCE).ok());
        assert!(reached.any(|milestone| is_committed(&milestone)));
        stop.stop();
        run.join().unwrap().unwrap();
        let floor = world.times()[&late];
        assert!(floor >= idle, "{floor} {idle}");
        let last = *lock(&seen).check().last().unwrap();
        let clock = world.manifest()["sources"]["a"][0]["clocks"]["0"].clone();
        assert_eq!((&clock["floor"], &clock["is_idle"]), (&floor.into(), &false.into()));
        // The recovery repeats the decision.
        let again = world.append(0, 0, floor - 1);
        assert_eq!(world.run((3 - workers, 1), 9, false).0[0], last);
        assert_eq!(world.times()[&again], floor);
    }
}

#[test]
fn a_partition_that_was_idle_is_idle_after_a_restart() {
    let mut world = World::default();
    for (topic, partition) in [(0, 0), (0, 1), (1, 0)] {
        world.append(topic, partition, 10);
    }
    let (seen, (risen, watermarks)) = (Arc::new(Mutex::new(Seen::default())), channel());
    lock(&seen).risen = Some(risen);
    let stop = Stop::default();
    let config = Config { follow: true, stop: stop.clone(), ..world.config() };
    let streams = world.streams(&seen, 9, Some(Duration::from_millis(30)));
    let run = thread::spawn(move || streams.run(config));
    await_watermark(&watermarks, 9);
    let mut time = 10;
    // Topic a falls silent as a whole.
    while watermarks.recv_timeout(Duration::from_millis(5)).is_err() {
        time += 1;
        world.append(1, 0, time);
    }
    stop.stop();
    run.join().unwrap().unwrap();
    let last = *lock(&seen).check().last().unwrap();
    let clocks = world.manifest()["sources"]["a"][0]["clocks"].clone();
    assert_eq!((&clocks["0"]["is_idle"], &clocks["1"]["is_idle"]), (&true.into(), &true.into()));
    assert_eq!(lock(&seen).of_a, [10]);
    world.append(1, 0, last + 7);
    let (again, _) = world.seen_run((2, 1), 9, false);
    assert_eq!((again.check().first(), again.check().last()), (Some(&last), Some(&(last + 7))));
    assert_eq!(again.of_a, [10], "no partition of topic a counts, so its watermark is recorded");
}

#[test]
fn an_added_partition_begins_at_the_watermark() {
    let mut world = World::default();
    world.append(0, 0, 50);
    world.append(1, 0, 40);
    let (seen, (risen, watermarks)) = (Arc::new(Mutex::new(Seen::default())), channel());
    lock(&seen).risen = Some(risen);
    let (stop, (reached, milestones)) = (Stop::default(), channel());
    let milestone = Box::new(move |milestone| _ = reached.send(milestone));
    let config =
        Config { follow: true, stop: stop.clone(), milestone: Some(milestone), ..world.config() };
    let streams = world.streams(&seen, 9, None);
    let run = thread::spawn(move || streams.run(config));
    await_watermark(&watermarks, 39);
    let added = [3, 60].map(|time| world.append(0, 7, time));
    let mut reached = std::iter::from_fn(|| milestones.recv_timeout(PATIENCE).ok());
    assert!(reached.any(|milestone| milestone == Milestone::Committed(4)));
    stop.stop();
    run.join().unwrap().unwrap();
    assert_eq!(lock(&seen).check(), [40]);
    assert_eq!(added.map(|id| world.times()[&id]), [50, 60]);
    let clock = world.manifest()["sources"]["a"][0]["clocks"]["7"].clone();
    assert_eq!((&clock["floor"], &clock["first_floor"]), (&50.into(), &50.into()));
}
