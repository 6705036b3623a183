//! The contract of sources: numbered records in numbered partitions, the same at every reading,
//! from every position.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use watershed::ErrorKind;
use watershed::connect::{Partition, Poll, Source};

/// A longer wait for a waker means that it is lost.
const WAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// A log under test.
pub(crate) trait Held {
    /// Appends records with these values; none contains a line end.
    fn append(&self, partition: u32, values: &[&[u8]]);
    /// Returns a new source on the log.
    fn source(&self) -> Box<dyn Source>;
    /// The fixed partitions of a log that creates none on demand; they include 0, 1, 2 and 11.
    /// Empty for other logs.
    fn partitions(&self) -> Vec<u32> {
        Vec::new()
    }
    /// The offset of the first record of a partition.
    fn first(&self, _partition: u32) -> u64 {
        0
    }
    /// The length of the longest accepted record, in bytes.
    fn longest(&self) -> usize {
        5 << 20
    }
    /// Deletes the records before this number, as retention does. The numbers are multiples of 7,
    /// because records are appended in pieces of 7. Returns false if no record can be deleted.
    fn lose(&self, _partition: u32, _before: u64) -> bool {
        false
    }
    /// Returns true if the log reports its end, so that a reading ends where the log ended at the
    /// open. Otherwise a reading ends where it first catches up with the log.
    fn tells_its_end(&self) -> bool {
        true
    }
}

/// The contract of a source, against the empty logs of `make`.
pub(crate) fn source_contract(make: impl Fn() -> Box<dyn Held> + Sync) {
    let promises: [fn(&dyn Held); 10] = [
        an_empty_log_has_no_partitions,
        partitions_ascend_and_hold_their_own_records,
        reading_resumes_at_every_position,
        deleted_records_are_refused_and_later_ones_are_read,
        a_reading_ends_where_the_log_ended_when_it_was_opened,
        a_follower_waits_and_sees_new_records,
        a_record_wakes_a_registered_follower,
        records_of_every_length_are_whole,
        batches_are_about_a_megabyte_at_most,
        every_reading_is_the_same,
    ];
    // In parallel, because most time is spent waiting for remote logs.
    let make = &make;
    thread::scope(|scope| {
        promises.iter().for_each(|promise| drop(scope.spawn(move || promise(&*make()))))
    });
}

/// Reads to the end, or until at least `enough` records are read and none is available. Checks each
/// batch. Returns the records and the last poll.
fn drain(partition: &mut dyn Partition, number: u32, enough: usize) -> (Vec<(u64, Vec<u8>)>, Poll) {
    let mut records = Vec::new();
    let (mut next, mut vain) = (None, 0);
    loop {
        let batch = match partition.poll().unwrap() {
            Poll::Batch(batch) => batch,
            // A remote log blocks in `wait` and returns true.
            Poll::Idle
                if records.len() < enough
                    && vain < 3000
                    && partition.wait(Duration::from_millis(10)) =>
            {
                vain += 1;
                continue;
            }
            other => return (records, other),
        };
        assert_eq!(batch.partition, number);
        assert!(!batch.records.is_empty() && batch.first < batch.next, "a batch has records");
        assert_eq!(batch.first, next.unwrap_or(batch.first), "batches are back to back");
        assert!(
            batch.records.windows(2).all(|pair| pair[0].offset < pair[1].offset),
            "offsets ascend"
        );
        assert!(batch.records.iter().all(|span| (batch.first..batch.next).contains(&span.offset)));
        let lengths =
            || batch.records.iter().map(|span| span.value.as_ref().map_or(0, |value| value.len()));
        let (bytes, longest) = (lengths().sum::<usize>(), lengths().max().unwrap_or(0));
        assert!(
            bytes <= (1 << 20) + 2 * longest,
            "{bytes} bytes in a batch of records of {longest} at most"
        );
        next = Some(batch.next);
        records.extend(
            batch.iter(0).map(|record| (record.order.offset, record.value.unwrap().to_vec())),
        );
    }
}

/// Reads all records from number `from` on, or from the earliest.
fn read(
    log: &dyn Held,
    source: &dyn Source,
    partition: u32,
    from: Option<u64>,
) -> Vec<(u64, Vec<u8>)> {
    let mut opened =
        source.open(partition, from.map(|from| log.first(partition) + from), false).unwrap();
    let (records, end) = drain(&mut *opened, partition, usize::MAX);
    assert!(matches!(end, Poll::End), "{end:?}");
    assert!(matches!(opened.poll(), Ok(Poll::End)), "an end is for ever");
    assert_eq!(opened.remaining(), 0);
    records
}

