//! How far a dataflow is: what is open where it ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use timely::Container;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;

use crate::time::Epoch;

/// The ends of a dataflow on one worker. Timely's probes would say the same, at the cost of an operator each.
#[derive(Clone, Default)]
pub(crate) struct Ends(Rc<RefCell<Vec<Rc<Cell<Epoch>>>>>);

/// One of [`Ends`].
pub(crate) struct End(Rc<Cell<Epoch>>);

impl Ends {
    /// Adds an end, at which the first epoch is open.
    pub(crate) fn end(&self) -> End {
        let open = Rc::new(Cell::new(0));
        self.0.borrow_mut().push(open.clone());
        End(open)
    }

    /// Adds the end of a stream that nobody reads any further.
    pub(crate) fn of<C: Container>(&self, stream: Stream<'_, Epoch, C>) {
        let mut builder = OperatorBuilder::new("end".to_string(), stream.scope());
        let mut input = builder.new_input(stream, Pipeline);
        let end = self.end();
        builder.build(move |_| {
            move |frontiers| {
                input.for_each(|_, _| {});
                end.reach(&frontiers[0]);
            }
        });
    }

    /// The earliest epoch that is open at any of them; [`Epoch::MAX`] once all are closed.
    pub(crate) fn open(&self) -> Epoch {
        self.0.borrow().iter().map(|open| open.get()).min().unwrap_or(Epoch::MAX)
    }
}

impl End {
    /// Takes over what is open there.
    pub(crate) fn reach(&self, frontier: &MutableAntichain<Epoch>) -> Option<Epoch> {
        let open = frontier.frontier().first().copied();
        self.0.set(open.unwrap_or(Epoch::MAX));
        open
    }
}
