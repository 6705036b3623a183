//! The probe of a dataflow: the earliest epoch that is open at any of its ends.

use std::cell::Cell;
use std::rc::Rc;

use timely::Container;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

use crate::time::Epoch;

/// Adds a stream to the operator, and returns the function that drains its input.
type Attach<'s> = Box<dyn FnOnce(&mut OperatorBuilder<'s, Epoch>) -> Box<dyn FnMut()> + 's>;

/// The streams that have no further reader. A single operator observes the frontiers of all of
/// them, so that the close of an epoch wakes one operator, once.
#[derive(Default)]
pub(crate) struct Probe<'s>(Vec<Attach<'s>>);

impl<'s> Probe<'s> {
    /// Adds a stream without a reader.
    pub(crate) fn add<C: Container>(&mut self, stream: Stream<'s, Epoch, C>) {
        self.0.push(Box::new(|builder| {
            let mut input = builder.new_input(stream, Pipeline);
            Box::new(move || input.for_each(|_, _| {}))
        }));
    }

    /// Keeps `open` at the earliest epoch that is open in any of the streams; [`Epoch::MAX`] once
    /// all of them have ended.
    pub(crate) fn observe(self, scope: Scope<'s, Epoch>, open: Rc<Cell<Epoch>>) {
        let mut builder = OperatorBuilder::new("probe".to_string(), scope);
        let mut inputs: Vec<_> = self.0.into_iter().map(|attach| attach(&mut builder)).collect();
        builder.build(move |_| {
            move |frontiers| {
                inputs.iter_mut().for_each(|empty| empty());
                let first = frontiers
                    .iter()
                    .filter_map(|frontier| frontier.frontier().first().copied())
                    .min();
                open.set(first.unwrap_or(Epoch::MAX));
            }
        });
    }
}