/// The expected records of these numbers.
fn numbered(log: &dyn Held, partition: u32, range: Range<u64>) -> Vec<(u64, Vec<u8>)> {
    range.map(|n| (log.first(partition) + n, n.to_string().into_bytes())).collect()
}

/// Appends the numbers of a range, in pieces.
fn append(log: &dyn Held, partition: u32, range: Range<u64>) {
    let values: Vec<String> = range.map(|n| n.to_string()).collect();
    for piece in values.chunks(7) {
        log.append(partition, &piece.iter().map(|value| value.as_bytes()).collect::<Vec<_>>());
    }
}

/// Returns a source that continues from a commit up to record number `to`, as in another process.
fn continued(log: &dyn Held, source: &dyn Source, partition: u32, to: u64) -> Box<dyn Source> {
    let memory = source.state(&[(partition, log.first(partition) + to)].into());
    let next = log.source();
    // A round trip through the bytes of a manifest.
    next.restore(&serde_json::from_str(&memory.to_string()).unwrap()).unwrap();
    next
}

fn an_empty_log_has_no_partitions(log: &dyn Held) {
    let source = log.source();
    assert_eq!(source.partitions().unwrap(), log.partitions());
    assert!(!source.describe().is_empty());
    assert_eq!(read(log, &*source, 0, None), []);
    assert_eq!(read(log, &*source, 0, Some(0)), []);
}

fn partitions_ascend_and_hold_their_own_records(log: &dyn Held) {
    for (partition, end) in [(2, 5), (0, 9), (11, 1)] {
        append(log, partition, 0..end);
    }
    let source = log.source();
    let all: BTreeSet<u32> = log.partitions().into_iter().chain([0, 2, 11]).collect();
    assert_eq!(source.partitions().unwrap(), all.into_iter().collect::<Vec<_>>());
    for (partition, end) in [(0, 9), (2, 5), (11, 1)] {
        assert_eq!(read(log, &*source, partition, None), numbered(log, partition, 0..end));
    }
    assert_eq!(log.source().describe(), source.describe(), "one log has one name");
}

fn reading_resumes_at_every_position(log: &dyn Held) {
    append(log, 1, 0..30);
    let source = log.source();
    for from in 0..=30 {
        let rest = numbered(log, 1, from..30);
        assert_eq!(read(log, &*source, 1, Some(from)), rest, "from {from}");
        if from % 6 == 0 {
            assert_eq!(
                read(log, &*continued(log, &*source, 1, from), 1, Some(from)),
                rest,
                "from {from}, continued"
            );
            assert_eq!(
                read(log, &*log.source(), 1, Some(from)),
                rest,
                "from {from}, of which nothing is known"
            );
        }
    }
    refuses(&*source, 1, log.first(1) + 31, log.first(1) + 30);
}

/// Checks that an offset is refused with an error that names it and the bound of the log.
fn refuses(source: &dyn Source, partition: u32, from: u64, bound: u64) {
    for follow in [false, true] {
        let opened = source.open(partition, Some(from), follow);
        let error = opened.err().expect("an offset outside the log can't be read");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        let text = error.to_string();
        assert!([from, bound].iter().all(|offset| text.contains(&offset.to_string())), "{text}");
    }
}

fn deleted_records_are_refused_and_later_ones_are_read(log: &dyn Held) {
    append(log, 1, 0..30);
    let (source, first) = (log.source(), log.first(1));
    read(log, &*source, 1, None);
    if !log.lose(1, 14) {
        return;
    }
    for source in [continued(log, &*source, 1, 20), log.source()] {
        [0, 13].iter().for_each(|from| refuses(&*source, 1, first + from, first + 14));
        for from in [14, 20, 30] {
            assert_eq!(read(log, &*source, 1, Some(from)), numbered(log, 1, from..30));
        }
        assert_eq!(read(log, &*source, 1, None), numbered(log, 1, 14..30));
    }
    assert!(log.lose(1, 28));
    refuses(&*log.source(), 1, first + 20, first + 28);
    append(log, 1, 30..37);
    assert_eq!(read(log, &*log.source(), 1, Some(30)), numbered(log, 1, 30..37));
}

