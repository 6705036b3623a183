//! The output of the console, and the cases without any.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::connect::{Committer, Mode, Recovered, Recovering, Schema, Sink, SinkContext, Writer};
use crate::row::{Column, ColumnType, Value};

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn take_text(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

type Recovery = Vec<Box<dyn Recovering>>;

fn open(page: &Page, mode: Mode, workers: usize) -> (Recovery, Box<dyn Committer>) {
    let column = |name: &str, ty| Column { name: name.into(), ty, nullable: true };
    let columns = vec![column("country", ColumnType::Text), column("count", ColumnType::Long)];
    let schema = Schema { topic: "counts".into(), columns, key: 1, mode };
    let (secret, clock) = (crate::secret::Secret::new([7; 16]), Arc::new(|| 0));
    let context = SinkContext {
        app: "test".into(),
        generation: 1,
        committed: 0,
        workers,
        secret,
        staging: None,
        clock,
    };
    let console = Console::to(Box::new(page.clone()));
    let mut committer = console.open(&schema, &context).unwrap();
    let brief = committer.brief().unwrap();
    (console.writers(&schema, &context, &brief, 0..workers).unwrap(), committer)
}

fn row(country: &str, count: i64) -> (String, i64) {
    (country.into(), count)
}

fn commit(
    n: u64,
    writers: &mut [Box<dyn Writer>],
    committer: &mut dyn Committer,
) -> Option<serde_json::Value> {
    let parts = writers.iter_mut().filter_map(|w| w.stage().unwrap()).collect();
    let content = committer.stage(n, parts).unwrap();
    if let Some(content) = &content {
        committer.commit(n, content).unwrap();
    }
    content
}

#[test]
fn a_commit_prints_its_changes_sorted_across_workers() {
    let page = Page::default();
    let (recovery, mut committer) = open(&page, Mode::Snapshot, 2);
    let (mut writers, found) = Recovered::of_all(recovery).unwrap();
    assert_eq!(found.rows, 0);
    writers[1].insert(0, &row("Aruba", 1)).unwrap();
    writers[0].insert(0, &row("Chad\n", 2)).unwrap();
    writers[0].insert(1, &row("Bhutan", 3)).unwrap();
    let content = commit(1, &mut writers, &mut *committer).unwrap();
    assert_eq!(
        page.take_text(),
        "counts, commit 1\n  + country=\"Aruba\" count=1\n  + country=\"Bhutan\" count=3\n  + country=\"Chad\\n\" count=2\n"
    );
    assert_eq!(content, serde_json::json!({ "added": 3, "removed": 0 }));

    writers[0].insert(1, &row("Bhutan", 4)).unwrap();
    writers[0].remove(0);
    writers[1].insert(0, &row("Aruba", 5)).unwrap();
    writers[1].insert(0, &row("Aruba", 1)).unwrap();
    commit(2, &mut writers, &mut *committer).unwrap();
    assert_eq!(
        page.take_text(),
        "counts, commit 2\n  - country=\"Bhutan\" count=3\n  + country=\"Bhutan\" count=4\n  - country=\"Chad\\n\" count=2\n"
    );

    writers[0].remove(1);
    writers[0].insert(7, &row("Bhutan", 4)).unwrap();
    assert_eq!(commit(3, &mut writers, &mut *committer), None);
    committer.commit(2, &serde_json::Value::Null).unwrap();
    assert_eq!(page.take_text(), "");
}

#[test]
fn a_recovery_prints_nothing_and_restores_the_rows() {
    let page = Page::default();
    let (mut recovery, mut committer) = open(&page, Mode::Snapshot, 1);
    committer.commit(4, &serde_json::json!({ "added": 2, "removed": 0 })).unwrap();
    recovery[0].insert(0, &row("Aruba", 1)).unwrap();
    recovery[0].insert(1, &row("Chad", 2)).unwrap();
    let (mut writers, found) = Recovered::of_all(recovery).unwrap();
    assert_eq!(found.rows, 2);
    committer.recovered(found).unwrap();
    assert_eq!(commit(5, &mut writers, &mut *committer), None);
    writers[0].remove(1);
    commit(6, &mut writers, &mut *committer).unwrap();
    assert_eq!(page.take_text(), "counts, commit 6\n  - country=\"Chad\" count=2\n");
}

#[test]
fn appended_rows_are_printed_each_time_they_are_written() {
    let page = Page::default();
    let (mut recovery, mut committer) = open(&page, Mode::Append, 2);
    recovery[0].insert(0, &row("Aruba", 0)).unwrap();
    let (mut writers, _) = Recovered::of_all(recovery).unwrap();
    writers[1].insert(0, &row("Chad", 2)).unwrap();
    writers[0].insert(0, &vec![Value::Null, Value::Null]).unwrap();
    writers[0].insert(0, &row("Chad", 2)).unwrap();
    commit(1, &mut writers, &mut *committer).unwrap();
    let chad = "  country=\"Chad\" count=2\n";
    assert_eq!(
        page.take_text(),
        format!("counts, commit 1\n{chad}{chad}  country=null count=null\n")
    );
}
