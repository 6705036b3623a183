//! [`Topology`]: a named function of the builder, and what can be said of it without running it.

use std::fmt::Write;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::builder::StreamsBuilder;
use crate::connect::Mode;
use crate::graph::{Graph, TopicBindings};
use crate::plan::Plan;

/// A function of [`StreamsBuilder`], run once on every worker: it must build the same each time.
#[derive(Clone)]
pub struct Topology {
    name: String,
    build: Arc<dyn for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync>,
}

impl Topology {
    /// Names a topology. The name stands in state and tables, so that no other program continues
    /// them.
    pub fn new(
        name: &str,
        build: impl for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync + 'static,
    ) -> Self {
        Topology { name: name.to_string(), build: Arc::new(build) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does, step by step: each with its number and those it follows, then the rows of its
    /// sinks and of its stores.
    pub fn describe(&self) -> String {
        let plan = self.plan();
        let mut text = format!("topology {}\n", self.name);
        // Writing to a string can't fail.
        for (number, node) in plan.nodes.iter().enumerate() {
            let name = node.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
            let inputs: Vec<String> = node.inputs.iter().map(usize::to_string).collect();
            let after = if inputs.is_empty() {
                String::new()
            } else {
                format!("  <- {}", inputs.join(", "))
            };
            let _ = writeln!(text, "  {number:>3} {}{name}{after}", node.verb);
        }
        for sink in &plan.sinks {
            let columns: Vec<String> =
                sink.columns.iter().map(|c| format!("{} {:?}", c.name, c.ty)).collect();
            let mode = if sink.mode == Mode::Snapshot { "snapshot" } else { "append" };
            let _ = writeln!(text, "  {} ({mode}): {}", sink.topic, columns.join(", "));
        }
        for store in &plan.stores {
            let _ =
                writeln!(text, "  {} (store of {}): {}", store.name, store.node, store.type_names);
        }
        text
    }

    /// Builds it over nothing, to see what it is.
    pub(crate) fn plan(&self) -> Plan {
        let build = self.build.clone();
        timely::execute_directly(move |worker| {
            worker.dataflow(|scope| {
                let graph = Graph::new(scope, TopicBindings::none());
                build(&StreamsBuilder::new(graph.clone()));
                graph.finish()
            })
        })
    }

    /// Builds it over what is bound.
    pub(crate) fn install(&self, worker: &mut timely::worker::Worker, bindings: TopicBindings) {
        worker.dataflow_named(&self.name, |scope| {
            let graph = Graph::new(scope, bindings);
            (self.build)(&StreamsBuilder::new(graph.clone()));
            graph.finish();
        });
    }

    /// A digest of the plan: another one can't continue what this one made.
    pub(crate) fn fingerprint(plan: &Plan) -> String {
        let steps: Vec<_> = plan.nodes.iter().map(|node| (&node.verb, &node.inputs)).collect();
        format!("{:032x}", xxh3_128(format!("{steps:?} {:?}", plan.sinks).as_bytes()))
    }
}
