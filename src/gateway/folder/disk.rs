//! Folders and files that are there for good when a call returns.

pub(super) use crate::store::disk::{is_lost, make, sound, sync, sync_data};
