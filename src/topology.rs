//! [`Topology`]: a named function of the builder, with its plan and its description.

use std::fmt::Write;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::builder::StreamsBuilder;
use crate::connect::Mode;
use crate::graph::{Demand, Graph, TopicBindings};
use crate::plan::Plan;

/// A named function of [`StreamsBuilder`]. Each worker runs it once, so it must build the same
/// dataflow each time. Unlike Kafka's, it is not a graph of objects that is changed step by step.
///
/// ```
/// use watershed::prelude::*;
///
/// fn build(builder: &StreamsBuilder) {
///     let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
///     numbers.filter(|_, n| *n > 9).to("big", Produced::columns(["id", "n"]));
/// }
///
/// let topology = Topology::new("big numbers", build);
/// assert_eq!(topology.name(), "big numbers");
/// let mut driver = TopologyTestDriver::new(topology)?; // or `runtime::Streams`
/// let numbers = driver.input("numbers", Int64, Int64);
/// [(1, 7), (2, 70)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
/// driver.commit()?;
/// assert_eq!(driver.rows("big"), [[Value::Long(2), Value::Long(70)]]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Topology {
    name: String,
    build: Arc<dyn for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync>,
}

impl Topology {
    /// Returns a topology with a name. The name is recorded in the state and in the tables, so that
    /// no other topology continues them.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// // A closure may capture settings, as long as it builds the same dataflow each time.
    /// let least = 9;
    /// let topology = Topology::new("big numbers", move |builder: &StreamsBuilder<'_>| {
    ///     let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    ///     numbers.filter(move |_, n| *n > least).print("big");
    ///     builder.setting("least", least);
    /// });
    /// assert!(topology.describe().contains("setting least = 9"));
    /// ```
    pub fn new(
        name: &str,
        build: impl for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync + 'static,
    ) -> Self {
        Topology { name: name.to_string(), build: Arc::new(build) }
    }

    /// Returns the name.
    ///
    /// ```
    /// assert_eq!(watershed::Topology::new("empty", |_| {}).name(), "empty");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a description. It lists the steps, each with its number and those of the steps
    /// before it, then the columns of the sinks and the types of the stores.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("big numbers", |builder: &StreamsBuilder<'_>| {
    ///     let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    ///     let big = numbers.filter(|_, n| *n > 9).named("big");
    ///     big.to("big", Produced::columns(["id", "n"]));
    /// });
    /// let lines = [
    ///     "topology big numbers",
    ///     "    0 stream numbers",
    ///     "    1 filter \"big\"  <- 0",
    ///     "    2 to big  <- 1",
    ///     "  big (append): id Long, n Long",
    /// ];
    /// assert!(topology.describe().starts_with(&lines.join("\n")));
    /// ```
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

    /// Returns the plan, from a dataflow that is built without bindings.
    pub(crate) fn plan(&self) -> Plan {
        self.plan_for(Demand::default())
    }

    /// Returns the plan for a run that needs these ends of the topology.
    pub(crate) fn plan_for(&self, mut demand: Demand) -> Plan {
        loop {
            let plan = self.plan_once(demand.clone());
            if plan.time.asked.is_subset(&demand.timed) {
                return plan;
            }
            // Steps that have times only for those behind them are built otherwise then.
            demand.timed.extend(&plan.time.asked);
        }
    }

    fn plan_once(&self, demand: Demand) -> Plan {
        let build = self.build.clone();
        timely::execute_directly(move |worker| {
            worker.dataflow(|scope| {
                let graph = Graph::new(scope, TopicBindings::of_a_plan(demand));
                build(&StreamsBuilder::new(graph.clone()));
                graph.finish()
            })
        })
    }

    /// Builds the dataflow with the bindings of one worker, and returns its plan.
    pub(crate) fn install(
        &self,
        worker: &mut timely::worker::Worker,
        bindings: TopicBindings,
    ) -> Plan {
        worker.dataflow_named(&self.name, |scope| {
            let graph = Graph::new(scope, bindings);
            (self.build)(&StreamsBuilder::new(graph.clone()));
            graph.finish()
        })
    }

    /// Returns a digest of the steps and sinks of a plan. A state that was made with another
    /// fingerprint is refused.
    pub(crate) fn fingerprint(plan: &Plan) -> String {
        let steps: Vec<_> = plan.nodes.iter().map(|node| (&node.verb, &node.inputs)).collect();
        format!("{:032x}", xxh3_128(format!("{steps:?} {:?}", plan.sinks).as_bytes()))
    }
}
