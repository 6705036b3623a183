//! The search for the next object: in the listing, by the names that it may have, or by listing
//! again.

use std::collections::BTreeSet;
use std::io::Read;
use std::mem;

use crate::error::{Advice, Error, Result};

use super::super::finder::Listed;
use super::super::layout::digits_of;
use super::super::packed::Unpacked;
use super::super::tree::Purpose;
use super::super::watch::{Changes, Interval, POLL_INTERVAL_MIN};
use super::Reader;

/// The number of vain polls after which a follower lists a folder, at first and at most. A listing
/// costs as much as there are objects.
const LISTING_POLLS_FIRST: u32 = 16;
const LISTING_POLLS_MAX: u32 = 4096;
/// The number of waits after which a follower sends a request to an object store, where each
/// listing costs money, even if it returns only new objects.
const WAITS_PER_REQUEST: u32 = 50;
/// The least number of requests for later names after which a folder of an object store is listed
/// as a whole.
const REQUESTS_PER_LISTING: u32 = 10;
/// The number of objects that add one to these requests.
const OBJECTS_PER_REQUEST: usize = 200;
/// The number of requests after which one more width of names is tried.
const REQUESTS_PER_WIDTH: u32 = 4;

/// The state of the search for the next object.
pub(super) struct Search {
    /// Vain polls since the last listing of a folder.
    vain_polls: u32,
    /// The number of vain polls before the next listing.
    listing_polls: u32,
    /// The number of waits since the last object.
    pub(super) waits: u32,
    /// The offset whose absence was logged.
    reported: Option<u64>,
    /// The offset for which all objects were listed again. If it is still missing, that is an
    /// error.
    listed_again: Option<u64>,
    /// The numbers of digits that offsets have in the names of listed objects.
    widths: BTreeSet<u8>,
    /// Vain polls since the last listing of other folders.
    vain_polls_elsewhere: u32,
    /// The number of requests for later names before an object store's folder is listed as a whole.
    requests_left: u32,
}

impl Search {
    /// Begins a search after `listed`.
    pub(super) fn over(listed: &[Listed]) -> Self {
        Search {
            vain_polls: 0,
            listing_polls: LISTING_POLLS_FIRST,
            waits: 0,
            reported: None,
            listed_again: None,
            widths: listed.iter().map(|object| object.digits).collect(),
            vain_polls_elsewhere: 0,
            requests_left: requests_for(listed.len()),
        }
    }

    /// Notes that the next poll comes after this interval, so that listings keep their pace.
    pub(super) fn pause(&mut self, interval: Interval) {
        match interval {
            Interval::Watched(_) => {}
            Interval::Polled(time) => {
                let more = (time.as_micros() / POLL_INTERVAL_MIN.as_micros()) as u32 - 1;
                self.vain_polls = self.vain_polls.saturating_add(more);
                self.vain_polls_elsewhere = self.vain_polls_elsewhere.saturating_add(more);
            }
            Interval::Requested(_) => {
                self.waits = 0;
                self.vain_polls_elsewhere = WAITS_PER_REQUEST;
            }
        }
    }
}

/// The objects of a listing.
struct Found {
    objects: Vec<Listed>,
    /// True if these are all objects of the listed folders.
    all: bool,
}

