//! Verbs that end a stream: topics, closures, the screen.

use timely::dataflow::operators::vec::Map;

use super::KStream;
use crate::connect::{Mode, Row};
use crate::operators::{Datum, append};
use crate::options::Produced;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Calls `f` with each record, in no order between partitions; after a restart also with what is read again.
    pub fn for_each(&self, f: impl Fn(&K, &V) + 'static) {
        let seen = self.peek(f);
        self.graph.end(seen.events);
    }

    /// Prints each record to standard output, behind `label`.
    pub fn print(&self, label: &str) {
        let label = label.to_string();
        self.for_each(move |key, value| println!("[{label}]: {key:?}, {value:?}"));
    }
}

impl<'s, K: Datum + Row, V: Datum + Row> KStream<'s, K, V> {
    /// Writes each record to `topic` as a row, exactly once. A stream whose records may be taken back, behind a maintained join,
    /// can't be written: make it a table first.
    pub fn to(&self, topic: &str, produced: Produced) {
        self.graph.node(format!("to {topic}"), &[self.node]);
        if self.retracts {
            self.graph
                .error(format!("topic {topic} can't take back records: a join is maintained, so call to_table() before to()"));
        }
        let columns = [K::columns(), V::columns()].concat();
        let outlet = self.graph.sink(topic, &columns, 0, Mode::Append, &produced);
        let rows = self.events.clone().map(|event| (event.key, event.value));
        match outlet {
            Some(outlet) => append(rows, topic, outlet),
            None => self.graph.end(rows),
        }
    }
}
