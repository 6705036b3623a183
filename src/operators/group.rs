//! Grouping: each worker consolidates its diffs before they are exchanged.

use differential_dataflow::AsCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;

use super::datum::{Datum, Diffs};
use super::epochs::{Step, in_epochs_of};
use super::seeds::{Map, Seeds};
use crate::metrics::Meter;
use crate::time::Epoch;

/// The number of diffs of an epoch that are forwarded as they are. Consolidating so few costs more,
/// in latency above all, than it saves in messages.
const UNCONSOLIDATED_DIFFS: usize = 256;

/// The number of epochs whose diffs are forwarded after one in which most data were different:
/// consolidating those costs more than it saves.
const FORWARDED_EPOCHS: u32 = 15;

/// After so many consolidated diffs it is known whether most data are different. The first epoch
/// after a restart has all rows, and a map of them would be large.
const SAMPLED_DIFFS: usize = 1 << 13;

/// The number of items of the latest epoch so far.
struct Seen {
    epoch: Epoch,
    items: usize,
    /// The number of diffs that were consolidated.
    consolidated: usize,
    /// The number of epochs, with this one, whose diffs are forwarded.
    forwarded: u32,
}

impl Seen {
    /// Returns true if most of the consolidated diffs are `different`.
    fn are_mostly(&self, different: usize) -> bool {
        different > self.consolidated / 4 * 3
    }
}

/// Makes a diff of each item with `f`; `None` is no diff. The diffs of an epoch are consolidated
/// before they leave the worker, so that few large groups cost few messages. Where most data are
/// different, diffs are forwarded as they are. It keeps nothing between epochs.
pub(crate) fn group<'s, I: Clone + 'static, D: Datum>(
    input: StreamVec<'s, Epoch, I>,
    f: impl Fn(I) -> Option<(D, isize)> + 'static,
    seeds: Seeds,
    meter: Meter,
) -> Diffs<'s, D> {
    // A single worker exchanges nothing.
    let forwarded = if input.scope().peers() > 1 { UNCONSOLIDATED_DIFFS } else { usize::MAX };
    let mut seen = Seen { epoch: 0, items: 0, consolidated: 0, forwarded: 0 };
    let mut net: Map<D, isize> = seeds.map();
    let logic = move |epoch: Epoch, step: Step<'_, Vec<I>>, out: &mut Vec<(D, Epoch, isize)>| {
        match step {
            Step::Data(items) => {
                if seen.epoch != epoch {
                    if seen.items <= forwarded {
                        // After a small epoch the map is not needed.
                        net.shrink_to(0);
                    }
                    let forwarded = seen.forwarded.saturating_sub(1);
                    seen = Seen { epoch, items: 0, consolidated: 0, forwarded };
                }
                seen.items += items.len();
                let diffs = items.drain(..).filter_map(&f);
                if seen.items <= forwarded || seen.forwarded > 0 {
                    out.extend(diffs.map(|(datum, diff)| (datum, epoch, diff)));
                } else {
                    for (datum, diff) in diffs {
                        *net.entry(datum).or_default() += diff;
                        seen.consolidated += 1;
                    }
                    if seen.consolidated >= SAMPLED_DIFFS && seen.are_mostly(net.len()) {
                        seen.forwarded = FORWARDED_EPOCHS + 1;
                        flush(&mut net, epoch, out);
                    }
                }
            }
            Step::Close => {
                if !net.is_empty() && seen.are_mostly(net.len()) {
                    seen.forwarded = FORWARDED_EPOCHS + 1;
                }
                // Keep the room, because the next epoch is likely to need as much, and growing the
                // map is slow.
                let room = net.len().max(1 << 12);
                flush(&mut net, epoch, out);
                net.shrink_to(room);
            }
        }
        !net.is_empty()
    };
    in_epochs_of(input, Pipeline, "group", meter, Box::new(logic), std::convert::identity)
        .as_collection()
}

/// Moves the diffs that are not zero.
fn flush<D>(net: &mut Map<D, isize>, epoch: Epoch, out: &mut Vec<(D, Epoch, isize)>) {
    out.reserve(net.len());
    let diffs = net.drain().filter(|(_, diff)| *diff != 0);
    out.extend(diffs.map(|(datum, diff)| (datum, epoch, diff)));
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use differential_dataflow::input::InputSession;

    use super::*;

    /// Returns how many diffs leave a worker in each epoch.
    fn sent(epochs: Vec<Vec<u64>>) -> Vec<usize> {
        let sent = Arc::new(Mutex::new(vec![0; epochs.len()]));
        let counts = sent.clone();
        let run = timely::execute(timely::Config::process(2), move |worker| {
            let mut input = InputSession::<Epoch, u64, isize>::new();
            let counts = counts.clone();
            worker.dataflow(|scope| {
                let items = input.to_collection(scope).inner;
                let one = |(datum, _, diff): (u64, Epoch, isize)| Some((datum, diff));
                group(items, one, Seeds::of_a_plan(), Meter::default())
                    .inspect(move |(_, epoch, _)| counts.lock().unwrap()[*epoch as usize] += 1);
            });
            let epochs = if worker.index() == 0 { &epochs[..] } else { &[] };
            for (epoch, data) in epochs.iter().enumerate() {
                input.advance_to(epoch as Epoch);
                // Without this the data are sent at the epoch before.
                input.flush();
                data.iter().for_each(|datum| input.insert(*datum));
                input.flush();
                worker.step();
            }
        });
        run.unwrap().join().into_iter().for_each(|worker| worker.unwrap());
        let sent = sent.lock().unwrap();
        sent.clone()
    }

    #[test]
    fn diffs_are_consolidated_where_data_repeat() {
        let repeated: Vec<u64> = (0..6_000).map(|n| n % 7).collect();
        assert_eq!(sent(vec![repeated.clone(), repeated]), [7, 7]);
    }

    #[test]
    fn diffs_of_mostly_different_data_are_forwarded() {
        let different: Vec<u64> = (0..6_000).map(|n| n % 5_000).collect();
        let epochs = FORWARDED_EPOCHS as usize + 3;
        let mut expected = vec![6_000; epochs];
        // After some epochs it is tried again.
        (expected[0], expected[epochs - 2]) = (5_000, 5_000);
        assert_eq!(sent(vec![different; epochs]), expected);
        // An epoch of many diffs is not consolidated to its end.
        let many: Vec<u64> = (0..40_000).map(|n| n % 20_000).collect();
        let [sent] = sent(vec![many])[..] else { panic!("there is one epoch") };
        assert!(sent > 30_000, "{sent}");
    }
}