impl Reader {
    /// Opens the object that begins at `next`; `None` if there is none, now or ever.
    pub(super) fn advance(&mut self, next: u64) -> Result<Option<Box<dyn Read + Send>>> {
        // The objects that are listed already come first.
        if self.queue.listed.front().is_none_or(|object| object.first != next) {
            self.take_changes(next)?;
        }
        let ahead = self.queue.listed.front().map(|object| object.first);
        match ahead {
            Some(first) if first < next => {
                let (object, before) = (&self.queue.listed[0], self.current.object.as_ref());
                Err(self.objects.twice(first, before.unwrap_or(object), object))
            }
            Some(first) if first == next => {
                let queue = &mut self.queue;
                let (prefetch, listed) = (&mut queue.prefetch, &queue.listed);
                let bytes = prefetch.open(&self.objects, &listed[0], listed.iter().skip(1))?;
                let bytes = bytes.ok_or_else(|| {
                    let object = self.objects.title(&listed[0]);
                    Error::data(format!("{object} is gone: it was listed"))
                        .hint("Restore it: objects of an archive are immutable. Or begin anew.")
                        .advise(Advice::BeginAnew)
                })?;
                Ok(self.queue.listed.pop_front().map(|object| self.begin(object, bytes)))
            }
            None if !self.follow => Ok(None),
            Some(first) if !self.follow => match self.list_again(next, first)? {
                true => self.advance(next),
                false => Err(Error::data(format!(
                    "{} lacks the offsets from {next} on: the next object begins at {first}",
                    self.objects.name()
                ))
                .hint(format!(
                    "Restore the missing objects. If they are lost for good, move those from {first} on \
                     to another archive, and begin anew with both, as two logs."
                ))
                .advise(Advice::BeginAnew)),
            },
            // The names of the next object are known, so this costs the same however many objects
            // there are.
            _ if self.objects.store.folder().is_some()
                && self.current.object.as_ref().is_none_or(|begun| begun.first != next)
                && let Some((object, bytes)) = self.probe(next)? =>
            {
                Ok(Some(self.begin(object, bytes)))
            }
            _ => match self.list_later(next, ahead)? {
                Some(first) if first <= next => self.advance(next),
                _ => Ok(None),
            },
        }
    }

    fn begin(&mut self, object: Listed, bytes: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        self.search.waits = 0;
        self.current.packed_bytes = object.packed.then(|| self.objects.size(&object));
        let name = || self.objects.title(&object);
        let bytes = if object.packed { Box::new(Unpacked::new(bytes, name())) } else { bytes };
        self.current.object = Some(object);
        bytes
    }

    fn probe(&self, next: u64) -> Result<Option<(Listed, Box<dyn Read + Send>)>> {
        for object in self.objects.expected(next, self.current.object.as_ref()) {
            if let Some(bytes) = self.objects.open(&object)? {
                return Ok(Some((object, bytes)));
            }
        }
        Ok(None)
    }

    /// Lists the objects from `next` up to `first` once more, because a listing may miss objects
    /// that appear during it. Returns true if the next object was found.
    fn list_again(&mut self, next: u64, first: u64) -> Result<bool> {
        if self.search.listed_again.replace(next) == Some(next) {
            return Ok(false);
        }
        let mut found = self.objects.list_now()?;
        let begun = self.current.object.as_ref().map(|begun| begun.first);
        found.retain(|object| (next..first).contains(&object.first) && begun != Some(object.first));
        let there = found.first().is_some_and(|object| object.first == next);
        found.into_iter().rev().for_each(|object| self.queue.listed.push_front(object));
        Ok(there)
    }

    /// Lists again, less and less often, to find the object that begins at `next` in another
    /// folder, or later objects. Returns the first offset of the listed objects, if anything was
    /// listed.
    fn list_later(&mut self, next: u64, ahead: Option<u64>) -> Result<Option<u64>> {
        if let Some(first) = ahead
            && self.search.reported.replace(next) != Some(next)
        {
            tracing::warn!(
                folder = self.objects.name(),
                missing = next,
                present = first,
                "waiting for a missing object"
            );
        }
        let own = self.list_own_folder(next)?;
        let elsewhere = self.list_elsewhere()?;
        if own.is_none() && elsewhere.is_none() {
            return Ok(None);
        }
        self.merge(next, own, elsewhere)?;
        Ok(self.queue.listed.front().map(|object| object.first))
    }

