//! The campaign: world after world, life after life, and a comparison after each.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::check::Checker;
use super::life::{Conduct, Course, remove};
use super::manifest::last_manifest;
use super::oracle::Oracle;
use super::plan::{Fault, Life, World};
use super::process::Place;
use super::report::{MISSED, Report};
use super::worlds::{ADOPTED, Kind, Log, MORE_PARTITIONS, generate_visits, log};

/// Portions that one life may need.
const LIFE_PORTIONS: usize = 150;

/// A campaign against the programs of its worlds.
pub(crate) struct Campaign<'c> {
    /// The folder of the programs, built with the feature `faults`.
    pub(crate) programs: &'c Path,
    /// The folder for the worlds.
    pub(crate) folder: &'c Path,
    pub(crate) plan: Vec<World>,
    /// A bug that is planted in every process.
    pub(crate) bug: Option<&'c str>,
    /// Called after each life with a line about it.
    pub(crate) progress: &'c dyn Fn(&str),
}

impl Campaign<'_> {
    /// Runs all lives, up to the first fault that is found. The folder of that world is kept.
    pub(crate) fn run(&self) -> Report {
        let (mut report, begun) = (Report::default(), Instant::now());
        for world in &self.plan {
            let mut world = world.clone();
            while !world.lives.is_empty() && report.findings.faults.is_empty() {
                report.worlds += 1;
                let place = self.place(&format!("world-{}", report.worlds), world.kind);
                let mut oracle = Oracle::start(world.kind);
                let lived = self.run_world(&place, &world, &mut oracle, &mut report);
                if report.findings.faults.is_empty() {
                    remove(&place);
                }
                // The rest of its lives needs a fresh log.
                world.lives.drain(..lived);
                world.seed += 1;
            }
        }
        report.elapsed = begun.elapsed();
        report
    }

    fn place(&self, name: &str, kind: Kind) -> Place {
        let folder: PathBuf = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let program = self.programs.join(kind.program());
        let has_versions = kind == Kind::Visits;
        Place { folder, program, bug: self.bug.map(str::to_owned), has_versions }
    }

    /// Runs the lives of a world, as many as its log allows. Returns their number.
    fn run_world(
        &self,
        place: &Place,
        world: &World,
        oracle: &mut Oracle,
        report: &mut Report,
    ) -> usize {
        generate(place, world);
        let (kind, lake) = (world.kind, place.path("lake"));
        let mut log = log(kind, &place.folder, world.seed);
        let mut checker = Checker::new(&lake);
        let (mut made, mut lived) = (0, 0);
        for life in &world.lives {
            if log.left() < LIFE_PORTIONS || !report.findings.faults.is_empty() {
                break;
            }
            let begun = Instant::now();
            if log.partitions() > life.workers && kind.service().is_some() {
                report.count(kind, MORE_PARTITIONS, 1);
            }
            let course = Conduct::new(place, &mut *log, *life, made).run();
            let took = begun.elapsed();
            lived += 1;
            note(report, kind, life, &course);
            let before = made;
            report.findings.faults.extend(course.faults);
            let adoptions = report.findings.adoptions;
            checker.check(&*log, oracle, life.version, &mut report.findings);
            report.count(kind, ADOPTED, report.findings.adoptions - adoptions);
            made = last_manifest(&lake, made);
            let fired = if course.fired { "" } else { ", not reached" };
            (self.progress)(&format!(
                "life {} of world {}, {kind}: {life}{fired}, commits {before} to {made}, {} ms, compared in {} ms",
                report.lives,
                report.worlds,
                took.as_millis(),
                (begun.elapsed() - took).as_millis()
            ));
        }
        if report.findings.faults.is_empty() {
            let version = world.lives[..lived].last().map_or(0, |life| life.version);
            self.end(place, &*log, &mut checker, (oracle, version), report);
        }
        log.tally().into_iter().for_each(|(name, count)| report.count(kind, name, count));
        if !report.findings.faults.is_empty() {
            let folder = place.folder.display();
            report.findings.faults.push(format!("seed {} of the world in {folder}", world.seed));
        }
        lived
    }

    /// Runs the program once more to the end of the log, and compares all.
    fn end(
        &self,
        place: &Place,
        log: &dyn Log,
        checker: &mut Checker,
        (oracle, version): (&mut Oracle, u8),
        report: &mut Report,
    ) {
        let output = place.run(&log.address(None), version, false).output().unwrap();
        if !output.status.success() {
            let printed = String::from_utf8_lossy(&output.stderr);
            report.findings.faults.push(format!("the last run: {}: {printed}", output.status));
        }
        checker.check(log, oracle, version, &mut report.findings);
        checker.check_end(log, oracle, version, &mut report.findings);
    }
}

/// Generates the records of a world, in the archive `all` of its folder.
fn generate(place: &Place, world: &World) {
    let (seed, lives) = (world.seed, world.lives.len());
    if world.kind == Kind::Visits {
        return generate_visits(&place.path("all"), lives * 45 + 375, seed);
    }
    let (seed, events) = (seed.to_string(), (lives * 60 + 500).to_string());
    let generate = ["generate", "--to", "all", "--dirt", "0.3", "--records-per-object", "4"];
    let made = place.command(&generate).args(["--seed", &seed, "--events", &events]).output();
    assert!(made.unwrap().status.success());
}

/// Adds a life to the counts.
fn note(report: &mut Report, kind: Kind, life: &Life, course: &Course) {
    report.lives += 1;
    report.recoveries.extend(course.recovery);
    report.notices.extend(course.notice);
    if let Some(changed) = course.changed {
        report.count(kind, changed.name(), 1);
    }
    if !course.fired {
        report.count(kind, MISSED, 1);
        return;
    }
    report.count(kind, life.fault.kind(), 1);
    match life.fault {
        Fault::KillAt(at) => *report.deaths.entry(at.point).or_default() += 1,
        Fault::TakeoverAt(at) => *report.pauses.entry(at.point).or_default() += 1,
        Fault::Cluster(cluster) => {
            if let Some(spot) = cluster.strike.spot() {
                *report.in_several.entry(spot).or_default() += 1;
            }
        }
        _ => {}
    }
}
