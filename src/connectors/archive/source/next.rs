//! Finding the next object: in what was listed, at the names it may have, or by looking whether it
//! came.

use std::io::Read;
use std::mem;

use crate::error::{Advice, Error, Result};

use super::super::finder::Listed;
use super::super::layout::digits_of;
use super::super::packed::Unpacked;
use super::super::tree::Who;
use super::Reader;

/// After how many polls in vain a follower lists the objects, at first and at most: a listing costs
/// as much as there are objects.
pub(super) const LIST_FIRST: u32 = 16;
const LIST_AT_MOST: u32 = 4096;
/// After how many waits a follower asks an object store, where each listing is paid for, though it
/// has only what is new.
const WAITS: u32 = 50;
/// After how many looks into a folder of an object store all of it is listed, at least, and for how
/// many objects one more.
const ALL: u32 = 10;
const OBJECTS: usize = 200;
/// After how many looks into it another width of names is tried.
const WIDTHS: u32 = 4;

impl Reader {
    /// The object that begins at `next`; `None` if there is none, now or ever.
    pub(super) fn advance(&mut self, next: u64) -> Result<Option<Box<dyn Read + Send>>> {
        let ahead = self.listed.front().map(|object| object.first);
        match ahead {
            Some(first) if first < next => {
                let (object, before) = (&self.listed[0], self.begun.as_ref());
                Err(self.objects.twice(first, before.unwrap_or(object), object))
            }
            Some(first) if first == next => {
                let bytes = self.ahead.open(&self.objects, &self.listed[0], self.listed.iter().skip(1))?;
                let bytes = bytes.ok_or_else(|| {
                    Error::data(format!("{} is gone: it was listed", self.objects.title(&self.listed[0])))
                        .hint("Bring it back, because objects of an archive are immutable, or begin anew.").advise(Advice::BeginAnew)
                })?;
                Ok(self.listed.pop_front().map(|object| self.begin(object, bytes)))
            }
            None if !self.follow => Ok(None),
            Some(first) if !self.follow => match self.seek(next, first)? {
                true => self.advance(next),
                false => Err(Error::data(format!(
                    "{} lacks the offsets from {next} on: the next object begins at {first}",
                    self.objects.name()
                ))
                .hint(format!(
                    "Bring the missing objects back. If nothing has them any more, move those from {first} on \
                     to another archive, and begin anew with both, as two logs."
                ))
                .advise(Advice::BeginAnew)),
            },
            // The names that the next object may have are known, so looking for it costs the same
            // however many there are.
            _ if self.objects.store.folder().is_some()
                && self.begun.as_ref().is_none_or(|begun| begun.first != next)
                && let Some((object, bytes)) = self.probe(next)? =>
            {
                Ok(Some(self.begin(object, bytes)))
            }
            _ => match self.look(next, ahead)? {
                Some(first) if first <= next => self.advance(next),
                _ => Ok(None),
            },
        }
    }

    fn begin(&mut self, object: Listed, bytes: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        self.waited = 0;
        self.packed = object.packed.then(|| self.objects.size(&object));
        let name = || self.objects.title(&object);
        let bytes = if object.packed { Box::new(Unpacked::new(bytes, name())) } else { bytes };
        self.begun = Some(object);
        bytes
    }

    fn probe(&self, next: u64) -> Result<Option<(Listed, Box<dyn Read + Send>)>> {
        for object in self.objects.expected(next, self.begun.as_ref()) {
            if let Some(bytes) = self.objects.open(&object)? {
                return Ok(Some((object, bytes)));
            }
        }
        Ok(None)
    }

    /// Lists once more what begins from `next` on and before `first`: a listing may have missed
    /// what came while it was made. True if that is what follows.
    fn seek(&mut self, next: u64, first: u64) -> Result<bool> {
        if self.sought.replace(next) == Some(next) {
            return Ok(false);
        }
        let mut found = self.objects.list_now()?;
        let begun = self.begun.as_ref().map(|begun| begun.first);
        found.retain(|object| (next..first).contains(&object.first) && begun != Some(object.first));
        let there = found.first().is_some_and(|object| object.first == next);
        found.into_iter().rev().for_each(|object| self.listed.push_front(object));
        Ok(there)
    }

    /// Looks, more and more seldom, whether later objects come instead of the one that begins at
    /// `next`, or whether that comes somewhere else; returns where the first of them begins, if it
    /// has looked.
    fn look(&mut self, next: u64, ahead: Option<u64>) -> Result<Option<u64>> {
        if let Some(first) = ahead
            && self.reported.replace(next) != Some(next)
        {
            tracing::warn!(
                folder = self.objects.name(),
                missing = next,
                present = first,
                "wait for a missing object"
            );
        }
        let own = self.look_in_own_folder(next)?;
        let elsewhere = self.look_elsewhere()?;
        if own.is_none() && elsewhere.is_none() {
            return Ok(None);
        }
        let mut listed: Vec<Listed> = mem::take(&mut self.listed).into();
        for (is_own, found) in [(true, own), (false, elsewhere)] {
            let Some((found, all)) = found else { continue };
            listed.retain(|object| !all || self.objects.is_own(object) != is_own);
            listed.extend(found);
        }
        listed.sort_unstable();
        listed.dedup_by(|one, other| one.is(other));
        self.objects.each_once(&listed)?;
        if let Some(begun) = &self.begun {
            let again = |object: &&Listed| object.first == begun.first && !object.is(begun);
            if let Some(other) = listed.iter().find(again) {
                return Err(self.objects.twice(begun.first, begun, other));
            }
            listed.retain(|object| object.first > begun.first);
        } else {
            listed.retain(|object| object.first >= next);
        }
        self.widths.extend(listed.iter().map(|object| object.digits));
        self.unread = self.objects.bytes(listed.iter());
        self.listed = listed.into();
        self.objects.warn();
        Ok(self.listed.front().map(|object| object.first))
    }

    /// Lists the partition's own folder, if it is time to look; says if that is all of it.
    fn look_in_own_folder(&mut self, next: u64) -> Result<Option<(Vec<Listed>, bool)>> {
        if self.objects.store.folder().is_some() {
            self.vain += 1;
            if self.vain < self.patience {
                return Ok(None);
            }
            self.patience = (self.patience * 2).min(LIST_AT_MOST);
            self.vain = 0;
        } else if !self.waited.is_multiple_of(WAITS) {
            return Ok(None);
        } else if self.all > 0 {
            self.all -= 1;
            let mut widths = self.widths.clone();
            if self.all.is_multiple_of(WIDTHS) {
                // Whoever writes may pad offsets otherwise one day.
                let (least, turn) = (digits_of(next), (self.all / WIDTHS % 20) as u8);
                widths.insert(least + turn % (digits_of(u64::MAX) - least + 1));
            }
            return Ok(Some((self.objects.later(self.begun.as_ref(), next, &widths)?, false)));
        }
        let all = self.objects.in_own_folder()?;
        self.all = all_after(all.len());
        Ok(Some((all, true)))
    }

    /// Lists the objects in other folders, if it is time to look; says if that is all of them.
    fn look_elsewhere(&mut self) -> Result<Option<(Vec<Listed>, bool)>> {
        self.idle += 1;
        if self.idle < WAITS {
            return Ok(None);
        }
        self.idle = 0;
        Ok(Some((self.objects.elsewhere(Who::Following(self.objects.partition))?.to_vec(), true)))
    }
}

/// After how many looks all of so many objects is listed again.
pub(super) fn all_after(objects: usize) -> u32 {
    ALL.max((objects / OBJECTS) as u32)
}