    /// Adds the changes of the partition to the listed objects.
    fn take_changes(&mut self, next: u64) -> Result<()> {
        let Some(follower) = &self.follower else { return Ok(()) };
        let Changes { objects, rescan } = follower.take();
        if rescan {
            let own = self.objects.in_own_folder()?;
            let purpose = Purpose::Refresh(self.objects.partition);
            let elsewhere = self.objects.elsewhere(purpose)?.to_vec();
            let all = |objects| Some(Found { objects, all: true });
            return self.merge(next, all(own), all(elsewhere));
        }
        if objects.is_empty() {
            return Ok(());
        }
        self.merge(next, Some(Found { objects, all: false }), None)
    }

    /// Adds the objects that were found in the partition's own folder and elsewhere to the listed
    /// ones.
    fn merge(&mut self, next: u64, own: Option<Found>, elsewhere: Option<Found>) -> Result<()> {
        let mut listed: Vec<Listed> = mem::take(&mut self.queue.listed).into();
        for (is_own, found) in [(true, own), (false, elsewhere)] {
            let Some(Found { objects, all }) = found else { continue };
            listed.retain(|object| !all || self.objects.is_own(object) != is_own);
            listed.extend(objects);
        }
        listed.sort_unstable();
        listed.dedup_by(|one, other| one.is(other));
        self.objects.check_distinct(&listed)?;
        if let Some(begun) = &self.current.object {
            let again = |object: &&Listed| object.first == begun.first && !object.is(begun);
            if let Some(other) = listed.iter().find(again) {
                return Err(self.objects.twice(begun.first, begun, other));
            }
            listed.retain(|object| object.first > begun.first);
        } else {
            listed.retain(|object| object.first >= next);
        }
        self.search.widths.extend(listed.iter().map(|object| object.digits));
        self.queue.unread_bytes = self.objects.bytes(listed.iter());
        self.queue.listed = listed.into();
        self.objects.warn();
        Ok(())
    }

    /// Lists the partition's own folder, if it is time to.
    fn list_own_folder(&mut self, next: u64) -> Result<Option<Found>> {
        if self.objects.store.folder().is_some() {
            self.search.vain_polls += 1;
            if self.search.vain_polls < self.search.listing_polls {
                return Ok(None);
            }
            self.search.listing_polls = (self.search.listing_polls * 2).min(LISTING_POLLS_MAX);
            self.search.vain_polls = 0;
        } else if !self.search.waits.is_multiple_of(WAITS_PER_REQUEST) {
            return Ok(None);
        } else if self.search.requests_left > 0 {
            self.search.requests_left -= 1;
            let mut widths = self.search.widths.clone();
            if self.search.requests_left.is_multiple_of(REQUESTS_PER_WIDTH) {
                // A writer may change the width of offsets one day.
                let (least, turn) =
                    (digits_of(next), (self.search.requests_left / REQUESTS_PER_WIDTH % 20) as u8);
                widths.insert(least + turn % (digits_of(u64::MAX) - least + 1));
            }
            let objects = self.objects.later(self.current.object.as_ref(), next, &widths)?;
            return Ok(Some(Found { objects, all: false }));
        }
        let objects = self.objects.in_own_folder()?;
        self.search.requests_left = requests_for(objects.len());
        Ok(Some(Found { objects, all: true }))
    }

    /// Lists the objects in other folders, if it is time to.
    fn list_elsewhere(&mut self) -> Result<Option<Found>> {
        self.search.vain_polls_elsewhere += 1;
        if self.search.vain_polls_elsewhere < WAITS_PER_REQUEST {
            return Ok(None);
        }
        self.search.vain_polls_elsewhere = 0;
        let purpose = Purpose::Follow(self.objects.partition);
        Ok(Some(Found { objects: self.objects.elsewhere(purpose)?.to_vec(), all: true }))
    }
}

/// Returns the number of requests for later names before `objects` objects are all listed again.
fn requests_for(objects: usize) -> u32 {
    REQUESTS_PER_LISTING.max((objects / OBJECTS_PER_REQUEST) as u32)
}
