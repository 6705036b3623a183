//! Parts of the benchmarks of the flagship: its modules, its archive, a run that follows
//! corrections, and a report with goals.

// Paths of modules are relative to this folder.
#[path = "../../dataflows/pinterest"]
#[allow(unused_imports, reason = "some parts and their tests are not used here")]
pub(crate) mod dataflow {
    pub(crate) mod bounds;
    pub(crate) mod clean;
    pub(crate) mod generate;
    pub(crate) mod model;
    pub(crate) mod posts;
    pub(crate) mod questions;
    pub(crate) mod topology;
}

pub(crate) mod archive;
pub(crate) mod bench;
pub(crate) mod corrections;
pub(crate) mod latency;
pub(crate) mod live;
pub(crate) mod machine;
pub(crate) mod renamed;
pub(crate) mod report;
pub(crate) mod threads;

// As in the program.
#[cfg(all(feature = "jemalloc", unix))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
