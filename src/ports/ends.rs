//! How far a dataflow is: what is open where it ends.

use std::cell::Cell;
use std::rc::Rc;

use timely::Container;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

use crate::time::Epoch;

/// Adds a stream to the operator, and gives back what empties it.
type Attach<'s> = Box<dyn FnOnce(&mut OperatorBuilder<'s, Epoch>) -> Box<dyn FnMut()> + 's>;

/// The streams that nobody reads any further. One operator sees them all end: an epoch that closes
/// wakes it once.
#[derive(Default)]
pub(crate) struct Ends<'s>(Vec<Attach<'s>>);

impl<'s> Ends<'s> {
    /// Adds the end of a stream.
    pub(crate) fn add<C: Container>(&mut self, stream: Stream<'s, Epoch, C>) {
        self.0.push(Box::new(|builder| {
            let mut input = builder.new_input(stream, Pipeline);
            Box::new(move || input.for_each(|_, _| {}))
        }));
    }

    /// Has `open` show the earliest epoch that is open at any of them; [`Epoch::MAX`] once all are
    /// closed.
    pub(crate) fn show(self, scope: Scope<'s, Epoch>, open: Rc<Cell<Epoch>>) {
        let mut builder = OperatorBuilder::new("ends".to_string(), scope);
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
