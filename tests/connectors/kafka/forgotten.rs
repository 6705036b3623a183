//! A broker deletes the offsets of a group without members after a while. Then the rows of the
//! topic identify its last commit.

use std::sync::atomic::Ordering;

use watershed::ErrorKind;
use watershed::connect::Mode;

use super::cluster;
use super::writing::{SinkTopic, commit, put, stage};

impl SinkTopic {
    fn group(&self) -> String {
        format!("app/{}", self.topic)
    }

    fn number(&self) -> Option<i64> {
        self.cluster.offsets(&self.group(), &self.topic, 1)[0]
    }

    fn forget(&self) {
        self.cluster.forget(&self.group());
        assert_eq!(self.number(), None);
    }
}

#[test]
fn a_commit_without_its_offset_is_not_repeated() {
    let Some(cluster) = cluster() else { return };
    for mode in [Mode::Append, Mode::Snapshot] {
        let place = SinkTopic::new(cluster, mode);
        let mut first = place.start(1, 0, None, &[]);
        put(&mut first, &[(1, "one"), (2, "two \u{1f600}\n\"")]);
        commit(&mut first, 1);
        put(&mut first, &[(1, "one more")]);
        let content = stage(&mut first, 2);
        first.committer.commit(2, &content).unwrap();
        drop(first);
        let written = place.read();
        let rows = match mode {
            Mode::Append => vec![(1, "one"), (2, "two \u{1f600}\n\""), (1, "one more")],
            Mode::Snapshot => vec![(1, "one more"), (2, "two \u{1f600}\n\"")],
        };
        // Once right after the topic's last commit, and later after commits of other sinks.
        for (generation, committed, last) in
            [(2, 2, Some(&content)), (3, 2, Some(&content)), (4, 9, None), (5, 9, None)]
        {
            place.forget();
            drop(place.start(generation, committed, last, &rows));
            assert_eq!(place.read(), written);
            assert_eq!(place.number(), Some(committed as i64));
        }
        let mut last = place.start(6, 9, None, &rows);
        put(&mut last, &[(1, "last")]);
        commit(&mut last, 10);
        assert_eq!(place.read().len(), written.len() + 1);
    }
}

#[test]
fn a_decided_commit_is_made_once_after_the_offset_is_gone() {
    let Some(cluster) = cluster() else { return };
    let long = "x".repeat(9000);
    for (mode, second) in [
        (Mode::Append, "two"),
        (Mode::Snapshot, "two"),
        (Mode::Append, &long),
        (Mode::Snapshot, &long),
    ] {
        let place = SinkTopic::new(cluster, mode);
        let mut first = place.start(1, 0, None, &[]);
        put(&mut first, &[(1, "one"), (2, "one")]);
        commit(&mut first, 1);
        put(&mut first, &[(1, second)]);
        let content = stage(&mut first, 2);
        drop(first);
        assert_eq!(place.read().len(), 2);
        let rows = match mode {
            Mode::Append => vec![(1, "one"), (2, "one"), (1, second)],
            Mode::Snapshot => vec![(1, second), (2, "one")],
        };
        for generation in 2..4 {
            place.forget();
            drop(place.start(generation, 2, Some(&content), &rows));
            assert_eq!(place.read().len(), 3);
            assert_eq!(place.number(), Some(2));
        }
    }
}

#[test]
fn a_topic_that_lost_rows_is_refused_and_not_changed() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Append);
    let rows = [(1, "one"), (2, "two")];
    let mut first = place.start(1, 0, None, &[]);
    put(&mut first, &rows);
    commit(&mut first, 1);
    put(&mut first, &[(3, "three")]);
    let content = stage(&mut first, 2);
    drop(first);
    place.forget();
    cluster.expire(&place.topic, 0, 1);
    let written = place.read();
    for (committed, last) in [(1, None), (2, Some(&content))] {
        let error = place.try_start(2, committed, last, &rows).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains("holds 1 rows, not the"), "{error}");
        assert!(error.to_string().contains("the group has forgotten"), "{error}");
        assert_eq!(place.read(), written);
    }
    cluster.append(&place.topic, 0, &[(None, Some(br#"{"id":1,"text":"one","more":2}"#))]);
    let error = place.try_start(3, 1, None, &rows).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("did not write"), "{error}");
}

#[test]
fn the_offset_of_the_group_is_renewed_every_hour() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Snapshot);
    let mut run = place.start(1, 0, None, &[]);
    put(&mut run, &[(1, "one")]);
    commit(&mut run, 1);
    let written = place.read();
    place.forget();
    run.committer.maintain_now().unwrap();
    assert_eq!(place.number(), None, "it was renewed a moment ago");
    for hour in 1..3 {
        place.now.store(hour * 3_600_000, Ordering::Relaxed);
        run.committer.maintain_now().unwrap();
        assert_eq!(place.number(), Some(1));
        place.forget();
    }
    put(&mut run, &[(1, "two")]);
    commit(&mut run, 2);
    assert_eq!((place.number(), place.read().len()), (Some(2), written.len() + 1));
    drop(run);
    // A run that starts renews the offset, too.
    place.forget();
    drop(place.start(2, 7, None, &[(1, "two")]));
    assert_eq!(place.number(), Some(7));
}
