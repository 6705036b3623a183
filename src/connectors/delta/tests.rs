//! Promises of Delta tables.

mod appended;
mod campaign;
mod format;
mod large;
mod late;
mod maintenance;
mod model;
mod moved;
mod overtaken;
mod refusals;
mod restored;