fn a_reading_ends_where_the_log_ended_when_it_was_opened(log: &dyn Held) {
    append(log, 0, 0..10);
    let source = log.source();
    let mut opened = source.open(0, Some(log.first(0) + 3), false).unwrap();
    append(log, 0, 10..20);
    let (records, end) = drain(&mut *opened, 0, usize::MAX);
    assert!(matches!(end, Poll::End), "{end:?}");
    let to = if log.tells_its_end() { 10 } else { 3 + records.len() as u64 };
    assert!((10..=20).contains(&to), "it ends at {to}");
    assert_eq!(records, numbered(log, 0, 3..to));
    assert_eq!(read(log, &*source, 0, Some(to)), numbered(log, 0, to..20));
}

fn a_follower_waits_and_sees_new_records(log: &dyn Held) {
    let source = log.source();
    let mut early = source.open(0, None, true).unwrap();
    let (nothing, idle) = drain(&mut *early, 0, 0);
    assert!(nothing.is_empty() && matches!(idle, Poll::Idle));
    append(log, 0, 0..10);
    let mut late = source.open(0, Some(log.first(0) + 10), true).unwrap();
    let mut seen = 0;
    for end in [10, 11, 40] {
        append(log, 0, seen.max(10)..end);
        let (records, idle) = drain(&mut *early, 0, (end - seen) as usize);
        assert_eq!(records, numbered(log, 0, seen..end));
        assert!(matches!(idle, Poll::Idle), "{idle:?}");
        assert!(matches!(early.poll(), Ok(Poll::Idle)));
        seen = end;
    }
    assert_eq!(drain(&mut *late, 0, 30).0, numbered(log, 0, 10..40));
}

fn a_record_wakes_a_registered_follower(log: &dyn Held) {
    let (sender, woken) = channel();
    let waker = Waker::from(Arc::new(Bell(sender)));
    append(log, 0, 0..1);
    let mut follower = log.source().open(0, None, true).unwrap();
    assert_eq!(drain(&mut *follower, 0, 1).0, numbered(log, 0, 0..1));
    // It may have been woken before, for nothing.
    let longest = loop {
        assert!(matches!(follower.poll(), Ok(Poll::Idle)));
        // Others are waited for.
        let Some(longest) = follower.register(&waker) else { return };
        if woken.try_recv().is_err() {
            break longest;
        }
    };
    append(log, 0, 1..2);
    while let Poll::Idle = follower.poll().unwrap() {
        let is_woken = woken.recv_timeout(longest.min(WAKE_TIMEOUT)).is_ok();
        assert!(is_woken || longest < WAKE_TIMEOUT, "it is not woken");
        let _ = follower.register(&waker);
    }
}

/// A waker that sends a message.
struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // The test may be over.
        let _ = self.0.send(());
    }
}

fn records_of_every_length_are_whole(log: &dyn Held) {
    let huge = vec![b'x'; log.longest()];
    let values: [&[u8]; 6] = [b"", b"a", &huge, b"", &huge[..log.longest() / 5], b"z"];
    log.append(0, &values);
    log.append(0, &[b""]);
    let expected: Vec<Vec<u8>> =
        values.iter().chain([&&b""[..]]).map(|value| value.to_vec()).collect();
    let source = log.source();
    for from in 0..=expected.len() {
        let read = read(log, &*source, 0, Some(from as u64));
        let lengths: Vec<_> = read.iter().map(|(offset, value)| (offset, value.len())).collect();
        assert!(
            read.iter().map(|(_, value)| value).eq(&expected[from..]),
            "from {from}, by offset: {lengths:?}"
        );
    }
}

fn batches_are_about_a_megabyte_at_most(log: &dyn Held) {
    let value = vec![b'v'; 100_000];
    log.append(0, &vec![&value[..]; 60]);
    assert_eq!(read(log, &*log.source(), 0, None).len(), 60);
}

fn every_reading_is_the_same(log: &dyn Held) {
    let source = log.source();
    let mut follower = source.open(0, None, true).unwrap();
    let mut followed = Vec::new();
    for end in 0..40 {
        append(log, 0, end * 50..(end + 1) * 50);
        followed.extend(drain(&mut *follower, 0, 50).0);
    }
    assert_eq!(followed, numbered(log, 0, 0..2000));
    assert_eq!(read(log, &*source, 0, None), followed);
    assert_eq!(read(log, &*log.source(), 0, None), followed, "by another source too");
}
