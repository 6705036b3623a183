//! Watershed: many streams, one delta.
//!
//! A stream-processing framework with the nouns of Kafka Streams, on timely and differential
//! dataflow, that writes exactly-once Delta tables. A **topology** is a function of
//! [`StreamsBuilder`]. It turns topics into [`KStream`]s and [`KTable`]s. Joins and aggregates are
//! *maintained*: a late or corrected record moves every answer. **Topics are logical names**.
//! [`runtime::Streams`] binds them to connectors, outside of the topology. So the same topology
//! reads a folder or Kafka, and runs in a test in memory ([`testing::TopologyTestDriver`]). It
//! makes the same rows with any number of workers.
//!
//! ```
//! use watershed::prelude::*;
//!
//! fn topology(builder: &StreamsBuilder) {
//!     let pins = builder.table("pin", Consumed::with(Int64, Utf8));
//!     let geos = builder.table("geo", Consumed::with(Int64, Utf8));
//!     pins.join(&geos, |category, country| (country.clone(), category.clone()))
//!         .group_by(|_id, place| (place.clone(), ()))
//!         .count()
//!         .to("category_count", Produced::columns(["country", "category", "count"]));
//! }
//!
//! let mut driver = TopologyTestDriver::new(Topology::new("places", topology))?;
//! let (pins, geos) = (driver.input("pin", Int64, Utf8), driver.input("geo", Int64, Utf8));
//! let counts = driver.output::<(String, String), i64>("category_count");
//! pins.pipe(&mut driver, &7, &"travel".to_string());
//! geos.pipe(&mut driver, &7, &"Chile".to_string());
//! driver.commit()?;
//! let row = |country: &str| ((country.to_string(), "travel".to_string()), 1);
//! assert_eq!(counts.rows(&driver)?, [row("Chile")]);
//!
//! geos.pipe(&mut driver, &7, &"Peru".to_string()); // a correction moves the answer
//! driver.commit()?;
//! assert_eq!(counts.rows(&driver)?, [row("Peru")]);
//! # Ok::<(), Error>(())
//! ```
//!
//! # The floors
//!
//! ```text
//!   6  program                            the command line that every dataflow gets
//!   5  runtime  testing                   epochs, workers, commits, recovery · the test driver
//!   4  builder  topology  durable         topics to streams · a topology · manifests
//!   3  options  plan  graph  stream  table  grouped  windowed     the DSL
//!   2  cluster                            the connections between the processes of a run
//!      operators  ports                   dataflow operators · their interface to the runtime
//!   1  http  serdes                       a bounded HTTP server · bytes and values
//!      row  store                         values and columns · durable objects
//!      connect                            the contract of connectors
//!   0  error  time  secret  simulation  faults  record  sync  metrics
//! ```
//!
//! A module imports lower floors only. Connectors and the gateway stand beside the others, on
//! floors 0 and 1. `tests/tidy.rs` checks this.

mod builder;
#[cfg_attr(
    not(feature = "program"),
    allow(dead_code, unused_imports, reason = "programs supervise")
)]
mod cluster;
pub mod connect;
pub mod connectors;
mod durable;
mod error;
mod faults;
#[cfg(feature = "gateway")]
pub mod gateway;
mod graph;
mod grouped;
#[cfg(feature = "gateway")]
mod http;
mod metrics;
mod operators;
pub mod options;
mod plan;
mod ports;
pub mod prelude;
#[cfg(feature = "program")]
pub mod program;
pub mod record;
pub mod row;
pub mod runtime;
mod secret;
pub mod serdes;
#[cfg(feature = "faults")]
#[doc(hidden)]
pub mod simulation;
#[cfg(not(feature = "faults"))]
mod simulation;
pub mod store;
mod stream;
mod sync;
mod table;
pub mod testing;
mod time;
mod topology;
mod windowed;

// The DSL.
pub use builder::StreamsBuilder;
pub use grouped::{Aggregator, KCogrouped, KGrouped, KWindowedCogrouped, Subtracting};
pub use operators::{Datum, Diffs, Side};
pub use plan::DEAD_LETTERS;
pub use ports::{ReadOnlyStore, View};
pub use stream::KStream;
pub use table::{GlobalKTable, KTable, OuterKey, VersionedTable};
pub use topology::Topology;
pub use windowed::KWindowed;

// The types that all modules use.
pub use error::{Advice, Error, ErrorKind, Result};
pub use secret::Secret;
pub use time::{Epoch, Timestamp, Windowed};
