//! The records that are too late for a window.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use super::KWindowed;
use crate::operators::{Datum, Ends, Restored, StreamClock, StreamTime, sliding_start};
use crate::options::WindowKind;
use crate::row::Windowed;
use crate::stream::{Event, KStream, Updates};
use crate::time::{Timestamp, micros};

impl<'s, G: Datum, X: Datum> KWindowed<'s, G, X> {
    /// Returns the records that are too late for a window, keyed by their group in the window that
    /// they have missed. Kafka only counts them.
    ///
    /// A record that has missed several hopping windows is returned once for each. Sliding windows
    /// return a record once if it is too late for the window that ends at its timestamp: with this
    /// one while later windows may still have the record, and else with the last that it has
    /// missed, which starts at its timestamp. A late record of a session has its own timestamp as
    /// start and end.
    ///
    /// ```
    /// # use watershed::prelude::{Value::{self, Long}, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64));
    /// let minute = Duration::from_secs(60);
    /// let minutes = TimeWindows::of_size(minute).grace(Duration::ZERO);
    /// clicks.group_by_key().windowed_by(minutes).late()
    ///     .to("late", Produced::columns(["user", "from", "to", "click"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let clicks = driver.input("clicks", Int64, Int64);
    /// for (second, n) in [(10, 1), (60, 2), (50, 3)] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     clicks.pipe(&mut driver, &7, &n); // the last one is too late for the first minute
    /// }
    /// driver.commit()?;
    /// let minute = |n: i64| Value::Timestamp(n * 60_000_000);
    /// assert_eq!(driver.rows("late"), [[Long(7), minute(0), minute(1), Long(3)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn late(&self) -> KStream<'s, Windowed<G>, X> {
        let node = self.graph.node("late", &[self.node]);
        let Some(records) = &self.records else {
            let events = self.graph.nothing();
            let (graph, updates) = (self.graph.clone(), Updates::AppendOnly);
            return KStream::new(graph, node, events, updates, Restored::Tail);
        };
        let (missed, meter) = (self.missed(), self.graph.meter(node));
        let by_arrival = StreamTime::of(self.graph.mode()) == StreamTime::Arrival;
        let cut = match records.restored {
            Restored::Tail => self.graph.stream_clock_cut(node),
            Restored::All => None,
        };
        let mut clock = StreamClock::new(cut);
        let events = (records.timed)().unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
            Pipeline,
            "late",
            move |_, _| {
                move |input, output| {
                    input.for_each(|time, data| {
                        let (taken, mut late) = (data.len(), Vec::new());
                        for (key, timed) in data.drain(..) {
                            clock.observe(timed.timestamp);
                            let now = if by_arrival { clock.now() } else { timed.partition_time };
                            missed(timed.timestamp, now, &mut |start, end| {
                                let (order, ordinal) = (timed.order, timed.ordinal.clone());
                                late.push(Event {
                                    key: Windowed { key: key.clone(), start, end },
                                    value: timed.value.clone(),
                                    order,
                                    ordinal: ordinal.then(late.len()),
                                    timestamp: Some(timed.timestamp),
                                    partition_time: timed.partition_time,
                                    diff: 1,
                                });
                            });
                        }
                        clock.save(*time.time());
                        meter.count(taken, late.len());
                        if !late.is_empty() {
                            output.session(&time).give_container(&mut late);
                        }
                    });
                }
            },
        );
        KStream::new(self.graph.clone(), node, events, Updates::AppendOnly, records.restored)
    }

    /// Returns the function that calls its third argument with each window that a record of a
    /// timestamp has missed, when the time of its partition is so far.
    fn missed(&self) -> Box<dyn Fn(Timestamp, Timestamp, &mut dyn FnMut(Timestamp, Timestamp))> {
        let is_late = |ends: &Ends, end: Timestamp, now: Timestamp| {
            ends.close(end).is_some_and(|close| close <= now)
        };
        match &self.windows.0 {
            WindowKind::Fixed(windows) => {
                let (windows, ends) = (windows.clone(), self.ends(0, false));
                Box::new(move |at, now, each| {
                    windows.assign(at, &mut |start, end| {
                        if is_late(&ends, end, now) {
                            each(start, end);
                        }
                    });
                })
            }
            WindowKind::Sliding(windows) => {
                let (difference, ends) = (micros(windows.difference), self.ends(0, true));
                Box::new(move |at, now, each| {
                    let first = sliding_start(at, difference);
                    let windows = [at, first].into_iter();
                    let mut windows = windows.map(|start| (start, start.plus(difference)));
                    if let Some((start, end)) = windows.find(|(_, end)| is_late(&ends, *end, now)) {
                        each(start, end);
                    }
                })
            }
            WindowKind::Sessions(windows) => {
                let ends = self.ends(micros(windows.gap), true);
                Box::new(move |at, now, each| {
                    if is_late(&ends, at, now) {
                        each(at, at);
                    }
                })
            }
        }
    }
}
