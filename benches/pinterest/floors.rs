//! Floors: the unavoidable work of any program with these answers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Instant;

use watershed::row::{Column, Row};

use watershed::connect::{Committer, Mode, Recovered, Schema, Sink, SinkContext, Writer};
use watershed::connectors::delta::Delta;

use crate::Result;
use crate::model::{GEO_COLUMNS, Geo, PIN_COLUMNS, Pin, USER_COLUMNS, User};
use crate::support::archive::{Counts, KINDS, cleaned, objects, read};
use crate::support::latency;
use crate::support::machine::{Clock, Measured};

/// Reads and cleans every record.
pub(crate) fn parse(archive: &Path, threads: usize) -> Result<Measured> {
    let clock = Clock::start()?;
    let (counts, _) = read(&objects(archive)?, vec![(); threads], |(), object, _, line| {
        black_box(cleaned(object.kind, line));
        Ok(())
    })?;
    clock.measured(counts)
}

/// The writers of a thread, by kind, each with its next slot.
type ThreadWriters = Vec<(u32, Box<dyn Writer>)>;

/// Reads and cleans every record, and writes every row to one of three Delta tables, in one commit.
pub(crate) fn parquet(archive: &Path, work: &Path, threads: usize) -> Result<Measured> {
    let clock = Clock::start()?;
    let schemas = [
        schema::<(i64, Pin)>(&PIN_COLUMNS),
        schema::<(i64, Geo)>(&GEO_COLUMNS),
        schema::<(i64, User)>(&USER_COLUMNS),
    ];
    let mut by_thread: Vec<ThreadWriters> = (0..threads).map(|_| Vec::new()).collect();
    let mut committers = Vec::new();
    for (kind, schema) in KINDS.iter().zip(&schemas) {
        let opened = open(
            &Delta::table(&work.join(kind).display().to_string())?.rewrite_below(0),
            schema,
            threads,
        )?;
        by_thread
            .iter_mut()
            .zip(opened.writers)
            .for_each(|(writers, writer)| writers.push((0, writer)));
        committers.push(opened.committer);
    }
    let (counts, by_thread) = read(&objects(archive)?, by_thread, |writers, object, _, line| {
        if let Some(row) = cleaned(object.kind, line) {
            let (slot, writer) = &mut writers[object.kind];
            writer.insert(*slot, row.row())?;
            *slot += 1;
        }
        Ok(())
    })?;
    let mut parts = KINDS.map(|_| Vec::new());
    for (kind, (_, mut writer)) in
        by_thread.into_iter().flat_map(|writers| writers.into_iter().enumerate())
    {
        parts[kind].extend(writer.stage()?);
    }
    for (committer, parts) in committers.iter_mut().zip(parts) {
        if let Some(content) = committer.stage(1, parts)? {
            committer.commit(1, &content)?;
        }
    }
    clock.measured(counts)
}

/// The schema of a cleaned table.
pub(crate) fn schema<R: Row>(names: &[&str]) -> Schema {
    let column = |(name, (ty, nullable)): (&&str, _)| Column { name: (*name).into(), ty, nullable };
    Schema {
        topic: "bench".into(),
        columns: names.iter().zip(R::columns()).map(column).collect(),
        key: 1,
        mode: Mode::Snapshot,
    }
}

/// A new table, ready for rows.
pub(crate) struct Opened {
    pub(crate) writers: Vec<Box<dyn Writer>>,
    pub(crate) committer: Box<dyn Committer>,
}

/// Opens a new table, ready for rows.
pub(crate) fn open(sink: &Delta, schema: &Schema, workers: usize) -> Result<Opened> {
    let clock = Arc::new(|| 1_767_225_600_000);
    let secret = watershed::Secret::new([7; 16]);
    let context = SinkContext {
        app: "bench".into(),
        generation: 1,
        committed: 0,
        workers,
        secret,
        clock,
        staging: None,
    };
    let mut committer = sink.open(schema, &context)?;
    let brief = committer.brief()?;
    let recovery = sink.writers(schema, &context, &brief, 0..workers)?;
    let (writers, found) = Recovered::of_all(recovery)?;
    committer.recovered(found)?;
    Ok(Opened { writers, committer })
}

/// Lists, opens and reads every file with one thread for each partition, as the program does, and
/// discards the bytes.
pub(crate) fn files(archive: &Path) -> Result<Measured> {
    let clock = Clock::start()?;
    let mut folders = Vec::new();
    for topic in fs::read_dir(archive.join("topics"))? {
        for partition in fs::read_dir(topic?.path())? {
            folders.push(partition?.path());
        }
    }
    let mut counts = Counts::default();
    let drain = |folder: &Path| -> Result<u64> {
        let (mut read, mut buffer) = (0, Vec::new());
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            names.insert(entry.file_name(), entry.path());
        }
        for path in names.values() {
            buffer.clear();
            read += File::open(path)?.read_to_end(&mut buffer)? as u64;
        }
        Ok(read)
    };
    std::thread::scope(|scope| -> Result {
        let threads: Vec<_> =
            folders.iter().map(|folder| scope.spawn(move || drain(folder))).collect();
        for thread in threads {
            counts.bytes += thread.join().map_err(|_| "a thread that reads files panicked")??;
        }
        Ok(())
    })?;
    clock.measured(counts)
}

/// Measures creating, writing and syncing a file and its folder, three times in sequence, in
/// seconds.
pub(crate) fn syncs(work: &Path, times: usize) -> Result<Vec<f64>> {
    let folder = File::open(work)?;
    let mut all = Vec::new();
    for round in 0..times {
        let started = Instant::now();
        for step in 0..3 {
            let mut file = File::create(work.join(format!("{round}-{step}")))?;
            file.write_all(&[7; 4096])?;
            file.sync_data()?;
            folder.sync_all()?;
        }
        all.push(started.elapsed().as_secs_f64());
    }
    Ok(all)
}

/// Measures two threads that compute for 0.07 ms and wait for each other, five times, in seconds.
/// This is the work of two workers for a correction, without cache misses. A pause comes before it,
/// as before corrections.
pub(crate) fn rounds(times: usize) -> Vec<f64> {
    let compute = |steps: u32| {
        (0..steps)
            .fold(1u64, |x, i| black_box(x.wrapping_mul(6_364_136_223_846_793_005) ^ u64::from(i)))
    };
    let started = Instant::now();
    compute(10_000_000);
    let steps = (10_000_000.0 * 0.000_07 / started.elapsed().as_secs_f64()) as u32;
    let barrier = Barrier::new(2);
    let (_nobody, never) = channel::<()>();
    let five = || {
        for _ in 0..5 {
            barrier.wait();
            compute(steps);
        }
        barrier.wait();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| (0..times).for_each(|_| five()));
        let timed = |at| {
            let _ = never.recv_timeout(latency::pause(at));
            let started = Instant::now();
            five();
            started.elapsed().as_secs_f64()
        };
        (0..times).map(timed).collect()
    })
}
