//! The operators to which the DSL lowers. Each reads the updates of an epoch, changes its state and
//! emits results.
//!
//! Changes of rows have two shapes. *Upserts* `(number of the key, digest, Option<value>)` carry
//! the new value, in order, without the previous one. They never leave the worker that owns the
//! key, and their readers share them without a copy. *Diffs* `((key, value), epoch, ±1)` are those
//! of differential.
//!
//! An operator emits a key's retraction before its addition, and always on the same worker. So a
//! reader that needs only the new value can read diffs as upserts.

mod aggregates;
mod arrange;
mod bag;
mod between;
mod broadcast;
mod changelog;
mod changes;
mod column;
mod cut;
mod datum;
mod earliest;
mod epochs;
mod fold;
mod group;
mod import;
mod intervals;
mod join;
mod keep;
mod keyed;
mod keys;
mod latest;
mod lookup;
mod matches;
mod neighbours;
mod null;
mod number;
mod owners;
mod seeds;
mod settle;
mod sides;
mod stamp;
mod top;
mod watermarks;

pub(crate) use aggregates::{
    Aggregate, Count, Different, Distinct, Extreme, Folded, Quantile, Sum,
};
pub(crate) use arrange::{ByKey, arrange, consolidated, to_owners};
pub(crate) use between::{RangeJoin, join_between};
pub(crate) use broadcast::broadcast;
pub(crate) use changelog::changelog;
pub(crate) use changes::{
    diffs_to_upserts, map_diffs, map_upserts, upserts_to_changes, upserts_to_diffs,
};
pub(crate) use column::Column;
pub(crate) use cut::{
    BUCKETS, Block, BucketKeys, ChangedRows, ColumnPart, CutId, Cuts, DiffsCut, KeyIds, KeyList,
    Merge, MergedColumn, PackedRows, Packer, SavedRows, SpaceCuts, StateCut, TableCut, read_column,
    read_keys, read_merged,
};
pub use datum::{Datum, Diffs, Side};
pub(crate) use datum::{Placement, Restored, Upsert, Upserts};
pub(crate) use earliest::{Advance, Earliest};
pub(crate) use epochs::in_epoch;
pub(crate) use fold::fold;
pub(crate) use group::group;
pub(crate) use import::import;
pub(crate) use intervals::Interval;
pub(crate) use join::{Joiner, join};
pub(crate) use keep::{keep, keep_diffs};
pub(crate) use keyed::{
    Accumulate, Bagged, Ends, Fixed, Folding, GroupedTimes, JoinedTimes, Limit, Newest, PairJoiner,
    Pairs, PartOf, Place, RankedTimes, Reach, Reference, ReferredTimes, RowTimes, SavedSliding,
    SavedWindow, Session, Setting, SideTimes, Since, Sliding, StreamClock, StreamTime, Suppress,
    Temporal, Timed, Version, Waiting, Waits, WhenFull, WindowRow, keyed, sliding_start,
};
pub(crate) use keys::Keys;
pub(crate) use latest::{Arrived, latest, saved_digests};
pub(crate) use lookup::{CopiedRows, OwnedRows, lookup};
pub(crate) use matches::{Match, MatchJoiner, Unmatched, join_by_group};
pub(crate) use number::number;
pub(crate) use owners::Owners;
pub(crate) use seeds::{Map, Seeds};
pub(crate) use settle::settle;
pub(crate) use stamp::{Stamped, Update, stamp};
pub(crate) use top::Top;
pub(crate) use watermarks::{
    Clock, ClockChange, ClosedTimes, to_all_workers, watermark, watermarks,
};
